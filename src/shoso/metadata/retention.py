"""What retention asks about the runs of an experiment, and how it marks those that go.

Ranks are of runs that are active and have ended, so that marking those behind them changes none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, func, or_, select, update

from shoso.core.clock import now_ms
from shoso.metadata.clauses import locked, parts
from shoso.metadata.dialects.texts import same
from shoso.metadata.edges import MODEL_INPUT, RUN_INPUT
from shoso.metadata.lifecycle import ACTIVE, DELETED
from shoso.metadata.schema import (
    inputs,
    latest_metrics,
    logged_model_tags,
    logged_models,
    model_versions,
    runs,
    tags,
)

PAGE = 1000
"""Runs that are read at once."""

PARENT = "mlflow.parentRunId"

ENDED = ("FINISHED", "FAILED", "KILLED")

Tags = Sequence[tuple[str, str | None]]
"""Keys and values; None is any value."""


class Candidate(NamedTuple):
    """An active run; `time` is when it ended, or began, in milliseconds: 0 where nobody knows."""

    id: str
    name: str
    ended: bool
    time: int
    location: str


class Model(NamedTuple):
    """An active logged model, and the run that made it; `wanted` by a run that is active and reads it."""

    id: str
    name: str
    experiment_id: int
    run_id: str | None
    location: str
    wanted: str | None


def page(conn: Connection, experiment_id: int, after: str = "") -> list[Candidate]:
    """The first active runs of an experiment behind the id `after`; fewer than PAGE are the last ones."""
    query = _CANDIDATES.where(runs.c.experiment_id == experiment_id, runs.c.run_uuid > after)
    return [_candidate(row) for row in conn.execute(query.order_by(runs.c.run_uuid).limit(PAGE))]


def those(
    conn: Connection, experiment_id: int, run_ids: Sequence[str], *, lock: bool = False
) -> list[Candidate]:
    """Those that are active and of the experiment; `lock`: nobody changes them until the commit."""
    query = _CANDIDATES.where(runs.c.experiment_id == experiment_id).order_by(runs.c.run_uuid)
    query = locked(query, runs) if lock else query
    found = (conn.execute(query.where(runs.c.run_uuid.in_(some))) for some in parts(sorted(run_ids)))
    return [_candidate(row) for rows in found for row in rows]


def best(conn: Connection, experiment_id: int, metric: str, number: int, *, least: bool) -> list[str]:
    """The ids of so many runs with the best latest values, of equal ones the newest; NaN is no value."""
    value = latest_metrics.c.value
    query = (
        select(runs.c.run_uuid)
        .join(latest_metrics, latest_metrics.c.run_uuid == runs.c.run_uuid)
        .where(_ranked(experiment_id), same(latest_metrics.c.key, metric), latest_metrics.c.is_nan == false())
    )
    order = (value.asc() if least else value.desc(), *_NEWEST)
    return [*conn.scalars(query.order_by(*order).limit(number))]


def last(conn: Connection, experiment_id: int, number: int) -> list[str]:
    """The ids of the so many newest runs that aren't nested in another."""
    nested = exists(select(tags.c.key).where(tags.c.run_uuid == runs.c.run_uuid, same(tags.c.key, PARENT)))
    query = select(runs.c.run_uuid).where(_ranked(experiment_id), ~nested)
    return [*conn.scalars(query.order_by(*_NEWEST).limit(number))]


def parents(conn: Connection, experiment_id: int) -> dict[str, str]:
    """The runs of an experiment that are nested, each with its parent."""
    query = (
        select(tags.c.run_uuid, tags.c.value)
        .join(runs, runs.c.run_uuid == tags.c.run_uuid)
        .where(runs.c.experiment_id == experiment_id, runs.c.lifecycle_stage == ACTIVE)
        .where(same(tags.c.key, PARENT))
    )
    return {run_id: parent for run_id, parent in conn.execute(query) if parent}


def tagged(conn: Connection, run_ids: Sequence[str], wanted: Tags) -> dict[str, str]:
    """Those of the runs that have one of the tags, or made a logged model that has, and its key."""
    found: dict[str, str] = {}
    of_model = logged_model_tags.c
    for some in parts(run_ids) if wanted else ():
        query = select(tags.c.run_uuid, tags.c.key).where(
            tags.c.run_uuid.in_(some), _one_of(tags.c.key, tags.c.value, wanted)
        )
        models = (
            select(logged_models.c.source_run_id, of_model.tag_key)
            .join(logged_models, logged_models.c.model_id == of_model.model_id)
            .where(logged_models.c.source_run_id.in_(some), logged_models.c.lifecycle_stage == ACTIVE)
            .where(_one_of(of_model.tag_key, of_model.tag_value, wanted))
        )
        for each in (query, models):
            found |= dict(map(tuple, conn.execute(each)))
    return found


def sources(conn: Connection) -> Iterator[tuple[str, str, str]]:
    """Every version of a registered model: name/version, the run it names, and each place it is made of."""
    row = model_versions.c
    query = select(row.name, row.version, row.run_id, row.source, row.storage_location)
    for name, version, run_id, *places in conn.execute(query.where(row.current_stage != "Deleted_Internal")):
        for place in {*places, None} - {""}:
            yield f"{name}/{version}", run_id or "", place or ""


def makers(conn: Connection, model_ids: Sequence[str]) -> dict[str, str]:
    """The runs that made these logged models, by the model."""
    row = logged_models.c
    found = (
        conn.execute(select(row.model_id, row.source_run_id).where(row.model_id.in_(some)))
        for some in parts(model_ids)
    )
    return {model: run for rows in found for model, run in rows if run}


def models_of(conn: Connection, run_ids: Sequence[str]) -> list[Model]:
    """The active logged models that these runs made."""
    found = (
        conn.execute(
            _MODELS.where(logged_models.c.source_run_id.in_(some)).order_by(logged_models.c.model_id)
        )
        for some in parts(run_ids)
    )
    return [Model(*row) for rows in found for row in rows]


def models(conn: Connection, model_ids: Sequence[str]) -> list[Model]:
    """Those of the logged models that are active; nobody changes them until the commit."""
    query = locked(_MODELS, logged_models).order_by(logged_models.c.model_id)
    found = (
        conn.execute(query.where(logged_models.c.model_id.in_(some))) for some in parts(sorted(model_ids))
    )
    return [Model(*row) for rows in found for row in rows]


def deleted(conn: Connection, run_ids: Sequence[str | None]) -> list[str]:
    """Those of the runs that are marked deleted."""
    query = select(runs.c.run_uuid).where(runs.c.lifecycle_stage == DELETED)
    return [
        run_id
        for some in parts([run_id for run_id in run_ids if run_id])
        for run_id in conn.scalars(query.where(runs.c.run_uuid.in_(some)))
    ]


def mark_runs(conn: Connection, run_ids: Sequence[str], made: int) -> None:
    """Mark them deleted, as `runs.delete` does it; by whatever clock not before the plan was `made`."""
    for some in parts(run_ids):
        change = update(runs).where(runs.c.run_uuid.in_(some))
        conn.execute(change.values(lifecycle_stage=DELETED, deleted_time=max(now_ms(), made)))


def mark_models(conn: Connection, model_ids: Sequence[str], made: int) -> None:
    """Mark them deleted, as `models.remove` does it; not before the plan was `made`, either."""
    for some in parts(model_ids):
        change = update(logged_models).where(logged_models.c.model_id.in_(some))
        values = {"lifecycle_stage": DELETED, "last_updated_timestamp_ms": max(now_ms(), made)}
        conn.execute(change.values(**values))


_TIME = func.coalesce(func.nullif(runs.c.end_time, 0), func.nullif(runs.c.start_time, 0), 0)
_NEWEST: tuple[ColumnElement[Any], ...] = (func.coalesce(runs.c.start_time, 0).desc(), runs.c.run_uuid)
_CANDIDATES: Select[Any] = select(
    runs.c.run_uuid, runs.c.name, runs.c.status, _TIME, runs.c.artifact_uri
).where(runs.c.lifecycle_stage == ACTIVE)

_reader = runs.alias("reader")
_READER = (
    select(func.min(_reader.c.run_uuid))
    .join(inputs, inputs.c.source_id == _reader.c.run_uuid)
    .where(
        inputs.c.source_type == RUN_INPUT,
        inputs.c.destination_type == MODEL_INPUT,
        inputs.c.destination_id == logged_models.c.model_id,
        _reader.c.lifecycle_stage == ACTIVE,
        _reader.c.run_uuid != logged_models.c.source_run_id,
    )
    .correlate(logged_models)
    .scalar_subquery()
)
_MODELS: Select[Any] = select(
    logged_models.c.model_id,
    logged_models.c.name,
    logged_models.c.experiment_id,
    logged_models.c.source_run_id,
    logged_models.c.artifact_location,
    _READER,
).where(logged_models.c.lifecycle_stage == ACTIVE)


def _candidate(row: Any) -> Candidate:
    run_id, name, status, time, location = row
    return Candidate(run_id, name or "", status in ENDED, time, location or "")


def _ranked(experiment_id: int) -> ColumnElement[bool]:
    return and_(
        runs.c.experiment_id == experiment_id,
        runs.c.lifecycle_stage == ACTIVE,
        runs.c.status.in_(ENDED),
    )


def _one_of(key: ColumnElement[Any], value: ColumnElement[Any], wanted: Tags) -> ColumnElement[bool]:
    return or_(
        *(
            same(key, name) if text is None else and_(same(key, name), same(value, text))
            for name, text in wanted
        )
    )
