"""Names for versions of a registered model: its aliases, and the last version of all or of a stage."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, delete, select

from shoso.errors import Kind, TrackingError
from shoso.metadata import registry_rules
from shoso.metadata.dialects.texts import same
from shoso.metadata.entries import latest_rows, model_row, of_model, put, shown_versions, version_row
from shoso.metadata.schema import registered_model_aliases
from shoso.wire.registry import ModelAliasByName, ModelVersion, SetAlias


def assign(conn: Connection, request: SetAlias) -> None:
    """Let the alias mean that version, and no other. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.new_alias(request.alias)
    model_row(conn, request.name, lock=True)
    row = version_row(conn, request.name, request.version)
    put(
        conn,
        registered_model_aliases,
        {"name": request.name, "alias": request.alias},
        version=row.version,
    )


def remove(conn: Connection, request: ModelAliasByName) -> None:
    """Forget the alias; fine if there's none. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.alias(request.alias)
    model_row(conn, request.name, lock=True)
    table = registered_model_aliases
    conn.execute(delete(table).where(of_model(table, request.name), same(table.c.alias, request.alias)))


def get(conn: Connection, request: ModelAliasByName) -> ModelVersion:
    """The version that the alias means. Raises TrackingError (NOT_FOUND, INVALID)."""
    return shown_versions(conn, [meant(conn, request.name, request.alias)])[0]


def meant(conn: Connection, name: str, alias: str) -> Row[Any]:
    """The row of the version that the alias means; one that isn't there is INVALID, as MLflow has it."""
    registry_rules.alias(alias)
    if alias.lower() == registry_rules.LATEST:
        return last(conn, name)
    model_row(conn, name)
    row = registered_model_aliases.c
    query = select(row.version).where(of_model(registered_model_aliases, name), same(row.alias, alias))
    version = conn.scalar(query)
    if version is None:
        raise TrackingError(Kind.INVALID, f"Registered model alias {alias} not found.")
    return version_row(conn, name, str(version))


def last(conn: Connection, name: str, stage: str = "") -> Row[Any]:
    """The row of the last version of all, or in that stage. Raises TrackingError (NOT_FOUND, INVALID)."""
    wanted = registry_rules.stage(stage) if stage else ""
    model_row(conn, name)
    rows = [row for row in latest_rows(conn, [name]) if wanted in {"", row.current_stage}]
    if not rows:
        where = f" in stage {wanted}" if wanted else ""
        raise TrackingError(Kind.NOT_FOUND, f"Latest version not found for model {name}{where}.")
    return rows[-1]
