"""Rows that go for good, and claims on them: what wasn't named stays, whatever belongs to it."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select
from tests.metadata import places

from shoso.errors import Kind as ErrorKind
from shoso.errors import TrackingError
from shoso.metadata import claims, datasets, experiments, holdings, models, purge, runs
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Holding, Kind, Wanted
from shoso.metadata.own import OWN
from shoso.metadata.whole import whole
from shoso.wire.entities import Dataset, DatasetInput, ModelOutput, Tag
from shoso.wire.requests import (
    CreateExperiment,
    CreateLoggedModel,
    CreateRun,
    GetLoggedModel,
    LogBatch,
    LoggedModelById,
    LogInputs,
    LogOutputs,
    MetricInput,
    ParamInput,
    SetExperimentTag,
    TagInput,
)

KINDS = places.PLACES


class Made:
    """An experiment with a run that has everything a run can have, and a model that it made."""

    def __init__(self, conn, name):
        self.experiment = experiments.create(conn, CreateExperiment(name), places.ROOT)
        experiments.set_tag(conn, SetExperimentTag(self.experiment, "of", name))
        self.run = runs.create(conn, CreateRun(self.experiment)).info.run_id
        model = CreateLoggedModel(self.experiment, source_run_id=self.run, params=[ParamInput("p", "1")])
        self.model = models.create(conn, model).info.model_id
        points = [MetricInput("m", 1.0, 1, step) for step in range(3)]
        points.append(MetricInput("of model", 1.0, 1, 0, model_id=self.model))
        batch = LogBatch(self.run, points, [ParamInput("p", "1")], [TagInput("t", "1")])
        runs.log_batch(conn, batch, True)
        read = DatasetInput(Dataset("d", "1", "t", "s"), [Tag("mlflow.data.context", "train")])
        datasets.log_inputs(conn, LogInputs(self.run, [read]))
        datasets.log_outputs(conn, LogOutputs(self.run, [ModelOutput(self.model, 0)]))


def rows(conn):
    """All rows of all tables but claims, by table."""
    tables = [*whole().sorted_tables]
    return {table.name: sorted(map(repr, conn.execute(select(table)))) for table in tables}


def deleted(conn, made):
    runs.delete(conn, made.run)
    models.remove(conn, LoggedModelById(made.model))


async def test_a_purge_takes_all_that_belongs_to_what_is_named_and_nothing_else(database):
    kept = await database.write(Made, "kept")
    before = await database.read(rows)
    gone = await database.write(Made, "gone")
    await database.write(experiments.delete, gone.experiment)
    for kind, id_ in ((Kind.RUN, gone.run), (Kind.MODEL, gone.model), (Kind.EXPERIMENT, gone.experiment)):
        assert await database.write(purge.purge, kind, [id_, "0" if kind is Kind.EXPERIMENT else "no"]) == (
            ["0"] if kind is Kind.EXPERIMENT else []
        )
    assert await database.read(rows) == before
    assert (await database.read(runs.get, kept.run)).data.metrics


async def test_what_is_not_deleted_stays_and_is_named(database):
    made = await database.write(Made, "e")
    before = await database.read(rows)
    await database.write(
        lambda conn: claims.add(conn, [Claim("run", made.run, "p", 1, "mlflow-artifacts:/")])
    )
    for kind, id_ in ((Kind.RUN, made.run), (Kind.MODEL, made.model), (Kind.EXPERIMENT, made.experiment)):
        assert await database.write(purge.purge, kind, [id_]) == [id_]
    assert await database.read(rows) == before
    await database.write(deleted, made)
    assert await database.write(purge.purge, Kind.RUN, [made.run]) == []
    assert await database.read(claims.known, "run", [made.run]) == {}


async def test_an_experiment_stays_for_as_long_as_anything_is_in_it(database):
    made = await database.write(Made, "e")
    await database.write(experiments.delete, made.experiment)
    assert await database.write(purge.purge, Kind.RUN, [made.run]) == []
    assert await database.write(purge.purge, Kind.EXPERIMENT, [made.experiment]) == [made.experiment]
    assert (
        await database.write(purge.purge, Kind.MODEL, [made.model]) == []
    )  # active, in a deleted experiment
    assert await database.write(purge.purge, Kind.EXPERIMENT, [made.experiment]) == []


async def test_a_model_is_restored_unless_gc_has_begun_with_it(database):
    made = await database.write(Made, "e")
    asked = LoggedModelById(made.model)
    await database.write(models.remove, asked)
    done = await database.write(models.restore, asked)
    assert (done.experiment_id, done.experiment_stage) == (made.experiment, "active")
    assert (await database.read(models.get, GetLoggedModel(made.model))).info.model_id == made.model
    await database.write(models.remove, asked)
    await database.write(claims.add, [Claim("model", made.model, "plan1", 1, "somewhere")])
    with pytest.raises(TrackingError, match="plan1"):
        await database.write(models.restore, asked)
    assert (await database.read(holdings.page, Kind.MODEL, Wanted([made.model])))[0].deleted
    with pytest.raises(TrackingError, match="not found"):
        await database.write(models.restore, LoggedModelById("m-absent"))


async def test_what_is_claimed_is_restored_by_nobody(database):
    made = await database.write(Made, "e")
    await database.write(experiments.delete, made.experiment)
    claim = Claim("run", made.run, "plan", 1, "mlflow-artifacts:/", trash="mlflow-artifacts:/t", until=2)
    await database.write(claims.add, [claim])
    for work, id_ in ((runs.restore, made.run), (experiments.restore, made.experiment)):
        with pytest.raises(TrackingError, match="shoso gc undo plan") as error:
            await database.write(work, id_)
        assert error.value.kind is ErrorKind.INVALID
    assert (await database.read(runs.get, made.run)).info.lifecycle_stage == "deleted"
    await database.write(claims.release, "run", [made.run])
    await database.write(experiments.restore, made.experiment)


async def test_holdings_come_page_by_page_by_what_is_asked(database, monkeypatch):
    monkeypatch.setattr(holdings, "PAGE", 2)
    made = [await database.write(Made, f"e{number}") for number in range(3)]
    for one in made[:2]:
        await database.write(deleted, one)

    async def ids(kind, wanted):
        found, after = [], ""
        while page := await database.read(holdings.page, kind, wanted, after):
            found += [one.id for one in page]
            after = found[-1]
        return found

    everything = sorted(one.run for one in made)
    assert await ids(Kind.RUN, Wanted()) == everything
    assert await ids(Kind.RUN, Wanted(deleted=True)) == sorted(one.run for one in made[:2])
    assert await ids(Kind.RUN, Wanted(deleted=True, before=1)) == []
    assert await ids(Kind.RUN, Wanted(ids=[made[2].run, "no"])) == [made[2].run]
    assert await ids(Kind.MODEL, Wanted(experiments=[int(made[0].experiment)])) == [made[0].model]
    assert await ids(Kind.EXPERIMENT, Wanted()) == ["0", *(one.experiment for one in made)]
    [one] = await database.read(holdings.page, Kind.RUN, Wanted(ids=[made[0].run]))
    assert one == Holding(
        Kind.RUN, made[0].run, one.name, int(made[0].experiment), "deleted", one.since,
        f"mlflow-artifacts:/{made[0].experiment}/{made[0].run}/artifacts",
    )  # fmt: skip


async def test_an_experiment_with_rows_that_shoso_leaves_alone_is_told(database, place):
    made = await database.write(Made, "e")
    number = int(made.experiment)
    assert await database.read(holdings.obstacles, [number]) == {}
    row = {"request_id": "tr-1", "experiment_id": number, "timestamp_ms": 1, "status": "OK"}
    await database.write(lambda conn: conn.execute(insert(whole().tables["trace_info"]).values(row)))
    assert await database.read(holdings.obstacles, [0, number]) == {number: "trace_info"}
    lived = await database.read(holdings.lived_in, [0, number], None)
    assert lived == {number: ("trace_info", made.run, None)}
    await database.write(experiments.delete, made.experiment)
    for kind, id_ in ((Kind.RUN, made.run), (Kind.MODEL, made.model)):
        assert await database.write(purge.purge, kind, [id_]) == []
    assert await database.write(purge.purge, Kind.EXPERIMENT, [made.experiment]) == [made.experiment]
    assert await database.read(holdings.lived_in, [number], 1) == {number: ("trace_info", None, None)}
    await database.write(lambda conn: conn.exec_driver_sql("DELETE FROM trace_info"))
    assert await database.write(purge.purge, Kind.EXPERIMENT, [made.experiment]) == []


async def test_points_of_a_metric_go_bit_by_bit_and_those_of_others_stay(database, monkeypatch):
    monkeypatch.setattr("shoso.metadata.purge.POINTS", 2)
    made, other = await database.write(Made, "e"), await database.write(Made, "other")
    assert (await database.read(purge.points, [made.run])) == {made.run: {"m": 3, "of model": 1}}
    assert [await database.write(purge.drop_points, made.run, "m") for _ in range(2)] == [True, False]
    ids = [made.run, other.run]
    assert await database.read(purge.points, ids) == {
        made.run: {"of model": 1},
        other.run: {"m": 3, "of model": 1},
    }


def test_every_table_of_ours_is_emptied_between_tests():
    names = {table.name for table in places._EMPTIED}
    assert {name for name in OWN.tables if name != "shoso_version"} <= names
