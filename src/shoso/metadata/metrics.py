"""What runs measured: every point, and the latest of each metric.

    metrics               every point once; one that is logged again is ignored
    latest_metrics        per run and key the point with the greatest (step, timestamp, value)
    logged_model_metrics  the points that name a model, per model too; the first of a timestamp and step stays

SQL has no NaN and no infinity: NaN is value 0 with is_nan, the infinities are the greatest doubles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Integer, bindparam, select

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.metadata import lifecycle, paging, rules
from shoso.metadata.bulk import BulkInsert, BulkSelect, Rows, insert_all, tuples
from shoso.metadata.dialects.rows import later
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
    insert_all(conn, inserts(kept))
    log_of_models(conn, kept)
    return outcomes


def inserts(given: Iterable[tuple[str, LogMetric | MetricInput]]) -> list[tuple[BulkInsert, Rows]]:
    """What logs points of active runs, given with their runs, which `rules` has let through."""
    return _inserts([_point(run_id, point) for run_id, point in given])


def log_of_models(conn: Connection, given: Iterable[tuple[str, LogMetric | MetricInput]]) -> None:
    """Log those of the points that name a model with it, too. Raises TrackingError(REJECTED)."""
    of_models: dict[str, list[LogMetric | MetricInput]] = {}
    for run_id, point in given:
        if point.model_id:
            of_models.setdefault(run_id, []).append(point)
    for run_id, points in of_models.items():
        _store_of_models(conn, run_id, points)


def restore(conn: Connection, given: Iterable[tuple[str, str, float, int, int]]) -> None:
    """Keep points of any runs, as (run, key, value, timestamp, step); nobody checks them again."""
    points = [
        Point(key, finite(value), timestamp, run_id, step, math.isnan(value))
        for run_id, key, value, timestamp, step in given
    ]
    insert_all(conn, _inserts(points))


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
    start, after = _place(page_token)
    given = {"run": run_id, "key": key, "most": _PAGE_MAX}
    if max_results is not None:
        given["most"] = min(max_results, _PAGE_MAX) + 1
    rows = tuples(conn, _AFTER, given | after) if after else tuples(conn, _HISTORY, given | {"start": start})
    more = max_results is not None and len(rows) > max_results
    kept = rows[:max_results]
    points = [Metric(key, shown(value, is_nan), timestamp, step) for value, timestamp, step, is_nan in kept]
    return MetricHistory(points or (), _token(start + len(kept), kept[-1]) if more else None)


def latest_of(conn: Connection, run_ids: Sequence[str]) -> dict[str, list[Metric]]:
    """The latest point of each metric, by run."""
    found: dict[str, list[Metric]] = {}
    for run_id, key, value, timestamp, step, is_nan in _LATEST.rows(conn, run_ids):
        found.setdefault(run_id, []).append(Metric(key, shown(value, is_nan), timestamp, step))
    return found


_ORDER = (metrics.c.timestamp, metrics.c.step, metrics.c.value, metrics.c.is_nan)
_POINTS = (
    select(metrics.c.value, metrics.c.timestamp, metrics.c.step, metrics.c.is_nan)
    .where(same(metrics.c.run_uuid, bindparam("run")), same(metrics.c.key, bindparam("key")))
    .where(is_of_served_run(bindparam("run")))
    .order_by(*_ORDER)
    .limit(bindparam("most", type_=Integer))
)
_HISTORY = _POINTS.offset(bindparam("start", type_=Integer))
_AFTER = _POINTS.where(later(*_ORDER, *(bindparam(column.name) for column in _ORDER)))
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


def _place(page_token: str) -> tuple[int, dict[str, float]]:
    """The number of points on the pages before, and the last of them, if it's told. Raises INVALID.

    MLflow's tokens have a number alone, by which the database would go through all those points again.
    """
    if not page_token:
        return 0, {}
    fields = paging.decoded(page_token)
    after = fields.get("after")
    return paging.offset_in(fields), _last(after) if after is not None else {}


def _last(given: object) -> dict[str, float]:
    try:
        timestamp, step, value, is_nan = msgspec.convert(given, tuple[int, int, float, bool])
    except msgspec.ValidationError:
        raise paging.foreign() from None
    if max(abs(timestamp), abs(step)) >= 2**63 or not math.isfinite(value):
        raise paging.foreign()
    return {"timestamp": timestamp, "step": step, "value": value, "is_nan": is_nan}


def _token(start: int, last: tuple[Any, ...]) -> str:
    value, timestamp, step, is_nan = last
    return paging.encoded({"offset": start, "after": [timestamp, step, value, bool(is_nan)]})


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


def _inserts(points: Sequence[Point]) -> list[tuple[BulkInsert, Rows]]:
    latest = [(p.key, p.value, p.timestamp, p.step, p.is_nan, p.run_uuid) for p in _latest(points)]
    return [(_INSERT, points), (_REPLACE, latest)]


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
