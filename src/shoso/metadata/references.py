"""What the database refers to, in every workspace: whoever looks for what nobody needs asks here.

Page by page, in the order of ids, so that any number of rows is looked at in the same memory.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, and_, delete, exists, literal, not_, or_, select

from shoso.metadata.clauses import parts
from shoso.metadata.lifecycle import DELETED
from shoso.metadata.model_status import NUMBER_OF
from shoso.metadata.schema import (
    DELETED_VERSION,
    logged_models,
    model_versions,
    registered_model_aliases,
    runs,
    tags,
)
from shoso.metadata.whole import whole

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
    run_link: str | None = None

    @property
    def made_of(self) -> str:
        """Where whoever loads it finds its artifacts."""
        return self.storage_location or self.source or ""

    @property
    def places(self) -> set[str]:
        """What it is made of, as it is recorded."""
        return {place for place in (self.source, self.storage_location) if place}


class Alias(NamedTuple):
    """An alias of a version."""

    workspace: str
    name: str
    alias: str
    version: int


def page(conn: Connection, owner: Owner, after: str = "") -> list[Recorded]:
    """The first runs or models behind the id `after`; fewer than PAGE are the last ones."""
    id_, location = _LOCATED[owner]
    query = select(id_, location).where(id_ > after).order_by(id_).limit(PAGE)
    return [Recorded(each, where or "") for each, where in conn.execute(query)]


def elsewhere(conn: Connection) -> list[Recorded]:
    """Runs and models, in any stage, that are recorded to be in no folder of their own name."""
    found: list[Recorded] = []
    for id_, location in _LOCATED.values():
        own = literal("%/") + id_ + literal("/artifacts%")
        found += [Recorded(*row) for row in conn.execute(select(id_, location).where(location.not_like(own)))]
    return found


def versions(conn: Connection, after: Version) -> list[Version]:
    """The first versions of registered models behind that one; fewer than PAGE are the last ones."""
    row = model_versions.c
    behind = or_(
        row.workspace > after.workspace,
        and_(row.workspace == after.workspace, row.name > after.name),
        and_(row.workspace == after.workspace, row.name == after.name, row.version > after.version),
    )
    columns = (row.source, row.storage_location, row.run_id, row.run_link)
    query = select(row.workspace, row.name, row.version, *columns).where(behind, _LIVES)
    found = conn.execute(query.order_by(row.workspace, row.name, row.version).limit(PAGE))
    return [Version(*each) for each in found]


def there(conn: Connection, owner: Owner, ids: Sequence[str]) -> set[str]:
    """Those of these that have a row."""
    column = _id(owner)
    found = (conn.scalars(select(column).where(column.in_(some))) for some in parts(ids))
    return {id_ for some in found for id_ in some}


def located(conn: Connection, owner: Owner, ids: Sequence[str]) -> dict[str, str]:
    """Where those of these runs or models that have a row have their artifacts, by id."""
    id_, location = _LOCATED[owner]
    found = (conn.execute(select(id_, location).where(id_.in_(some))) for some in parts(ids))
    return {each: where or "" for some in found for each, where in some}


def ready(conn: Connection, after: str = "") -> list[Recorded]:
    """The first logged models that are finished and not deleted behind that id; fewer than PAGE: the last."""
    row = logged_models.c
    query = select(row.model_id, row.artifact_location).where(row.status == _READY, row.model_id > after)
    query = query.where(or_(row.lifecycle_stage.is_(None), row.lifecycle_stage != DELETED))
    return [Recorded(*each) for each in conn.execute(query.order_by(row.model_id).limit(PAGE))]


def histories(conn: Connection, after: str = "") -> list[tuple[str, str, str]]:
    """The first runs behind that id, not deleted, that logged models: id, location, what they say of them."""
    query = select(tags.c.run_uuid, runs.c.artifact_uri, tags.c.value)
    query = query.where(tags.c.key == HISTORY, tags.c.run_uuid == runs.c.run_uuid, tags.c.run_uuid > after)
    query = query.where(or_(runs.c.lifecycle_stage.is_(None), runs.c.lifecycle_stage != DELETED))
    found = conn.execute(query.order_by(tags.c.run_uuid).limit(PAGE))
    return [(run_id, location or "", value or "") for run_id, location, value in found]


def models_of(conn: Connection, run_ids: Sequence[str]) -> set[tuple[str, str]]:
    """Run and name of the logged models of these runs."""
    row = logged_models.c
    found = set[tuple[str, str]]()
    for some in parts(run_ids):
        query = select(row.source_run_id, row.name).where(row.source_run_id.in_(some))
        found |= {(run_id, name) for run_id, name in conn.execute(query)}
    return found


def is_version(conn: Connection, workspace: str, name: str, version: int) -> bool:
    """Whether there is that version."""
    row = model_versions.c
    this = and_(row.workspace == workspace, row.name == name, row.version == version, _LIVES)
    return conn.scalar(select(row.version).where(this)) is not None


def broken_aliases(conn: Connection) -> list[Alias]:
    """Aliases of versions that aren't there."""
    row = registered_model_aliases.c
    query = select(row.workspace, row.name, row.alias, row.version).where(_BROKEN)
    return [Alias(*each) for each in conn.execute(query.order_by(row.workspace, row.name, row.alias))]


def drop_alias(conn: Connection, alias: Alias) -> bool:
    """Delete an alias, if its version still isn't there; whether it was deleted."""
    row = registered_model_aliases.c
    this = and_(row.workspace == alias.workspace, row.name == alias.name, row.alias == alias.alias)
    return bool(conn.execute(delete(registered_model_aliases).where(this, _BROKEN)).rowcount)


HISTORY = "mlflow.log-model.history"
"""The tag of a run that says which models it has logged, as a list in JSON."""

_READY = NUMBER_OF["READY"]
_LIVES = model_versions.c.current_stage != DELETED_VERSION
_BROKEN = not_(
    exists(
        select(model_versions.c.version).where(
            model_versions.c.workspace == registered_model_aliases.c.workspace,
            model_versions.c.name == registered_model_aliases.c.name,
            model_versions.c.version == registered_model_aliases.c.version,
            _LIVES,
        )
    ).correlate(registered_model_aliases)
)

_LOCATED = {
    Owner.RUN: (runs.c.run_uuid, runs.c.artifact_uri),
    Owner.MODEL: (logged_models.c.model_id, logged_models.c.artifact_location),
}


def _id(owner: Owner) -> Column[Any]:
    """The column of its ids."""
    return _LOCATED[owner][0] if owner in _LOCATED else whole().tables["trace_info"].c.request_id
