"""Charts of many runs, beside the real MLflow's store on the same database."""

from __future__ import annotations

import math
import random

import pytest
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import datasets, histories, runs
from shoso.wire.entities import Dataset, DatasetInput, Tag
from shoso.wire.requests import (
    CreateRun,
    GetBulkHistory,
    GetSampledHistory,
    LogBatch,
    LogInputs,
    MetricInput,
    SearchDatasets,
)

KINDS = places.PLACES
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

VALUES = [0.0, 1.0, -1.5, math.nan, math.inf, 5e-324]


async def a_run(database, points):
    run_id = (await database.write(runs.create, CreateRun("0"))).info.run_id
    for start in range(0, len(points), 1000):
        batch = LogBatch(run_id=run_id, metrics=points[start : start + 1000])
        await database.write(runs.log_batch, batch, True)
    return run_id


def some_points(seed, count):
    """Points in disorder: many share a step, and some values are no numbers."""
    lot = random.Random(seed)
    return [
        MetricInput("m", lot.choice(VALUES), lot.randrange(50), lot.randrange(-3, 40)) for _ in range(count)
    ]


def shown(found):
    """Points as text: NaN isn't itself."""
    return [(m.run_id, m.key, str(float(m.value)), m.timestamp, m.step) for m in found]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 50, 99, 2500])
@pytest.mark.parametrize("steps", [(None, None), (0, 20), (5, 5), (100, 200)])
async def test_a_sample_is_mlflows(database, place, most, steps):
    ids = [await a_run(database, some_points(seed, seed * 35)) for seed in range(4)]
    with place.tracking() as store:
        theirs = store.get_metric_history_bulk_interval([*ids, "absent"], "m", most, *steps)
    request = GetSampledHistory(
        run_ids=[*ids, "absent"], metric_key="m", max_results=most, start_step=steps[0], end_step=steps[1]
    )
    ours = await database.read(histories.sampled, request)
    assert shown(ours) == shown(theirs)
    assert bool(ours) == (steps != (100, 200))


@pytest.mark.parametrize("most", [1, 10, 25_000])
async def test_many_histories_are_mlflows(database, place, most):
    ids = [await a_run(database, some_points(seed, seed * 35)) for seed in range(4)]
    with place.tracking() as store:
        theirs = store.get_metric_history_bulk([*ids, "absent"], "m", most)
    request = GetBulkHistory(run_id=[*ids, "absent"], metric_key="m", max_results=most)
    assert shown(await database.read(histories.bulk, request)) == shown(theirs) != []


async def test_no_reply_has_more_points_than_it_may(database, monkeypatch):
    monkeypatch.setattr(histories, "POINTS_MAX", 5)
    run_id = await a_run(database, some_points(1, 40))
    request = GetBulkHistory(run_id=[run_id], metric_key="m", max_results=2**62)
    assert len(await database.read(histories.bulk, request)) == 5


async def test_summaries_of_datasets_are_mlflows(database, place):
    for name, contexts in (("a", ("train", "eval")), ("b", ()), ("a", ("train",))):
        run_id = await a_run(database, [])
        tags = [Tag("mlflow.data.context", context) for context in contexts[:1]] + [Tag("other", "x")]
        one = DatasetInput(Dataset(name, "1", "code", "x"), tags)
        await database.write(datasets.log_inputs, LogInputs(run_id, [one]))
    other = await a_run(database, [])
    two = DatasetInput(Dataset("a", "1", "code", "x"), [Tag("mlflow.data.context", "eval")])
    await database.write(datasets.log_inputs, LogInputs(other, [two]))
    with place.tracking() as store:
        theirs = [(s.experiment_id, s.name, s.digest, s.context) for s in store._search_datasets(["0"])]
    found = await database.read(datasets.summaries, SearchDatasets(["0", "0", "77"]))
    ours = [(s.experiment_id, s.name, s.digest, s.context) for s in found]
    assert ours == [("0", "a", "1", "eval"), ("0", "a", "1", "train"), ("0", "b", "1", None)]
    assert sorted(theirs, key=str) == sorted(ours, key=str)


@pytest.mark.parametrize(
    ("work", "request_"),
    [
        (histories.bulk, GetBulkHistory(metric_key="m")),
        (histories.bulk, GetBulkHistory(run_id=["a"] * 101, metric_key="m")),
        (histories.bulk, GetBulkHistory(run_id=["a"], metric_key="m", max_results=-1)),
        (histories.sampled, GetSampledHistory(metric_key="m")),
        (histories.sampled, GetSampledHistory(run_ids=["a"] * 101, metric_key="m")),
        (histories.sampled, GetSampledHistory(run_ids=["a"], metric_key="m", max_results=2501)),
        (histories.sampled, GetSampledHistory(run_ids=["a"], metric_key="m", start_step=1)),
        (histories.sampled, GetSampledHistory(run_ids=["a"], metric_key="m", start_step=2, end_step=1)),
        (datasets.summaries, SearchDatasets([])),
        (datasets.summaries, SearchDatasets(["0"] * 21)),
    ],
)
async def test_what_a_request_cannot_ask_for(database, work, request_):
    with pytest.raises(TrackingError) as failure:
        await database.read(work, request_)
    assert failure.value.kind is Kind.INVALID
