"""Versions of registered models, numbered from 1; a number is never given out twice.

So a deleted version keeps its row, without what it said, in a stage of its own.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy import delete as delete_from

from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import models, registry_rules, rules
from shoso.metadata.dialects.texts import same
from shoso.metadata.entries import (
    latest_rows,
    model_row,
    no_model,
    of_model,
    of_version,
    put,
    shown_versions,
    version_row,
)
from shoso.metadata.registry_rules import ACTIVE, ARCHIVED, DELETED
from shoso.metadata.schema import (
    WORKSPACE,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_models,
)
from shoso.metadata.sources import Origin, origin
from shoso.wire.registry import (
    CreateModelVersion,
    DeleteModelVersionTag,
    GetLatestVersions,
    ModelVersion,
    ModelVersionByNumber,
    SetModelVersionTag,
    TransitionModelVersionStage,
    UpdateModelVersion,
)
from shoso.wire.requests import SetLoggedModelTags, TagInput

VERSIONS = "mlflow.modelVersions"
"""The tag of a logged model that lists the versions made from it, as JSON."""

_REDACTED = {
    "description": None,
    "user_id": None,
    "status_message": None,
    "source": "REDACTED-SOURCE-PATH",
    "run_id": "REDACTED-RUN-ID",
    "run_link": "REDACTED-RUN-LINK",
}


def create(
    conn: Connection, request: CreateModelVersion, now: int = 0, *, again: bool = False
) -> ModelVersion:
    """The next version of the model. Raises TrackingError (NOT_FOUND, INVALID).

    The model is changed first: its row stays locked until the commit, so that two calls at once get numbers
    of their own on every database. `again`: one of the time `now`, in milliseconds, and that source is it.
    """
    _check_new(request)
    tags = registry_rules.tags(request.tags)
    now = now or now_ms()
    _touch(conn, request.name, now)
    made_from = origin(conn, request)
    if again and (made := _made(conn, request.name, now, made_from.source)):
        return get(conn, request.name, str(made))
    version = _last(conn, request.name) + 1
    conn.execute(insert(model_versions), _row(request, version, made_from, now))
    if rows := [
        {"name": request.name, "version": version, "key": key, "value": value} for key, value in tags.items()
    ]:
        conn.execute(insert(model_version_tags), rows)
    if made_from.model_id:
        _note(conn, made_from.model_id, {"name": request.name, "version": version})
    return get(conn, request.name, str(version))


def get(conn: Connection, name: str, version: str) -> ModelVersion:
    """The version. Raises TrackingError (NOT_FOUND, INVALID)."""
    return shown_versions(conn, [version_row(conn, name, version)])[0]


def latest(conn: Connection, request: GetLatestVersions) -> list[ModelVersion]:
    """The last version in each of the stages, or in each. Raises TrackingError (NOT_FOUND, INVALID)."""
    model_row(conn, request.name)
    stages = {registry_rules.stage(stage) for stage in request.stages or registry_rules.STAGES}
    rows = latest_rows(conn, [request.name])
    return shown_versions(conn, [row for row in rows if row.current_stage in stages])


def download_uri(conn: Connection, request: ModelVersionByNumber) -> str:
    """Where the artifacts of the version are. Raises TrackingError (NOT_FOUND, INVALID)."""
    row = version_row(conn, request.name, request.version)
    return row.storage_location or row.source or ""


def describe(conn: Connection, request: UpdateModelVersion) -> ModelVersion:
    """Give the version another description, or none. Raises TrackingError (NOT_FOUND, INVALID)."""
    row = version_row(conn, request.name, request.version)
    _change(conn, request.name, row.version, description=request.description, last_updated_time=now_ms())
    return get(conn, request.name, request.version)


def transition(conn: Connection, request: TransitionModelVersionStage) -> ModelVersion:
    """Move the version to a stage. Raises TrackingError (NOT_FOUND, INVALID)."""
    stage = registry_rules.stage(request.stage)
    if request.archive_existing_versions and stage not in ACTIVE:
        raise TrackingError(
            Kind.INVALID,
            "Model version transition cannot archive existing model versions because"
            f" '{request.stage}' is not an Active stage. Valid stages are {' and '.join(ACTIVE)}.",
        )
    now = now_ms()
    _touch(conn, request.name, now)
    row = version_row(conn, request.name, request.version)
    if request.archive_existing_versions:
        others = model_versions.c.version != row.version, model_versions.c.current_stage == stage
        conn.execute(
            update(model_versions)
            .where(of_model(model_versions, request.name), *others)
            .values(current_stage=ARCHIVED, last_updated_time=now)
        )
    _change(conn, request.name, row.version, current_stage=stage, last_updated_time=now)
    return get(conn, request.name, request.version)


def delete(conn: Connection, request: ModelVersionByNumber) -> None:
    """Delete the version and its aliases; its tags stay with the row. Raises NOT_FOUND, INVALID."""
    now = now_ms()
    _touch(conn, request.name, now)
    row = version_row(conn, request.name, request.version)
    table = registered_model_aliases
    conn.execute(delete_from(table).where(of_version(table, request.name, row.version)))
    _change(conn, request.name, row.version, current_stage=DELETED, last_updated_time=now, **_REDACTED)


def set_tag(conn: Connection, request: SetModelVersionTag) -> None:
    """Set a tag of the version. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.tag(TagInput(request.key, request.value))
    model_row(conn, request.name, lock=True)
    row = version_row(conn, request.name, request.version)
    key = {"name": request.name, "version": row.version, "key": request.key}
    put(conn, model_version_tags, key, value=request.value)


def delete_tag(conn: Connection, request: DeleteModelVersionTag) -> None:
    """Delete a tag of the version; fine if there's none. Raises TrackingError (NOT_FOUND, INVALID)."""
    rules.check_key(request.key, "key")
    row = version_row(conn, request.name, request.version)
    table = model_version_tags
    this = of_version(table, request.name, row.version)
    conn.execute(delete_from(table).where(this, same(table.c.key, request.key)))


def _check_new(request: CreateModelVersion) -> None:
    registry_rules.model_name(request.name)
    for what, limit in _WIDTHS.items():
        rules.check_length(what, limit, getattr(request, what) or "")


_WIDTHS = {"source": 500, "run_id": 32, "run_link": 500}
"""The widths of the columns; MLflow leaves them to the database, and SQLite knows none."""


def _last(conn: Connection, name: str) -> int:
    """The number of the last version, 0 without one; also of what only the collation takes for that name.

    MLflow has stored versions under the spelling of whoever made them, and their numbers are taken.
    """
    row = model_versions.c
    last = select(func.max(row.version)).where(row.workspace == WORKSPACE, row.name == name)
    return conn.scalar(last) or 0


def _made(conn: Connection, name: str, now: int, source: str) -> int | None:
    row = model_versions.c
    this = of_model(model_versions, name), row.creation_time == now, same(row.source, source)
    number: int | None = conn.scalar(select(func.max(row.version)).where(*this))
    return number


def _row(request: CreateModelVersion, version: int, made_from: Origin, now: int) -> dict[str, Any]:
    return {
        "name": request.name,
        "version": version,
        "creation_time": now,
        "last_updated_time": now,
        "description": request.description,
        "current_stage": registry_rules.NONE,
        "source": made_from.source,
        "storage_location": made_from.location,
        "run_id": made_from.run_id,
        "run_link": request.run_link,
        "status": "READY",
    }


def _touch(conn: Connection, name: str, now: int) -> None:
    """Say that the model changed, and lock its row. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.model_name(name)
    touched = conn.execute(
        update(registered_models).where(of_model(registered_models, name)).values(last_updated_time=now)
    )
    if not touched.rowcount:
        raise no_model(name)


def _change(conn: Connection, name: str, version: int, /, **values: object) -> None:
    this = of_version(model_versions, name, version)
    conn.execute(update(model_versions).where(this).values(**values))


def _note(conn: Connection, model_id: str, version: dict[str, Any]) -> None:
    """Add the version to the list in a tag of the logged model that it was made from."""
    models.hold(conn, model_id)  # what is read here is written again, with one more
    try:
        known = json.loads(models.tag(conn, model_id, VERSIONS) or "[]")
    except ValueError:
        known = []
    listed = [*(known if isinstance(known, list) else []), version]
    models.set_tags(conn, SetLoggedModelTags(model_id, [TagInput(VERSIONS, json.dumps(listed))]))
