"""Stages of runs and experiments: what is active may be written to; refusals in MLflow's words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, literal_column, select

from shoso.errors import Kind, TrackingError
from shoso.metadata.bulk import BulkSelect
from shoso.metadata.clauses import locked
from shoso.metadata.dialects.texts import same
from shoso.metadata.schema import runs
from shoso.metadata.workspace import is_served

ACTIVE, DELETED = "active", "deleted"

_LISTED = and_(runs.c.run_uuid.in_([""]), is_served(runs))
_COUNT = BulkSelect(
    select(func.count()).where(_LISTED, runs.c.lifecycle_stage == literal_column(f"'{ACTIVE}'"))
)
# In the order of their ids, so that two servers never wait for each other.
_STAGES = BulkSelect(
    locked(select(runs.c.run_uuid, runs.c.lifecycle_stage), runs).where(_LISTED).order_by(runs.c.run_uuid)
)
_RUN: Select[Any] = locked(
    select(runs.c.lifecycle_stage, runs.c.experiment_id).where(
        same(runs.c.run_uuid, bindparam("id")), is_served(runs)
    ),
    runs,
)


def active_run(conn: Connection, run_id: str) -> int:
    """The experiment of an active run, which nobody else changes or writes to until the commit.

    Raises TrackingError: NOT_FOUND, or INVALID when it is deleted.
    """
    found = conn.execute(_RUN, {"id": run_id}).one_or_none()
    if found is None:
        raise no_run(run_id)
    if found.lifecycle_stage != ACTIVE:
        raise not_active("run", run_id, found.lifecycle_stage)
    return int(found.experiment_id)


def refusals(conn: Connection, run_ids: Iterable[str]) -> dict[str, TrackingError]:
    """Why each of the runs can't be written to, and nobody else changes them until the commit.

    Empty when all can, which costs one row of SQLite.
    """
    ids = sorted(set(run_ids))
    if conn.dialect.name == "sqlite" and sum(count for (count,) in _COUNT.rows(conn, ids)) == len(ids):
        return {}
    stages: dict[str, str] = dict(map(tuple, _STAGES.rows(conn, ids)))
    refused = {run_id: no_run(run_id) for run_id in ids if run_id not in stages}
    return refused | {id_: not_active("run", id_, stage) for id_, stage in stages.items() if stage != ACTIVE}


def no_run(run_id: str) -> TrackingError:
    """The error of a run that isn't there."""
    return TrackingError(Kind.NOT_FOUND, f"Run with id={run_id} not found")


def not_active(what: str, id_: str | int, stage: str) -> TrackingError:
    """The error of a change to what is deleted."""
    return TrackingError(
        Kind.INVALID, f"The {what} {id_} must be in the 'active' state. Current state is {stage}."
    )
