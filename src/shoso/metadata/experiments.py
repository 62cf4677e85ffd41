"""Experiments: a name, a place for artifacts and tags; a deleted one keeps its name until it is collected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update
from sqlalchemy import delete as delete_from

from shoso.core import locations
from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import claims, rules
from shoso.metadata.bulk import BulkInsert, BulkSelect
from shoso.metadata.clauses import locked
from shoso.metadata.dialects.texts import same
from shoso.metadata.dialects.upserts import Upsert
from shoso.metadata.lifecycle import ACTIVE, DELETED, not_active
from shoso.metadata.schema import experiment_tags, experiments, runs
from shoso.metadata.workspace import SERVED
from shoso.wire.decode import missing
from shoso.wire.entities import Experiment, Tag
from shoso.wire.requests import CreateExperiment, DeleteExperimentTag, SetExperimentTag, TagInput


def create(conn: Connection, request: CreateExperiment, artifact_root: str, location: str = "") -> str:
    """The id of a new experiment; its artifacts go to `location`, the request's, or `artifact_root`/id.

    Raises TrackingError: DUPLICATE for a name that is taken, also by a deleted experiment; INVALID.
    """
    given = location or request.artifact_location
    location = locations.absolute(given) if given else ""
    _check_new(request, location)
    _check_free(conn, request.name)
    now = now_ms()
    row = {
        "name": request.name,
        "artifact_location": location,
        "lifecycle_stage": ACTIVE,
        "creation_time": now,
        "last_update_time": now,
    }
    [number] = tuple(conn.execute(insert(experiments), row).inserted_primary_key or ())
    if not location:
        _change(
            conn, number, artifact_location=locations.below(locations.absolute(artifact_root), str(number))
        )
    for tag in request.tags:
        _put_tag(conn, number, tag)
    return str(number)


def get(conn: Connection, experiment_id: str) -> Experiment:
    """The experiment, in any stage. Raises TrackingError (NOT_FOUND, INVALID)."""
    return from_rows(conn, [_row(conn, experiment_id)])[0]


def get_by_name(conn: Connection, name: str) -> Experiment:
    """The experiment of that name, in any stage. Raises TrackingError(NOT_FOUND)."""
    rows = conn.execute(select(experiments).where(SERVED, same(experiments.c.name, name))).all()
    if not rows:
        raise TrackingError(Kind.NOT_FOUND, f"Could not find experiment with name '{name}'")
    return from_rows(conn, rows)[0]


def active(conn: Connection, experiment_id: str, *, shared: bool = False) -> Row[Any]:
    """The row of an active experiment, which nobody else changes until the commit; `shared`: nor do we.

    Raises TrackingError: NOT_FOUND, or INVALID when it is deleted.
    """
    row = _row(conn, experiment_id, _SHARED if shared else _LOCKED)
    if row.lifecycle_stage != ACTIVE:
        raise not_active("experiment", experiment_id, row.lifecycle_stage)
    return row


def number(text: str) -> int:
    """The number that an experiment's id is. Raises TrackingError(INVALID)."""
    return rules.experiment_id(text)


def delete(conn: Connection, experiment_id: str) -> None:
    """Mark an active experiment and all its runs deleted. Raises TrackingError (NOT_FOUND, INVALID)."""
    now = now_ms()
    changed = _move(conn, experiment_id, ACTIVE, DELETED, now)
    _move_runs(conn, changed, DELETED, now)


def restore(conn: Connection, experiment_id: str) -> None:
    """Make a deleted experiment and all its runs active, as MLflow does: also runs deleted before it.

    Raises TrackingError: NOT_FOUND, or INVALID when it, or a run in it, is being deleted for good.
    """
    changed = _move(conn, experiment_id, DELETED, ACTIVE, now_ms())
    _move_runs(conn, changed, ACTIVE, None)
    claims.refuse_claimed(conn, "experiment", str(changed))
    claims.refuse_claimed_in(conn, changed)


def rename(conn: Connection, experiment_id: str, name: str) -> None:
    """Give an active experiment another name. Raises TrackingError (NOT_FOUND, REJECTED, INVALID)."""
    if not name:
        raise missing("new_name")
    rules.experiment_name(name)
    row = active(conn, experiment_id)
    if row.name != name:
        _check_free(conn, name, Kind.REJECTED)
    _change(conn, row.experiment_id, name=name, last_update_time=now_ms())


def set_tag(conn: Connection, request: SetExperimentTag) -> None:
    """Set a tag of an active experiment. Raises TrackingError (NOT_FOUND, INVALID)."""
    tag = TagInput(request.key, request.value)
    rules.experiment_tag(tag)
    row = active(conn, request.experiment_id)
    if request.key.startswith(rules.CUSTOM_VIEW):
        rules.custom_views({tag.key, *(there.key for there in from_rows(conn, [row])[0].tags)})
    _put_tag(conn, row.experiment_id, tag)


def delete_tag(conn: Connection, request: DeleteExperimentTag) -> None:
    """Delete a tag of an active experiment. Raises TrackingError (NOT_FOUND, INVALID)."""
    row = active(conn, request.experiment_id)
    table = experiment_tags
    done = conn.execute(
        delete_from(table).where(table.c.experiment_id == row.experiment_id, same(table.c.key, request.key))
    )
    if not done.rowcount:
        raise TrackingError(
            Kind.NOT_FOUND,
            f"No tag with name: {request.key} in experiment with id {request.experiment_id}",
        )


def from_rows(conn: Connection, rows: Sequence[Row[Any]]) -> list[Experiment]:
    """The experiments of rows of the table, with their tags."""
    tags: dict[int, list[Tag]] = {row.experiment_id: [] for row in rows}
    for experiment_id, key, value in _TAGS.rows(conn, list(tags)):
        tags[experiment_id].append(Tag(key, value or ""))
    return [
        Experiment(
            experiment_id=str(row.experiment_id),
            name=row.name,
            artifact_location=row.artifact_location or "",
            lifecycle_stage=row.lifecycle_stage,
            last_update_time=row.last_update_time or None,
            creation_time=row.creation_time or None,
            tags=tags[row.experiment_id] or (),
            workspace=row.workspace,
        )
        for row in rows
    ]


_ROW = select(experiments).where(experiments.c.experiment_id == bindparam("id"), SERVED)
_LOCKED = locked(_ROW, experiments)
_SHARED = locked(_ROW, experiments, shared=True)
_PUT_TAG = BulkInsert(Upsert(experiment_tags, replaced=("value",)))
_TAGS = BulkSelect(
    select(experiment_tags.c.experiment_id, experiment_tags.c.key, experiment_tags.c.value).where(
        experiment_tags.c.experiment_id.in_([0])
    )
)


def _check_new(request: CreateExperiment, location: str) -> None:
    rules.experiment_name(request.name)
    rules.artifact_location(location)
    for tag in request.tags:
        rules.experiment_tag(tag)
    rules.distinct_tags(request.tags)
    rules.custom_views(tag.key for tag in request.tags)


def _check_free(conn: Connection, name: str, kind: Kind = Kind.DUPLICATE) -> None:
    query = select(experiments.c.lifecycle_stage).where(SERVED, same(experiments.c.name, name))
    stage = conn.scalar(query)
    if stage is not None:
        hint = " in the deleted state; restore it, or collect it first" if stage == DELETED else ""
        raise TrackingError(kind, f"Experiment(name={name}) already exists{hint}.")


def _row(conn: Connection, experiment_id: str, query: Select[Any] = _ROW) -> Row[Any]:
    number = rules.experiment_id(experiment_id)
    row = conn.execute(query, {"id": number}).one_or_none()
    if row is None:
        raise _absent(number)
    return row


def _absent(number: int) -> TrackingError:
    return TrackingError(Kind.NOT_FOUND, f"No Experiment with id={number} exists")


def _move(conn: Connection, experiment_id: str, stage: str, to: str, now: int) -> int:
    """Change the stage of an experiment; one in another stage counts as absent, as in MLflow."""
    row = _row(conn, experiment_id, _LOCKED)
    if row.lifecycle_stage != stage:
        raise _absent(row.experiment_id)
    _change(conn, row.experiment_id, lifecycle_stage=to, last_update_time=now)
    return int(row.experiment_id)


def _move_runs(conn: Connection, number: int, stage: str, deleted_time: int | None) -> None:
    conn.execute(
        update(runs)
        .where(runs.c.experiment_id == number)
        .values(lifecycle_stage=stage, deleted_time=deleted_time)
    )


def _change(conn: Connection, number: int, **values: object) -> None:
    conn.execute(update(experiments).where(experiments.c.experiment_id == number).values(**values))


def _put_tag(conn: Connection, number: int, tag: TagInput) -> None:
    _PUT_TAG.execute(conn, [(tag.key, tag.value, number)])
