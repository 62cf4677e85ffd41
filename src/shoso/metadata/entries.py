"""What is in the model registry: rows of models and versions, and what is shown of them.

Every condition names the workspace, for the keys of these tables begin with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, and_, func, insert, or_, select, update

from shoso.errors import Kind, TrackingError
from shoso.metadata import registry_rules
from shoso.metadata.clauses import compare, locked, parts
from shoso.metadata.dialects.texts import same
from shoso.metadata.registry_rules import DELETED
from shoso.metadata.schema import (
    WORKSPACE,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from shoso.wire.entities import Tag
from shoso.wire.registry import IS_PROMPT, ModelAlias, ModelVersion, RegisteredModel


def of_model(table: Table, name: str) -> ColumnElement[bool]:
    """The condition that a row of one of the registry's tables belongs to the model of that name."""
    return and_(table.c.workspace == WORKSPACE, same(table.c.name, name))


def of_version(table: Table, name: str, version: int) -> ColumnElement[bool]:
    """The condition that a row belongs to that version of the model."""
    return and_(of_model(table, name), table.c.version == version)


def model_row(conn: Connection, name: str, *, lock: bool = False) -> Row[Any]:
    """The row of a registered model; `lock` keeps others from changing it. Raises NOT_FOUND, INVALID."""
    registry_rules.model_name(name)
    query = select(registered_models).where(of_model(registered_models, name))
    row = conn.execute(locked(query, registered_models) if lock else query).one_or_none()
    if row is None:
        raise no_model(name)
    return row


def exists(conn: Connection, name: str) -> bool:
    """Whether a registered model has that name."""
    query = select(registered_models.c.name).where(of_model(registered_models, name))
    return conn.scalar(query) is not None


def is_prompt(conn: Connection, name: str) -> bool:
    """Whether the registered model of that name is a prompt."""
    tag = registered_model_tags.c
    query = select(tag.key, tag.value).where(of_model(registered_model_tags, name), tag.key == IS_PROMPT)
    return registry_rules.says_prompt(dict(map(tuple, conn.execute(query))))


def no_model(name: str) -> TrackingError:
    """The error of a registered model that isn't there."""
    return TrackingError(Kind.NOT_FOUND, f"Registered Model with name={name} not found")


def version_row(conn: Connection, name: str, version: str) -> Row[Any]:
    """The row of a version that isn't deleted. Raises TrackingError (NOT_FOUND, INVALID)."""
    registry_rules.model_name(name)
    number = registry_rules.version(version)
    query = select(model_versions).where(
        of_version(model_versions, name, number), model_versions.c.current_stage != DELETED
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        raise TrackingError(Kind.NOT_FOUND, f"Model Version (name={name}, version={version}) not found")
    return row


def latest_rows(conn: Connection, names: Sequence[str]) -> list[Row[Any]]:
    """The last version in each stage of the models, by name and version."""
    row = model_versions.c
    there = (row.workspace == WORKSPACE, row.name.in_(names))
    last = (
        select(row.name, func.max(row.version).label("version"))
        .where(*there, row.current_stage != DELETED)
        .group_by(row.name, row.current_stage)
        .subquery()
    )
    same = and_(row.name == last.c.name, row.version == last.c.version)
    query = select(model_versions).join(last, same).where(*there).order_by(row.name, row.version)
    return [*conn.execute(query)]


def put(conn: Connection, table: Table, key: Mapping[str, object], **values: object) -> None:
    """Update the row of that key, or insert it; its model is locked, so nobody else inserts it meanwhile."""
    whole = {"workspace": WORKSPACE, **key}
    this = [compare(table.c[name], "=", value) for name, value in whole.items()]
    if not conn.execute(update(table).where(*this).values(**values)).rowcount:
        conn.execute(insert(table), {**key, **values})


# -- what is shown ----------------------------------------------------------------------------------------


def shown_models(conn: Connection, rows: Sequence[Row[Any]]) -> list[RegisteredModel]:
    """The models of rows of `registered_models`, in their order, with all that belongs to them."""
    return [model for part in parts(rows) for model in _models(conn, part)]


def shown_versions(conn: Connection, rows: Sequence[Row[Any]]) -> list[ModelVersion]:
    """The versions of rows of `model_versions`, in their order, with tags and aliases."""
    return [version for part in parts(rows, _VERSIONS_MAX) for version in _versions(conn, part)]


_VERSIONS_MAX = 200
"""Versions whose tags are asked for at once: with a term of an OR for each model at most."""


def _models(conn: Connection, rows: Sequence[Row[Any]]) -> Iterator[RegisteredModel]:
    names = [row.name for row in rows]
    latest: dict[str, list[ModelVersion]] = defaultdict(list)
    for version in shown_versions(conn, latest_rows(conn, names)):
        latest[version.name].append(version)
    tags: dict[str, list[Tag]] = defaultdict(list)
    for row in _rows_of(conn, registered_model_tags, names):
        tags[row.name].append(Tag(row.key, row.value or ""))
    aliases: dict[str, list[ModelAlias]] = defaultdict(list)
    for row in _rows_of(conn, registered_model_aliases, names):
        aliases[row.name].append(ModelAlias(row.alias, str(row.version)))
    for row in rows:
        yield RegisteredModel(
            name=row.name,
            creation_timestamp=row.creation_time,
            last_updated_timestamp=row.last_updated_time or None,
            description=row.description or None,
            latest_versions=latest.get(row.name, ()),
            tags=tags.get(row.name, ()),
            aliases=aliases.get(row.name, ()),
        )


def _versions(conn: Connection, rows: Sequence[Row[Any]]) -> Iterator[ModelVersion]:
    tags: dict[tuple[str, int], list[Tag]] = defaultdict(list)
    for row in conn.execute(_tags_of(rows)):
        tags[row.name, row.version].append(Tag(row.key, row.value or ""))
    aliases: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row in _rows_of(conn, registered_model_aliases, {row.name for row in rows}):
        aliases[row.name, row.version].append(row.alias)
    for row in rows:
        key = (row.name, row.version)
        yield _version(row, tags.get(key, ()), aliases.get(key, ()))


def _version(row: Row[Any], tags: Sequence[Tag], aliases: Sequence[str]) -> ModelVersion:
    return ModelVersion(
        name=row.name,
        version=str(row.version),
        creation_timestamp=row.creation_time,
        last_updated_timestamp=row.last_updated_time,
        user_id=row.user_id,
        current_stage=row.current_stage,
        description=row.description,
        source=row.source,
        run_id=row.run_id,
        status=row.status,
        status_message=row.status_message or None,
        tags=tags,
        run_link=row.run_link,
        aliases=aliases,
    )


def _rows_of(conn: Connection, table: Table, names: Iterable[str]) -> Iterable[Row[Any]]:
    return conn.execute(select(table).where(table.c.workspace == WORKSPACE, table.c.name.in_([*names])))


def _tags_of(rows: Sequence[Row[Any]]) -> Select[Any]:
    """The tags of exactly these versions: a model may have thousands of others."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        numbers[row.name].append(row.version)
    tag = model_version_tags.c
    these = [and_(tag.name == name, tag.version.in_(some)) for name, some in numbers.items()]
    return select(model_version_tags).where(tag.workspace == WORKSPACE, or_(*these))
