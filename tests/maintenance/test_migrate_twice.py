"""Somebody who copies still when another has rewritten the rows writes over nothing that is newer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.maintenance import world
from tests.maintenance.world import ROOT, World

from shoso.client.places import Place
from shoso.core.keys import Key
from shoso.core.store import Source
from shoso.core.types import OVERWRITE, ObjectMeta, WriteMode
from shoso.errors import Kind, TrackingError
from shoso.layers.layer import Layer
from shoso.maintenance.migrate.ends import Ends
from shoso.maintenance.migrate.moving import Mover, Outcome
from shoso.maintenance.migrate.renaming import Renaming


class _Stuck(Layer):
    """A storage, seen by a machine that hangs."""

    writing: asyncio.Event

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        self.writing.set()
        await asyncio.sleep(20)
        return await super().write(key, source, mode, content_type)

    batches = None


async def test_a_copy_that_hangs_breaks_off_when_somebody_else_rewrites_the_rows(tmp_path):
    (tmp_path / "artifacts").mkdir()
    flags = await world.database("sqlite", tmp_path)
    there = tmp_path / "there"
    made = World(flags | {"artifacts_destination": str(tmp_path / "artifacts")}, {})
    experiment = await made.experiment("e")
    run = await made.run(experiment, {"a": b"old"})
    renaming = Renaming(ROOT, str(there))
    ends = await Ends.open(made.estate, renaming)
    stuck = _Stuck(ends.target.store)
    stuck.writing = asyncio.Event()
    hanging = Mover(made.database, renaming, replace(ends, target=Place(stuck, ends.target.key)))
    late = asyncio.create_task(hanging.move(Outcome(int(experiment), "e")))
    await stuck.writing.wait()
    outcome = Outcome(int(experiment), "e")
    await Mover(made.database, renaming, ends).move(outcome)
    assert (outcome.state, outcome.copied) == ("moved", 1)
    path = there / experiment / run / "artifacts" / "a"
    path.write_bytes(b"newer")
    with pytest.raises(TrackingError, match="somebody else") as caught:
        await asyncio.wait_for(late, 10)
    assert caught.value.kind is Kind.INVALID
    assert path.read_bytes() == b"newer"
    await made.close()
