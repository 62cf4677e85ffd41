"""Experiments that are brought in beside others that are made."""

from __future__ import annotations

from tests.metadata import places

from shoso.metadata import experiments, imports
from shoso.wire.imports import ImportedExperiment
from shoso.wire.requests import CreateExperiment

KINDS = tuple(places.SERVERS)


async def test_an_id_that_somebody_had_is_not_given_out_again(place, database):
    """Its artifacts may still be where another experiment of that id would have its own."""
    made = [
        int(await database.write(experiments.create, CreateExperiment(name), "/a"))
        for name in ("a", "b", "c")
    ]
    place.execute(f"DELETE FROM experiments WHERE experiment_id >= {made[1]}")
    await database.write(imports.place, ImportedExperiment(made[1], "brought"), "/a")
    assert int(await database.write(experiments.create, CreateExperiment("next"), "/a")) == made[2] + 1
    await database.write(imports.place, ImportedExperiment(50, "far"), "/a")
    assert int(await database.write(experiments.create, CreateExperiment("behind"), "/a")) == 51
