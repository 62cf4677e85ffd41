"""Metrics, beside the real MLflow's store doing the same."""

from __future__ import annotations

import asyncio
import json
import math
import random

import pytest
from sqlalchemy import insert, select
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import metrics, paging, runs
from shoso.metadata.schema import latest_metrics, logged_model_metrics, logged_models
from shoso.metadata.schema import metrics as table
from shoso.wire.requests import CreateRun, LogBatch, LogMetric, MetricInput

KINDS = places.PLACES
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NAN, INF = math.nan, math.inf
VALUES = [0.0, -0.0, 1.0, -1.5, NAN, INF, -INF, 5e-324, 1.7976931348623157e308, 0.1 + 0.2]


async def new_run(database):
    return (await database.write(runs.create, CreateRun("0"))).info.run_id


@pytest.fixture
async def run_id(database):
    return await new_run(database)


@pytest.fixture
def twin(mlflow_store):
    """A run of MLflow's."""
    return mlflow_store.create_run("0", "", 0, [], "").info.run_id


def stored(which):
    """All points of a table, comparable."""
    columns = ("key", "value", "timestamp", "step", "is_nan")
    return lambda conn: sorted(map(tuple, conn.execute(select(*(which.c[name] for name in columns)))))


async def same(database, store):
    """Both databases hold the same points and the same latest ones."""
    with store.engine.connect() as theirs:
        for which in (table, latest_metrics):
            assert await database.read(stored(which)) == stored(which)(theirs)


def entity(point):
    from mlflow.entities import Metric

    return Metric(*point)


def request(run_id, key="m", value=1.0, timestamp=1, step=0, **more):
    return LogMetric(run_id=run_id, key=key, value=value, timestamp=timestamp, step=step, **more)


def random_points(seed, count):
    """Points with few keys, steps and times, so that they meet."""
    chosen = random.Random(seed)
    return [
        (chosen.choice("abc"), chosen.choice(VALUES), chosen.randrange(3), chosen.randrange(-1, 3))
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_logging_point_by_point_does_as_mlflow_does(seed, database, mlflow_store, run_id, twin):
    for point in random_points(seed, 40):
        await database.write_each(metrics.log_each, request(run_id, *point))
        mlflow_store.log_metric(twin, entity(point))
    await same(database, mlflow_store)


@pytest.mark.parametrize("seed", range(4))
async def test_logging_batches_does_as_mlflow_does(seed, database, mlflow_store, run_id, twin):
    for batch in [random_points(seed * 10 + number, 60) for number in range(5)]:
        await database.write(runs.log_batch, LogBatch(run_id, [MetricInput(*point) for point in batch]), True)
        mlflow_store.log_batch(twin, [entity(point) for point in batch], [], [])
        await same(database, mlflow_store)


async def test_a_batch_of_the_largest_size_is_stored_whole(database, mlflow_store, run_id, twin):
    points = [(f"m{n % 600}", float(n), n, n) for n in range(1000)]
    await database.write(runs.log_batch, LogBatch(run_id, [MetricInput(*point) for point in points]), True)
    mlflow_store.log_batch(twin, [entity(point) for point in points], [], [])
    await same(database, mlflow_store)


async def test_points_of_many_clients_in_one_call_are_as_if_logged_one_by_one(database, mlflow_store):
    points = random_points(9, 60)
    pairs = [
        (await new_run(database), mlflow_store.create_run("0", "", 0, [], "").info.run_id) for _ in range(3)
    ]
    calls = []
    for number, point in enumerate(points):
        ours, theirs = pairs[number % 3]
        calls.append(database.write_each(metrics.log_each, request(ours, *point)))
        mlflow_store.log_metric(theirs, entity(point))
    await asyncio.gather(*calls)
    await same(database, mlflow_store)


@pytest.mark.parametrize("value", VALUES)
async def test_a_value_reads_back_as_from_mlflow(value, database, mlflow_store, run_id, twin):
    await database.write_each(metrics.log_each, request(run_id, value=value))
    mlflow_store.log_metric(twin, entity(("m", value, 1, 0)))
    (ours,) = (await database.read(metrics.history, run_id, "m")).metrics
    (latest,) = (await database.read(runs.get, run_id)).data.metrics
    assert ours == latest
    theirs = mlflow_store.get_run(twin).data.metrics["m"]
    assert repr(float(ours.value) + 0.0) == repr(theirs)  # SQLite alone makes 0.0 of -0.0
    assert (ours.value == "NaN") == math.isnan(value)


async def test_each_point_of_a_group_has_its_own_outcome(database, run_id):
    gone = await new_run(database)
    await database.write(runs.delete, gone)
    requests = [
        request(run_id, "a"),
        request("none"),
        request(gone),
        request(run_id, "../b"),
        request(run_id, "c", timestamp=-1),
        LogMetric(run_uuid=run_id, key="d", value=1.0, timestamp=1),
    ]
    outcomes = await database.write(metrics.log_each, requests)
    assert [outcome and outcome.kind for outcome in outcomes] == [
        None, Kind.NOT_FOUND, Kind.INVALID, Kind.INVALID, Kind.INVALID, None,
    ]  # fmt: skip
    assert outcomes[1].message == "Run with id=none not found"
    assert outcomes[2].message == f"The run {gone} must be in the 'active' state. Current state is deleted."
    assert {metric.key for metric in (await database.read(runs.get, run_id)).data.metrics} == {"a", "d"}
    assert (await database.read(runs.get, gone)).data.metrics == ()


async def test_a_point_of_an_unknown_model_does_not_keep_its_neighbours_from_being_logged(database, run_id):
    outcomes = await asyncio.gather(
        *(database.write_each(metrics.log_each, request(run_id, key)) for key in "ab"),
        database.write_each(metrics.log_each, request(run_id, "c", model_id="m-none")),
        return_exceptions=True,
    )
    assert outcomes[:2] == [None, None]
    assert isinstance(outcomes[2], TrackingError)
    assert outcomes[2].kind is Kind.REJECTED
    assert {metric.key for metric in (await database.read(runs.get, run_id)).data.metrics} == {"a", "b"}


MODEL = {
    "model_id": "m-1",
    "experiment_id": 0,
    "name": "model",
    "artifact_location": "",
    "creation_timestamp_ms": 0,
    "last_updated_timestamp_ms": 0,
    "status": 1,
    "lifecycle_stage": "active",
}


@pytest.mark.parametrize("batched", [False, True])
async def test_points_that_name_a_model_are_stored_with_it_as_mlflow_does(
    batched, database, mlflow_store, run_id, twin
):
    from mlflow.entities import Metric

    await database.write(lambda conn: conn.execute(insert(logged_models), MODEL))
    with mlflow_store.engine.begin() as connection:
        connection.execute(insert(logged_models), MODEL)
    points = [
        ("m", 1.0, 1, 0, "m-1"),
        ("m", 1.0, 1, 0, "m-1"),
        ("n", NAN, 1, 0, "m-1", "data", "d1"),
        ("o", 1.0, 1, 0),
    ]
    if batched:
        await database.write(
            runs.log_batch, LogBatch(run_id, [MetricInput(*point) for point in points]), True
        )
        mlflow_store.log_batch(twin, [Metric(*point) for point in points], [], [])
    else:
        for point in points:
            more = dict(zip(("model_id", "dataset_name", "dataset_digest"), point[4:], strict=False))
            await database.write_each(metrics.log_each, request(run_id, *point[:4], **more))
            mlflow_store.log_metric(twin, Metric(*point))
    await same(database, mlflow_store)

    def of_models(conn):
        rows = conn.execute(select(logged_model_metrics).order_by(logged_model_metrics.c.metric_name)).all()
        return [{name: value for name, value in row._asdict().items() if name != "run_id"} for row in rows]

    ours = await database.read(of_models)
    with mlflow_store.engine.connect() as connection:
        assert ours == of_models(connection)
    assert len(ours) == 2


async def test_the_first_point_of_a_model_at_a_time_and_step_stays(database, run_id):
    await database.write(lambda conn: conn.execute(insert(logged_models), MODEL))
    for value in (1.0, 2.0):
        await database.write_each(metrics.log_each, request(run_id, value=value, model_id="m-1"))
    query = select(logged_model_metrics.c.metric_value)
    assert await database.read(lambda conn: conn.scalars(query).all()) == [1.0]
    assert len((await database.read(metrics.history, run_id, "m")).metrics) == 2


@pytest.mark.parametrize("exchange", [False, True], ids=["", "each with the other's tokens"])
async def test_history_is_ordered_and_paged_as_mlflows(database, mlflow_store, run_id, twin, exchange):
    points = [("a", value, timestamp, step) for _, value, timestamp, step in random_points(3, 50)]
    await database.write(runs.log_batch, LogBatch(run_id, [MetricInput(*point) for point in points]), True)
    mlflow_store.log_batch(twin, [entity(point) for point in points], [], [])
    whole = mlflow_store.get_metric_history(twin, "a")
    assert shown(await database.read(metrics.history, run_id, "a")) == shown_of_mlflow(whole)
    for size in (1, 7, len(whole) - 1, len(whole), len(whole) + 1):
        ours_token, theirs_token = "", None
        for _ in range(100):
            ours = await database.read(metrics.history, run_id, "a", ours_token, size)
            theirs = mlflow_store.get_metric_history(twin, "a", size, theirs_token)
            assert shown(ours) == shown_of_mlflow(theirs)
            assert bool(ours.next_page_token) == bool(theirs.token)
            if not theirs.token:
                break
            ours_token, theirs_token = ours.next_page_token, theirs.token
            if exchange:
                ours_token, theirs_token = theirs_token.decode(), ours_token


def shown(page):
    return [(repr(float(m.value) + 0.0), m.timestamp, m.step) for m in page.metrics]


def shown_of_mlflow(page):
    return [(repr(m.value), m.timestamp, m.step) for m in page]


async def test_a_run_or_metric_that_is_not_there_has_no_history(database, run_id):
    for of, key in ((run_id, "m"), ("none", "m")):
        page = await database.read(metrics.history, of, key)
        assert (page.metrics, page.next_page_token) == ((), None)


@pytest.mark.parametrize("size", [0, -1])
async def test_a_page_has_a_size(size, database, run_id):
    with pytest.raises(TrackingError, match="max_results") as caught:
        await database.read(metrics.history, run_id, "m", "", size)
    assert caught.value.kind is Kind.INVALID


async def test_the_next_page_goes_on_behind_the_last_point_whatever_came_meanwhile(database, run_id):
    for timestamp in (10, 20, 30):
        await database.write_each(metrics.log_each, request(run_id, timestamp=timestamp))
    first = await database.read(metrics.history, run_id, "m", "", 2)
    await database.write_each(metrics.log_each, request(run_id, timestamp=5))
    second = await database.read(metrics.history, run_id, "m", first.next_page_token, 2)
    assert [point.timestamp for point in (*first.metrics, *second.metrics)] == [10, 20, 30]


def token_after(*last):
    return paging.encoded({"offset": 1, "after": last})


WRONG = [(1, 2, 3.0), (1, 2, 3.0, 4), ("1", 2, 3.0, False), (1, 2**63, 3.0, False), (1, 2, math.nan, True)]


@pytest.mark.parametrize(
    "token", ["x", "!!!!", "e30=", "WzFd", json.dumps({"offset": 1}), *(token_after(*last) for last in WRONG)]
)
async def test_a_token_that_is_none_of_ours_is_refused(token, database, run_id):
    with pytest.raises(TrackingError, match="page_token") as caught:
        await database.read(metrics.history, run_id, "m", token, 5)
    assert caught.value.kind is Kind.INVALID
