"""What runs measured: every point, and the latest of each metric.

    metrics               every point once; one that is logged again is ignored
    latest_metrics        per run and key the point with the greatest (step, timestamp, value)
    logged_model_metrics  the points that name a model, per model too; the first of a timestamp and step stays

SQL has no NaN and no infinity: NaN is value 0 with is_nan, the infinities are the greatest doubles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import lifecycle, paging, rules
from shoso.metadata.bulk import BulkInsert, BulkSelect
from shoso.metadata.dialects.texts import same
from shoso.metadata.dialects.upserts import Upsert
from shoso.metadata.schema import latest_metrics, logged_model_metrics, logged_models, metrics, runs
from shoso.metadata.workspace import is_of_served_run, is_served
from shoso.wire.entities import Metric, double
from shoso.wire.replies import MetricHistory
from shoso.wire.requests import LogMetric, MetricInput

GREATEST = 1.7976931348623157e308


_PAGE_MAX = 2**31
"""Points in a page: more than anybody has, and one more is still a number for every database."""


class Point(NamedTuple):
    """A row of `metrics`, in the order of its columns."""

    key: str
    value: float
    timestamp: int
    run_uuid: str
    step: int
    is_nan: bool


class ModelPoint(NamedTuple):
    """A row of `logged_model_metrics`, in the order of its columns."""

    model_id: str
    metric_name: str
    metric_timestamp_ms: int
    metric_step: int
    metric_value: float
    experiment_id: int
    run_id: str
    dataset_uuid: str | None
    dataset_name: str | None
    dataset_digest: str | None


def log_each(conn: Connection, requests: Sequence[LogMetric]) -> Sequence[ShosoError | None]:
    """Log points of many runs: per request None or why it was refused."""
    run_ids = [request.run_id or request.run_uuid for request in requests]
    refused = lifecycle.refusals(conn, run_ids)
    outcomes = [
        refused.get(run_id) or _fault(request) for run_id, request in zip(run_ids, requests, strict=True)
    ]
    kept = [
        (run_id, request)
        for run_id, request, outcome in zip(run_ids, requests, outcomes, strict=True)
        if outcome is None
    ]
    _store(conn, [_point(run_id, request) for run_id, request in kept])
    for run_id, request in kept:
        if request.model_id:
            _store_of_models(conn, run_id, [request])
    return outcomes


def log_many(conn: Connection, run_id: str, points: Sequence[MetricInput]) -> None:
    """Log points of one active run, which `rules` has let through. Raises TrackingError(NOT_FOUND)."""
    _store(conn, [_point(run_id, point) for point in points])
    if of_models := [point for point in points if point.model_id]:
        _store_of_models(conn, run_id, of_models)


def restore(conn: Connection, given: Iterable[tuple[str, str, float, int, int]]) -> None:
    """Keep points of any runs, as (run, key, value, timestamp, step); nobody checks them again."""
    _store(
        conn,
        [
            Point(key, finite(value), timestamp, run_id, step, math.isnan(value))
            for run_id, key, value, timestamp, step in given
        ],
    )


def history(
    conn: Connection, run_id: str, key: str, page_token: str = "", max_results: int | None = None
) -> MetricHistory:
    """The points of a metric by timestamp, step and value: a page of them, or all without `max_results`.

    A run that isn't there has none. Raises TrackingError(INVALID).
    """
    if max_results is not None and max_results <= 0:
        raise TrackingError(
            Kind.INVALID,
            f"Invalid value {max_results} for parameter 'max_results' supplied; it must be positive.",
        )
    if max_results is not None:
        max_results = min(max_results, _PAGE_MAX)
    start = paging.offset(page_token)
    query = _HISTORY.offset(start).limit(None if max_results is None else max_results + 1)
    rows = conn.execute(query, {"run": run_id, "key": key}).all()
    more = max_results is not None and len(rows) > max_results
    points = [
        Metric(key, shown(row.value, row.is_nan), row.timestamp, row.step) for row in rows[:max_results]
    ]
    return MetricHistory(points or (), paging.token(start + len(points)) if more else None)


def latest_of(conn: Connection, run_ids: Sequence[str]) -> dict[str, list[Metric]]:
    """The latest point of each metric, by run."""
    found: dict[str, list[Metric]] = {}
    for run_id, key, value, timestamp, step, is_nan in _LATEST.rows(conn, run_ids):
        found.setdefault(run_id, []).append(Metric(key, shown(value, is_nan), timestamp, step))
    return found


_HISTORY = (
    select(metrics.c.value, metrics.c.timestamp, metrics.c.step, metrics.c.is_nan)
    .where(same(metrics.c.run_uuid, bindparam("run")), same(metrics.c.key, bindparam("key")))
    .where(is_of_served_run(bindparam("run")))
    .order_by(metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
)
_LATEST = BulkSelect(
    select(
        latest_metrics.c.run_uuid,
        latest_metrics.c.key,
        latest_metrics.c.value,
        latest_metrics.c.timestamp,
        latest_metrics.c.step,
        latest_metrics.c.is_nan,
    ).where(latest_metrics.c.run_uuid.in_([""]))
)
_MODELS = select(logged_models.c.model_id).where(
    logged_models.c.model_id.in_(bindparam("ids", expanding=True)), is_served(logged_models)
)
_EXPERIMENT = select(runs.c.experiment_id).where(runs.c.run_uuid == bindparam("id"))


_INSERT = BulkInsert(Upsert(metrics))
_REPLACE = BulkInsert(
    Upsert(
        latest_metrics,
        replaced=("value", "timestamp", "step", "is_nan"),
        later=("step", "timestamp", "value"),
    )
)
_INSERT_OF_MODELS = BulkInsert(Upsert(logged_model_metrics))


def _fault(request: LogMetric) -> TrackingError | None:
    try:
        rules.metric(request)
    except TrackingError as error:
        return error
    return None


def _point(run_id: str, given: LogMetric | MetricInput) -> Point:
    value = given.value
    if math.isfinite(value):
        return Point(given.key, value, given.timestamp, run_id, given.step, False)
    return Point(given.key, finite(value), given.timestamp, run_id, given.step, math.isnan(value))


def finite(value: float) -> float:
    """What the database keeps of a value: see the module."""
    if math.isnan(value):
        return 0.0
    return min(max(value, -GREATEST), GREATEST)


def shown(value: float, is_nan: bool) -> float | str:
    """A value as it is replied: the texts of JSON for what is no number."""
    return double(math.nan if is_nan else value)


def _store(conn: Connection, points: Sequence[Point]) -> None:
    if not points:
        return
    _INSERT.execute(conn, points)
    _REPLACE.execute(
        conn, [(p.key, p.value, p.timestamp, p.step, p.is_nan, p.run_uuid) for p in _latest(points)]
    )


def _latest(points: Iterable[Point]) -> Iterable[Point]:
    """Of each run and key the one point that may replace what is there; in the order MLflow locks them in."""
    latest: dict[tuple[str, str], Point] = {}
    for point in points:
        name = (point.run_uuid, point.key)
        known = latest.get(name)
        if known is None or _age(point) > _age(known):
            latest[name] = point
    return [latest[name] for name in sorted(latest)]


def _age(point: Point) -> tuple[int, int, float]:
    return point.step, point.timestamp, point.value


def _store_of_models(conn: Connection, run_id: str, points: Sequence[LogMetric | MetricInput]) -> None:
    ids = {point.model_id for point in points}
    if missing := ids - set(conn.scalars(_MODELS, {"ids": list(ids)})):
        raise TrackingError(Kind.REJECTED, f"Logged model with ID '{min(missing)}' not found.")
    experiment_id = conn.scalars(_EXPERIMENT, {"id": run_id}).one()
    _INSERT_OF_MODELS.execute(conn, [_model_point(point, experiment_id, run_id) for point in points])


def _model_point(point: LogMetric | MetricInput, experiment_id: int, run_id: str) -> ModelPoint:
    return ModelPoint(
        point.model_id,
        point.key,
        point.timestamp,
        point.step,
        finite(point.value),
        experiment_id,
        run_id,
        None,
        point.dataset_name or None,
        point.dataset_digest or None,
    )
