"""Rows that go for good: what `gc` deletes when the artifacts are gone.

Only what is marked deleted goes, or is of an experiment that is; whoever was restored meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
)

from shoso.metadata import claims, imported
from shoso.metadata.clauses import listed, locked, parts
from shoso.metadata.edges import MODEL_INPUT, MODEL_OUTPUT, RUN, RUN_INPUT, RUN_OUTPUT
from shoso.metadata.holdings import Kind, obstacles
from shoso.metadata.lifecycle import DELETED
from shoso.metadata.own import copied
from shoso.metadata.schema import (
    datasets,
    experiment_tags,
    experiments,
    input_tags,
    inputs,
    latest_metrics,
    logged_model_metrics,
    logged_model_params,
    logged_model_tags,
    logged_models,
    metrics,
    params,
    runs,
    tags,
)
from shoso.metadata.workspace import SERVED, is_served

POINTS = 100_000
"""Points of metrics that are deleted in one transaction, about."""


class Marked(NamedTuple):
    """Since when something is deleted, in milliseconds, and where its artifacts are."""

    since: int | None
    location: str


def hold(conn: Connection, kind: Kind, ids: Sequence[str]) -> None:
    """Nobody restores or moves the experiments of these runs or models until the commit.

    A logged model goes with an experiment that is deleted: whoever restores that doesn't touch its row.
    """
    for some in parts(ids):
        conn.execute(_EXPERIMENTS_OF[kind], {"ids": some}).all()


def marked(conn: Connection, kind: Kind, ids: Sequence[str]) -> dict[str, Marked]:
    """Those that are there and may go, by id; nobody changes them until the commit."""
    found: dict[str, Marked] = {}
    for some in parts([_key(kind, id_) for id_ in ids]):
        rows = conn.execute(_MARKED[kind], {"ids": some})
        found |= {str(id_): Marked(since, location or "") for id_, since, location in rows}
    return found


def points(conn: Connection, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many points each metric of these runs has."""
    found: dict[str, dict[str, int]] = {run_id: {} for run_id in run_ids}
    for some in parts(run_ids):
        for run_id, key, number in conn.execute(_POINTS, {"ids": some}):
            found[run_id][key] = number
    return found


def drop_points(conn: Connection, run_id: str, key: str) -> bool:
    """Delete about POINTS points of a metric of a claimed run; whether there are more."""
    these = and_(metrics.c.run_uuid == run_id, metrics.c.key == key)
    steps = select(metrics.c.step).where(these).order_by(metrics.c.step)
    last = conn.scalar(steps.offset(POINTS - 1).limit(1))
    upto = these if last is None else and_(these, metrics.c.step <= last)
    conn.execute(delete(metrics).where(upto))
    return last is not None


def purge(conn: Connection, kind: Kind, ids: Sequence[str]) -> list[str]:
    """Delete these with all that belongs to them, and the claims; gives the ids of those that stay.

    What was restored stays, and an experiment that has a run, a model or rows of MLflow's:
    nobody has a claim on one that stays.
    """
    going = [*marked(conn, kind, ids)]
    if kind is Kind.EXPERIMENT:
        kept = obstacles(conn, [int(id_) for id_ in going])
        going = [id_ for id_ in going if not (int(id_) in kept or _is_lived_in(conn, int(id_)))]
    for some in parts([_key(kind, id_) for id_ in going]):
        for statement in _purging(kind):
            conn.execute(statement, {"ids": some})
    imported.forget(conn, kind.value, going)
    staying = there(conn, kind, [id_ for id_ in ids if id_ not in {*going}])
    claimed = set() if kind is Kind.EXPERIMENT else {*staying}  # an experiment that stays has lost nothing
    claims.release(conn, kind.value, [id_ for id_ in ids if id_ not in claimed])
    return staying


def there(conn: Connection, kind: Kind, ids: Sequence[str]) -> list[str]:
    """Those of these that there are, in any stage."""
    found: list[str] = []
    for some in parts([_key(kind, id_) for id_ in ids]):
        found += map(str, conn.scalars(select(_ID[kind]).where(listed(_ID[kind])), {"ids": some}))
    return found


def _is_lived_in(conn: Connection, experiment_id: int) -> bool:
    for table in (runs, logged_models):
        query = select(table.c.experiment_id).where(table.c.experiment_id == experiment_id).limit(1)
        if conn.scalar(query) is not None:
            return True
    return False


def _key(kind: Kind, id_: str) -> str | int:
    return int(id_) if kind is Kind.EXPERIMENT else id_


_ID: dict[Kind, Column[Any]] = {
    Kind.RUN: runs.c.run_uuid,
    Kind.MODEL: logged_models.c.model_id,
    Kind.EXPERIMENT: experiments.c.experiment_id,
}


def _of_deleted_experiment(table: Table) -> ColumnElement[bool]:
    row = experiments.c
    found = select(row.experiment_id).where(
        row.experiment_id == table.c.experiment_id, row.lifecycle_stage == DELETED
    )
    return exists(found.correlate(table))


def _marked(
    id_: Column[Any], since: Column[Any], location: Column[Any], *conditions: ColumnElement[bool]
) -> Select[Any]:
    query = select(id_, since, location).where(listed(id_), *conditions)
    return locked(query.order_by(id_), id_.table)


_MARKED: dict[Kind, Select[Any]] = {
    Kind.RUN: _marked(
        runs.c.run_uuid,
        runs.c.deleted_time,
        runs.c.artifact_uri,
        runs.c.lifecycle_stage == DELETED,
        is_served(runs),
    ),
    Kind.MODEL: _marked(
        logged_models.c.model_id,
        logged_models.c.last_updated_timestamp_ms,
        logged_models.c.artifact_location,
        or_(logged_models.c.lifecycle_stage == DELETED, _of_deleted_experiment(logged_models)),
        is_served(logged_models),
    ),
    Kind.EXPERIMENT: _marked(
        experiments.c.experiment_id,
        experiments.c.last_update_time,
        experiments.c.artifact_location,
        experiments.c.lifecycle_stage == DELETED,
        SERVED,
    ),
}


def _experiments_of(id_: Column[Any]) -> Select[Any]:
    inside = select(id_.table.c.experiment_id).where(listed(id_))
    query = select(experiments.c.experiment_id).where(experiments.c.experiment_id.in_(inside))
    return locked(query.order_by(experiments.c.experiment_id), experiments, shared=True)


_EXPERIMENTS_OF = {kind: _experiments_of(_ID[kind]) for kind in (Kind.RUN, Kind.MODEL)}

_METRIC = (metrics.c.run_uuid, metrics.c.key)
_POINTS = select(*_METRIC, func.count()).where(listed(metrics.c.run_uuid)).group_by(*_METRIC)


def _edges(*ends: tuple[Column[Any], str, Column[Any]]) -> ColumnElement[bool]:
    """The condition of `inputs` that one of the ends, a type and an id, is one of these."""
    return or_(*(and_(kind == name, listed(end)) for kind, name, end in ends))


_SOURCE = (inputs.c.source_type, inputs.c.source_id)
_TARGET = (inputs.c.destination_type, inputs.c.destination_id)


def _end(of: tuple[Column[Any], Column[Any]], name: str) -> tuple[Column[Any], str, Column[Any]]:
    return of[0], name, of[1]


_OF_RUN = _edges(_end(_TARGET, RUN), _end(_SOURCE, RUN_INPUT), _end(_SOURCE, RUN_OUTPUT))
_OF_MODEL = _edges(_end(_TARGET, MODEL_INPUT), _end(_TARGET, MODEL_OUTPUT))


def _tags_of(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The condition of `input_tags` that the edge is such a one."""
    return input_tags.c.input_uuid.in_(select(inputs.c.input_uuid).where(condition))


def _by(column: Column[Any]) -> tuple[Table, ColumnElement[bool]]:
    return column.table, listed(column)


_BELONGINGS: dict[Kind, Sequence[tuple[Table, ColumnElement[bool]]]] = {
    Kind.RUN: (
        _by(metrics.c.run_uuid),
        _by(latest_metrics.c.run_uuid),
        _by(params.c.run_uuid),
        _by(tags.c.run_uuid),
        (input_tags, _tags_of(_OF_RUN)),
        (inputs, _OF_RUN),
        _by(logged_model_metrics.c.run_id),
    ),
    Kind.MODEL: (
        _by(logged_model_metrics.c.model_id),
        _by(logged_model_params.c.model_id),
        _by(logged_model_tags.c.model_id),
        (inputs, _OF_MODEL),
    ),
    Kind.EXPERIMENT: (
        _by(experiment_tags.c.experiment_id),
        _by(datasets.c.experiment_id),
        _by(copied.c.experiment_id),
    ),
}
"""What goes before the rows themselves, in this order; the edges of a dataset are those of runs."""


@cache
def _purging(kind: Kind) -> list[Delete]:
    """What deletes `ids` of that kind, with all that belongs to them."""
    return [delete(table).where(condition) for table, condition in (*_BELONGINGS[kind], _by(_ID[kind]))]
