"""The history of one metric in many runs, as charts ask for it: the first points, or a sample of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from shoso.errors import Kind, TrackingError
from shoso.metadata.dialects.texts import same
from shoso.metadata.metrics import shown
from shoso.metadata.schema import metrics
from shoso.metadata.workspace import served_runs
from shoso.wire.entities import Metric
from shoso.wire.requests import GetBulkHistory, GetSampledHistory

RUNS_MAX = 100
"""Runs in one request."""

POINTS_MAX = 25_000
"""Points in a reply about many runs."""

SAMPLED_MAX = 2_500
"""Points of each run in a sample."""


def bulk(conn: Connection, request: GetBulkHistory) -> list[Metric]:
    """The points by run, timestamp, step and value, until there are enough; a run that isn't there has none.

    Raises TrackingError(INVALID).
    """
    _check_runs("run_id", request.run_id)
    if request.max_results < 1:
        raise _invalid("max_results must be at least 1.")
    row, run_ids = metrics.c, served_runs(conn, request.run_id)
    query = select(row.run_uuid, row.value, row.timestamp, row.step, row.is_nan).where(
        same(row.key, request.metric_key), row.run_uuid.in_(run_ids)
    )
    order = (row.run_uuid, row.timestamp, row.step, row.value, row.is_nan)
    rows = conn.execute(query.order_by(*order).limit(min(request.max_results, POINTS_MAX)))
    return [_metric(found.run_uuid, request.metric_key, found) for found in rows]


def sampled(conn: Connection, request: GetSampledHistory) -> list[Metric]:
    """Of each run evenly spaced points by step, timestamp and value, the first and the last among them.

    A run that isn't there has none. Raises TrackingError(INVALID).
    """
    _check_sample(request)
    return [
        _metric(run_id, request.metric_key, row)
        for run_id in served_runs(conn, request.run_ids)
        for row in _sample(conn, run_id, request)
    ]


def _sample(conn: Connection, run_id: str, request: GetSampledHistory) -> Sequence[Row[Any]]:
    row = metrics.c
    wanted = [row.run_uuid == run_id, same(row.key, request.metric_key)]
    if request.start_step is not None and request.end_step is not None:
        wanted += [row.step >= request.start_step, row.step <= request.end_step]
    total = conn.scalar(select(func.count()).select_from(metrics).where(*wanted)) or 0
    order = (row.step, row.timestamp, row.value, row.is_nan)
    place = (func.row_number().over(order_by=order) - 1).label("place")
    placed = select(row.value, row.timestamp, row.step, row.is_nan, place).where(*wanted).subquery()
    query = select(placed).order_by(placed.c.place)
    if total > request.max_results:
        query = query.where(_is_chosen(placed.c.place, total, request.max_results))
    return conn.execute(query).all()


def _is_chosen(place: ColumnElement[int], total: int, most: int) -> ColumnElement[bool]:
    """The first place of each of `most` equal parts, but the last place of the last part.

    The parts are those of SQL's NTILE, which MLflow uses: the first ones have one point more, if it must be.
    """
    size, larger = divmod(total, most)
    turn = larger * (size + 1)
    return or_(
        and_(place < turn, place < total - size, place % (size + 1) == 0),
        and_(place >= turn, place < total - size, (place - turn) % size == 0),
        place == total - 1,
    )


def _metric(run_id: str, key: str, row: Any) -> Metric:
    return Metric(key, shown(row.value, row.is_nan), row.timestamp, row.step, run_id=run_id)


def _check_sample(request: GetSampledHistory) -> None:
    _check_runs("run_ids", request.run_ids)
    if not 1 <= request.max_results <= SAMPLED_MAX:
        raise _invalid(f"max_results must be between 1 and {SAMPLED_MAX}.")
    start, end = request.start_step, request.end_step
    if (start is None) != (end is None):
        raise _invalid("If either start step or end step are specified, both must be specified.")
    if start is not None and end is not None and start > end:
        raise _invalid(
            f"end_step must be greater than start_step. Found start_step={start} and end_step={end}."
        )


def _check_runs(field: str, run_ids: Sequence[str]) -> None:
    if not run_ids:
        raise _invalid(f"The request must name at least one run in '{field}'.")
    if len(run_ids) > RUNS_MAX:
        raise _invalid(
            f"The request can't name more than {RUNS_MAX} runs in '{field}'; it has {len(run_ids)}."
        )


def _invalid(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)
