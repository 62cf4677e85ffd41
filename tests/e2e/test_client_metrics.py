"""Metrics by MLflow's client: history, the latest rule, what isn't a number, asynchronous logging."""

from __future__ import annotations

import math
import sys
import time

import mlflow
import pytest
from mlflow.entities import Metric

LARGEST = sys.float_info.max


def history(client, run_id, key="m") -> list[tuple[int, int, float]]:
    return [(m.timestamp, m.step, m.value) for m in client.get_metric_history(run_id, key)]


def latest(client, run_id, key="m") -> float:
    return client.get_run(run_id).data.metrics[key]


def log(client, run_id, *points: tuple[int, int, float], key="m") -> None:
    """Points as (timestamp, step, value), one call each."""
    for timestamp, step, value in points:
        client.log_metric(run_id, key, value, timestamp=timestamp, step=step)


def test_history_is_ordered_by_time_then_step_then_value(client, run_id):
    points = [(3, 0, 1.0), (1, 2, 5.0), (1, 1, 7.0), (2, 9, -1.0), (1, 1, 3.0)]
    log(client, run_id, *points)
    assert history(client, run_id) == sorted(points)


def test_history_of_a_metric_nobody_logged_is_empty(client, run_id):
    assert history(client, run_id, "other") == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 0, 1.0), (2, 0, 2.0)], 2.0),
        ([(2, 0, 2.0), (1, 0, 1.0)], 2.0),
        ([(1, 5, 1.0), (9, 4, 2.0)], 1.0),
        ([(1, 0, 3.0), (1, 0, 2.0)], 3.0),
        ([(1, 0, 2.0), (1, 0, 3.0)], 3.0),
        ([(1, -1, 2.0), (1, -2, 3.0)], 2.0),
        ([(1, 0, -2.0), (1, 0, math.nan)], math.nan),
        ([(1, 0, 2.0), (1, 0, math.nan)], 2.0),
        ([(1, 0, math.nan), (1, 0, 1.0)], 1.0),
        ([(1, 0, math.nan), (2, 0, 1.0)], 1.0),
    ],
    ids=["later", "earlier", "step first", "smaller", "larger", "negative steps", "nan counts as 0 up",
         "nan counts as 0 down", "after nan", "later after nan"],
)  # fmt: skip
def test_latest_is_the_largest_step_then_time_then_value(client, run_id, points, expected):
    log(client, run_id, *points)
    assert latest(client, run_id) == pytest.approx(expected, nan_ok=True)


def test_a_batch_keeps_the_same_latest_rule(client, run_id):
    points = [(9, 1, 1.0), (1, 3, 2.0), (5, 2, 9.0), (1, 3, 1.5)]
    client.log_batch(run_id, [Metric("m", value, timestamp, step) for timestamp, step, value in points])
    assert latest(client, run_id) == 2.0
    assert history(client, run_id) == sorted(points)


def test_the_same_point_twice_is_one_point(client, run_id):
    log(client, run_id, (1, 0, 1.0), (1, 0, 1.0))
    client.log_batch(run_id, [Metric("m", 1.0, 1, 0), Metric("m", 1.0, 1, 0), Metric("m", 2.0, 1, 0)])
    assert history(client, run_id) == [(1, 0, 1.0), (1, 0, 2.0)]


def test_nan_reads_back_as_nan(client, run_id):
    log(client, run_id, (1, 0, math.nan))
    assert math.isnan(latest(client, run_id))
    assert math.isnan(history(client, run_id)[0][2])


@pytest.mark.parametrize(
    ("value", "kept"), [(math.inf, LARGEST), (-math.inf, -LARGEST)], ids=["+inf", "-inf"]
)
def test_infinity_reads_back_as_the_largest_double(client, run_id, value, kept):
    log(client, run_id, (1, 0, value))
    assert latest(client, run_id) == kept


@pytest.mark.parametrize("value", [0.1, 1e-300, -0.0, LARGEST, 5e-324, 2**53 + 1, 1 / 3])
def test_every_double_comes_out_as_it_went_in(client, run_id, value):
    log(client, run_id, (1, 0, value))
    assert latest(client, run_id) == float(value)


@pytest.mark.parametrize("step", [0, -(2**63), 2**63 - 1])
def test_steps_are_64_bit(client, run_id, step):
    log(client, run_id, (2**53, step, 1.0))
    assert history(client, run_id) == [(2**53, step, 1.0)]


@pytest.mark.parametrize("key", ["a b", "val/loss", "a.b-c_d", "名前", "k" * 250, "x:y"])
def test_names_may_hold(client, run_id, key):
    log(client, run_id, (1, 0, 1.0), key=key)
    assert history(client, run_id, key) == [(1, 0, 1.0)]


def test_1000_metrics_in_a_batch(client, run_id):
    client.log_batch(run_id, [Metric(f"m{i}", i, 1, 0) for i in range(1000)])
    assert client.get_run(run_id).data.metrics == {f"m{i}": float(i) for i in range(1000)}


def test_1000_points_of_one_metric_in_a_batch(client, run_id):
    client.log_batch(run_id, [Metric("m", i, i, i) for i in range(1000)])
    assert history(client, run_id) == [(i, i, float(i)) for i in range(1000)]


def test_a_batch_of_2001_is_split_by_the_client_and_kept_whole(client, run_id):
    client.log_batch(run_id, [Metric("m", i, i, i) for i in range(2001)])
    assert history(client, run_id) == [(i, i, float(i)) for i in range(2001)]


def test_metric_without_time_is_stamped_by_the_client(client, run_id):
    before = int(time.time() * 1000)
    client.log_metric(run_id, "m", 1)
    [(timestamp, step, value)] = history(client, run_id)
    assert before <= timestamp <= int(time.time() * 1000)
    assert (step, value) == (0, 1.0)


@pytest.mark.usefixtures("experiment")
def test_asynchronous_logging_loses_nothing(client):
    with mlflow.start_run() as run:
        for i in range(50):
            mlflow.log_metric("m", i, step=i, synchronous=False)
        mlflow.log_params({"p": 1}, synchronous=False)
        mlflow.set_tag("t", 2, synchronous=False)
        mlflow.flush_async_logging()
    data = client.get_run(run.info.run_id).data
    assert [point[1:] for point in history(client, run.info.run_id)] == [(i, float(i)) for i in range(50)]
    assert (data.metrics["m"], data.params["p"], data.tags["t"]) == (49.0, "1", "2")


@pytest.mark.since_3
def test_metric_of_a_model_is_a_metric_of_both(client, run_id, experiment):
    model = client.create_logged_model(experiment, name="m", source_run_id=run_id)
    client.log_metric(
        run_id, "acc", 0.5, timestamp=1, step=2, model_id=model.model_id, dataset_name="d", dataset_digest="1"
    )
    [metric] = client.get_logged_model(model.model_id).metrics
    assert (metric.key, metric.value, metric.timestamp, metric.step) == ("acc", 0.5, 1, 2)
    assert (metric.model_id, metric.run_id) == (model.model_id, run_id)
    assert (metric.dataset_name, metric.dataset_digest) == ("d", "1")
    assert latest(client, run_id, "acc") == 0.5
