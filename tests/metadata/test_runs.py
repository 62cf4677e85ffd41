"""Runs, beside the real MLflow's store doing the same."""

from __future__ import annotations

import random
import re

import pytest
from sqlalchemy import select
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import experiments, metrics, runs
from shoso.metadata.names import random_name
from shoso.metadata.schema import runs as table
from shoso.wire.requests import (
    CreateExperiment,
    CreateRun,
    LogBatch,
    MetricInput,
    ParamInput,
    TagInput,
    UpdateRun,
)

KINDS = places.PLACES
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


class Pair:
    """A run of ours and one of MLflow's to which the same is done."""

    def __init__(self, database, store, ours, theirs):
        self.database, self.store, self.ours, self.theirs = database, store, ours, theirs

    async def do(self, work, *args):
        return await self.database.write(work, self.ours, *args)

    async def same(self):
        """Our run, after comparing it with MLflow's."""
        ours = await self.database.read(runs.get, self.ours)
        assert portrait(ours) == portrait_of_mlflow(self.store.get_run(self.theirs))
        return ours


def portrait(run):
    info, data = run.info, run.data
    return (
        [info.experiment_id, info.user_id, info.status, info.start_time, info.end_time, info.lifecycle_stage],
        info.run_name,
        info.artifact_uri.replace(info.run_id, "<id>"),
        {tag.key: tag.value for tag in data.tags},
        {param.key: param.value for param in data.params},
        {m.key: (str(m.value).lower(), m.timestamp, m.step) for m in data.metrics},
    )


def portrait_of_mlflow(run):
    info, data = run.info, run.data
    return (
        [info.experiment_id, info.user_id, info.status, info.start_time, info.end_time, info.lifecycle_stage],
        info.run_name,
        info.artifact_uri.replace(info.run_id, "<id>"),
        data.tags,
        data.params,
        {m.key: (str(m.value).lower(), m.timestamp, m.step) for m in data._metric_objs},
    )


@pytest.fixture
async def pair(database, mlflow_store):
    return await new_pair(database, mlflow_store, "both")


async def new_pair(database, store, name):
    created = await database.write(runs.create, CreateRun("0", "me", name, 5))
    theirs = store.create_run("0", "me", 5, [], name)
    return Pair(database, store, created.info.run_id, theirs.info.run_id)


def tagged(entity, values):
    return [entity(key, value) for key, value in values.items()]


async def refusal(call):
    with pytest.raises(TrackingError) as caught:
        await call
    return caught.value.kind, caught.value.message


def mlflow_refusal(call, *args):
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as caught:
        call(*args)
    return caught.value.error_code


@pytest.mark.parametrize(
    ("name", "tags"),
    [
        ("asked", {}),
        ("", {"mlflow.runName": "tagged"}),
        ("same", {"mlflow.runName": "same"}),
        ("asked", {"mlflow.runName": "", "a//b;": "odd key", "e": ""}),
    ],
)
async def test_creating_does_as_mlflow_does(name, tags, database, mlflow_store):
    from mlflow.entities import RunTag

    made = await database.write(runs.create, CreateRun("0", "me", name, 5, tagged(TagInput, tags)))
    if "" not in tags.values():
        theirs = mlflow_store.create_run("0", "me", 5, tagged(RunTag, tags), name)
        assert portrait(made) == portrait_of_mlflow(theirs)
    read = await database.read(runs.get, made.info.run_id)
    assert (made.info, sorted(made.data.tags, key=str)) == (read.info, sorted(read.data.tags, key=str))
    assert re.fullmatch("[0-9a-f]{32}", made.info.run_id)
    assert {tag.key: tag.value for tag in made.data.tags}["mlflow.runName"] == made.info.run_name
    assert made.info.run_name == (name or tags["mlflow.runName"])


async def test_the_rows_of_a_new_run_are_mlflows(pair):
    def row(conn):
        return conn.execute(select(table).where(table.c.run_uuid == pair.ours)).one()._asdict()

    ours = await pair.database.read(row)
    with pair.store.engine.connect() as connection:
        theirs = connection.execute(select(table)).one()._asdict()
    for column in ("run_uuid", "artifact_uri"):
        del ours[column], theirs[column]
    assert ours == theirs


def test_random_names_are_an_adjective_a_noun_and_a_number():
    names = {random_name() for _ in range(500)}
    assert len(names) > 450
    for name in names:
        assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", name)
        assert len(name) <= 20


async def test_a_run_without_a_name_gets_one(database):
    made = await database.write(runs.create, CreateRun("0"))
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{1,3}", made.info.run_name)
    assert made.data.tags[0].value == made.info.run_name


async def test_a_run_is_made_only_in_an_active_experiment(database, mlflow_store):
    experiment_id = await database.write(experiments.create, CreateExperiment("gone"), "/a")
    await database.write(experiments.delete, experiment_id)
    for asked, kind in (
        (experiment_id, Kind.INVALID),
        ("7", Kind.NOT_FOUND),
        ("x", Kind.INVALID),
        ("", Kind.REJECTED),
    ):
        assert (await refusal(database.write(runs.create, CreateRun(asked))))[0] is kind


async def test_what_contradicts_itself_makes_no_run(database):
    tag = TagInput("mlflow.runName", "b")
    kind, message = await refusal(database.write(runs.create, CreateRun("0", run_name="a", tags=[tag])))
    assert kind is Kind.INVALID
    assert "run_name='a', mlflow.runName='b'" in message
    kind, _ = await refusal(database.write(runs.create, CreateRun("0", tags=[tag, tag])))
    assert kind is Kind.INVALID


async def test_artifacts_lie_below_the_experiments_location_with_its_query(database):
    request = CreateExperiment("q", "s3://bucket/p?x=y")
    experiment_id = await database.write(experiments.create, request, "/a")
    made = await database.write(runs.create, CreateRun(experiment_id))
    assert made.info.artifact_uri == f"s3://bucket/p/{made.info.run_id}/artifacts?x=y"


@pytest.mark.parametrize(
    ("status", "end_time", "name"),
    [(None, None, ""), ("FINISHED", 9, ""), (4, None, "new"), ("3", 0, "n" * 250), ("SCHEDULED", 2**62, "")],
)
async def test_updating_does_as_mlflow_does(status, end_time, name, pair):
    from mlflow.entities import RunStatus

    info = await pair.do(runs.update, UpdateRun(status=status, end_time=end_time, run_name=name))
    names = {**{n: n for n in RunStatus.all_status()}, 4: "FAILED", "3": "FINISHED", None: None}
    number = None if status is None else RunStatus.from_string(names.get(status, status))
    pair.store.update_run_info(pair.theirs, number, end_time or None, name)
    assert info == (await pair.same()).info


@pytest.mark.parametrize("status", ["BOGUS", "finished", 0, 6, "-1", ""])
async def test_a_status_that_is_none_is_refused(status, pair):
    kind, message = await refusal(pair.do(runs.update, UpdateRun(status=status)))
    assert kind is Kind.INVALID
    assert "RUNNING, SCHEDULED, FINISHED, FAILED, KILLED" in message


async def test_deleting_and_restoring_are_repeatable_and_keep_the_time(pair):
    async def deleted_time():
        query = select(table.c.deleted_time).where(table.c.run_uuid == pair.ours)
        return await pair.database.read(lambda conn: conn.scalar(query))

    for change in ("delete", "delete", "restore", "restore"):
        await pair.do(getattr(runs, change))
        getattr(pair.store, f"{change}_run")(pair.theirs)
        await pair.same()
        assert ((await deleted_time()) is not None) == (change == "delete")


async def test_a_run_is_restored_inside_a_deleted_experiment(pair):
    await pair.database.write(experiments.delete, "0")
    await pair.do(runs.restore)
    assert (await pair.database.read(runs.get, pair.ours)).info.lifecycle_stage == "active"


async def test_a_deleted_run_is_not_written_to(pair):
    await pair.do(runs.delete)
    before = await pair.database.read(runs.get, pair.ours)
    for work, args in WRITES:
        assert await refusal(pair.do(work, *args)) == (
            Kind.INVALID,
            f"The run {pair.ours} must be in the 'active' state. Current state is deleted.",
        )
    kind, _ = await refusal(pair.database.write(runs.log_batch, LogBatch(pair.ours), True))
    assert kind is Kind.INVALID
    assert await pair.database.read(runs.get, pair.ours) == before


WRITES = [
    (runs.update, (UpdateRun(status="FINISHED"),)),
    (runs.log_params, ([ParamInput("p", "1")], True)),
    (runs.set_tags, ([TagInput("t", "1")], True)),
    (runs.delete_tag, ("mlflow.runName",)),
]


async def test_a_run_that_is_not_there_is_not_found(database):
    for work, args in [*WRITES, (runs.get, ()), (runs.delete, ()), (runs.restore, ())]:
        expected = (Kind.NOT_FOUND, "Run with id=none not found")
        assert await refusal(database.write(work, "none", *args)) == expected
    assert (await refusal(database.write(runs.log_batch, LogBatch("none"), True)))[0] is Kind.NOT_FOUND


async def test_a_param_is_logged_once_or_again_the_same(pair):
    from mlflow.entities import Param

    for params in ({"p": "1", "q": ""}, {"p": "1"}, {"r": "x" * 9000}, {"r": "x" * 6000 + "y"}):
        await pair.do(runs.log_params, tagged(ParamInput, params), True)
        pair.store.log_batch(pair.theirs, [], tagged(Param, params), [])
    await pair.same()
    kind, message = await refusal(
        pair.do(runs.log_params, [ParamInput("n", "1"), ParamInput("p", "2")], True)
    )
    assert kind is Kind.INVALID
    assert "Changing param values is not allowed" in message
    assert mlflow_refusal(pair.store.log_param, pair.theirs, Param("p", "2")) == "INVALID_PARAMETER_VALUE"
    await pair.same()


async def test_tags_are_set_and_deleted(pair):
    from mlflow.entities import RunTag

    for tags in (
        {"t": "1", "u": ""},
        {"t": "2", "mlflow.runName": "renamed"},
        {"mlflow.runName": ""},
        {"l": "x" * 9000},
    ):
        await pair.do(runs.set_tags, tagged(TagInput, tags), True)
        for tag in tagged(RunTag, tags):
            pair.store.set_tag(pair.theirs, tag)
        await pair.same()
    for key in ("t", "mlflow.runName"):
        await pair.do(runs.delete_tag, key)
        pair.store.delete_tag(pair.theirs, key)
        await pair.same()
    assert await refusal(pair.do(runs.delete_tag, "t")) == (
        Kind.NOT_FOUND,
        f"No tag with name: t in run with id {pair.ours}",
    )


async def test_of_a_tag_that_comes_twice_the_last_value_stays(pair):
    from mlflow.entities import RunTag

    twice = [("t", "1"), ("t", "2"), ("mlflow.runName", "a"), ("mlflow.runName", "b")]
    await pair.do(runs.set_tags, [TagInput(*one) for one in twice], True)
    pair.store.log_batch(pair.theirs, [], [], [RunTag(*one) for one in twice])
    assert (await pair.same()).info.run_name == "b"


async def test_a_batch_does_as_mlflow_does(pair):
    from mlflow.entities import Metric, Param, RunTag

    points = [
        ("m", 1.0, 1, 0),
        ("m", 3.0, 1, 0),
        ("m", 2.0, 1, 0),
        ("n", float("nan"), 2, 1),
        ("i", float("-inf"), 0, 0),
    ]
    for _ in range(2):
        await pair.database.write(
            runs.log_batch,
            LogBatch(
                pair.ours, [MetricInput(*p) for p in points], [ParamInput("p", "1")], [TagInput("t", "1")]
            ),
            True,
        )
        pair.store.log_batch(pair.theirs, [Metric(*p) for p in points], [Param("p", "1")], [RunTag("t", "1")])
        await pair.same()


async def test_a_batch_is_whole_or_nothing(pair):
    await pair.do(runs.log_params, [ParamInput("p", "1")], True)
    before = await pair.database.read(runs.get, pair.ours)
    metric, tag, model = (
        MetricInput("m", 1.0, 1),
        TagInput("t", "1"),
        MetricInput("m", 1.0, 2, model_id="m-none"),
    )
    for batch, kind in (
        (LogBatch(pair.ours, [metric], [ParamInput("q", "1"), ParamInput("p", "2")], [tag]), Kind.INVALID),
        (LogBatch(pair.ours, [metric], [ParamInput("q", "1")], [tag, TagInput("a//b")]), Kind.INVALID),
        (LogBatch(pair.ours, [metric, model], [ParamInput("q", "1")], [tag]), Kind.REJECTED),
    ):
        assert (await refusal(pair.database.write(runs.log_batch, batch, True)))[0] is kind
    assert await pair.database.read(runs.get, pair.ours) == before
    assert (await pair.database.read(metrics.history, pair.ours, "m")).metrics == ()


def random_batch(chosen):
    """Few keys and values, so that batches meet, and every tenth param is another one than before."""
    params = {chosen.choice("pqrs"): chosen.choice("1111111112") for _ in range(chosen.randrange(3))}
    tags = {chosen.choice(["t", "u", runs.RUN_NAME]): chosen.choice(["", "1", "2"]) for _ in range(2)}
    points = [
        (chosen.choice("mn"), chosen.random(), chosen.randrange(3), chosen.randrange(3)) for _ in range(3)
    ]
    return points, [*params.items()], [*tags.items()]


async def test_batches_of_many_clients_in_one_call_are_as_if_one_after_the_other(database, mlflow_store):
    chosen, pairs = random.Random(5), [await new_pair(database, mlflow_store, name) for name in "abc"]
    asked = [LogBatch("none"), LogBatch(pairs[0].ours, [MetricInput("a//b", 1.0, 1)])]
    expected = [Kind.NOT_FOUND, Kind.INVALID]
    for at in range(60):
        pair, batch = pairs[at % 3], random_batch(chosen)
        asked.append(LogBatch(pair.ours, *entities(batch, MetricInput, ParamInput, TagInput)))
        expected.append(refused_by_mlflow(pair, batch))
    outcomes = await database.write(runs.log_batches, [(each, True) for each in asked])
    assert [outcome and outcome.kind for outcome in outcomes] == expected
    assert expected.count(None) in range(30, 60)
    for pair in pairs:
        await pair.same()


def entities(batch, *kinds):
    return [[kind(*values) for values in rows] for kind, rows in zip(kinds, batch, strict=True)]


def refused_by_mlflow(pair, batch):
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    try:
        pair.store.log_batch(pair.theirs, *entities(batch, Metric, Param, RunTag))
    except MlflowException:
        return Kind.INVALID
    return None


async def test_each_new_run_of_a_group_has_its_own_outcome(database):
    gone = await database.write(experiments.create, CreateExperiment("gone"), places.ROOT)
    await database.write(experiments.delete, gone)
    twice = [TagInput("t", "1")] * 2
    asked = [CreateRun("0", run_name="a"), CreateRun(""), CreateRun("7"), CreateRun(gone), CreateRun("x")]
    asked += [CreateRun("0", tags=twice), CreateRun("0", run_name="b", tags=twice[:1])]
    outcomes = await database.write(
        runs.create_each, [(each, True, f"{at:032}") for at, each in enumerate(asked)]
    )
    assert [getattr(outcome, "kind", None) for outcome in outcomes] == [
        None, Kind.REJECTED, Kind.NOT_FOUND, Kind.INVALID, Kind.INVALID, Kind.INVALID, None,
    ]  # fmt: skip
    for made in (outcomes[0], outcomes[-1]):
        assert portrait(await database.read(runs.get, made.info.run_id)) == portrait(made)
    there = await database.read(lambda conn: conn.execute(select(table.c.name)).scalars().all())
    assert sorted(there) == ["a", "b"]


async def test_long_values_are_refused_where_they_are_not_to_be_cut(pair):
    long = "x" * 8001
    for call in (
        pair.do(runs.log_params, [ParamInput("p", long)], False),
        pair.do(runs.set_tags, [TagInput("t", long)], False),
        pair.database.write(runs.log_batch, LogBatch(pair.ours, tags=[TagInput("t", long)]), False),
        pair.database.write(runs.create, CreateRun("0", tags=[TagInput("t", long)]), truncate=False),
    ):
        assert (await refusal(call))[0] is Kind.INVALID


async def test_many_runs_are_loaded_in_order_each_with_what_is_its_own(database):
    def make(conn):
        for number in range(1100):
            run_id = runs.create(conn, CreateRun("0", start_time=number, run_name=f"r{number}")).info.run_id
            points = [MetricInput(f"m{n}", float(number), 1) for n in range(number % 3)]
            params = [ParamInput(f"p{n}", str(number)) for n in range(number % 2)]
            runs.log_batch(conn, LogBatch(run_id, points, params), True)

    def load(conn):
        return runs.from_rows(conn, conn.execute(select(table).order_by(table.c.start_time.desc())).all())

    await database.write(make)
    loaded = await database.read(load)
    assert [run.info.start_time for run in loaded] == list(reversed(range(1100)))
    for run in loaded:
        number = run.info.start_time
        assert run.info.run_name == f"r{number}"
        assert {(m.key, m.value) for m in run.data.metrics} == {(f"m{n}", number) for n in range(number % 3)}
        assert {(p.key, p.value) for p in run.data.params} == {
            (f"p{n}", str(number)) for n in range(number % 2)
        }
        assert len(run.data.tags) == 1
