"""What the database refers to, in every workspace: whoever looks for what nobody needs asks here.

Page by page, in the order of ids, so that any number of rows is looked at in the same memory.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, and_, or_, select

from shoso.metadata.clauses import parts
from shoso.metadata.compatibility import FOR_MLFLOW  # noqa: F401 - whose tables are in SCHEMA then
from shoso.metadata.schema import SCHEMA, logged_models, model_versions, runs

PAGE = 1000
"""Rows that are read at once."""


class Owner(enum.StrEnum):
    """What a folder in MLflow's layout belongs to."""

    RUN = "run"
    MODEL = "model"
    TRACE = "trace"


class Recorded(NamedTuple):
    """A run or a model, and where its artifacts are."""

    id: str
    location: str


class Version(NamedTuple):
    """A version of a registered model."""

    workspace: str
    name: str
    version: int
    source: str | None = None
    storage_location: str | None = None
    run_id: str | None = None

    @property
    def places(self) -> set[str]:
        """What it is made of, as it is recorded."""
        return {place for place in (self.source, self.storage_location) if place}


def page(conn: Connection, owner: Owner, after: str = "") -> list[Recorded]:
    """The first runs or models behind the id `after`; fewer than PAGE are the last ones."""
    id_, location = _LOCATED[owner]
    query = select(id_, location).where(id_ > after).order_by(id_).limit(PAGE)
    return [Recorded(each, where or "") for each, where in conn.execute(query)]


def versions(conn: Connection, after: Version) -> list[Version]:
    """The first versions of registered models behind that one; fewer than PAGE are the last ones."""
    row = model_versions.c
    behind = or_(
        row.workspace > after.workspace,
        and_(row.workspace == after.workspace, row.name > after.name),
        and_(row.workspace == after.workspace, row.name == after.name, row.version > after.version),
    )
    query = select(row.workspace, row.name, row.version, row.source, row.storage_location, row.run_id)
    query = query.where(behind, row.current_stage != "Deleted_Internal")
    found = conn.execute(query.order_by(row.workspace, row.name, row.version).limit(PAGE))
    return [Version(*each) for each in found]


def there(conn: Connection, owner: Owner, ids: Sequence[str]) -> set[str]:
    """Those of these that have a row."""
    column = _ID[owner]
    found = (conn.scalars(select(column).where(column.in_(some))) for some in parts(ids))
    return {id_ for some in found for id_ in some}


_LOCATED = {
    Owner.RUN: (runs.c.run_uuid, runs.c.artifact_uri),
    Owner.MODEL: (logged_models.c.model_id, logged_models.c.artifact_location),
}
_ID: dict[Owner, Column[Any]] = {
    Owner.RUN: runs.c.run_uuid,
    Owner.MODEL: logged_models.c.model_id,
    Owner.TRACE: SCHEMA.tables["trace_info"].c.request_id,
}
