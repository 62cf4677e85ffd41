"""What was imported while its artifacts stayed where they were: the store that it came from may need them.

It is remembered with its location: whatever is elsewhere by now has artifacts of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from shoso.core.locations import without_password
from shoso.metadata.clauses import parts
from shoso.metadata.own import imported


def remember(conn: Connection, kind: str, rows: Iterable[tuple[str, str]]) -> None:
    """Remember runs or models, each with its location."""
    found = {id_: without_password(location) for id_, location in rows}
    forget(conn, kind, [*found])
    if found:
        conn.execute(
            insert(imported), [{"kind": kind, "id": id_, "location": at} for id_, at in found.items()]
        )


def among(conn: Connection, kind: str, places: Iterable[tuple[str, str]]) -> set[str]:
    """The ids of those that were imported, and have the location still that they had."""
    found, there = set[str](), {id_: without_password(location) for id_, location in places}
    for ids in parts([*there]):
        query = select(imported.c.id, imported.c.location).where(_these(kind, ids))
        found |= {id_ for id_, location in conn.execute(query) if there[id_] == location}
    return found


def forget(conn: Connection, kind: str, ids: Sequence[str]) -> None:
    """They are gone."""
    for some in parts(ids):
        conn.execute(delete(imported).where(_these(kind, some)))


def _these(kind: str, ids: Sequence[str]) -> ColumnElement[bool]:
    return and_(imported.c.kind == kind, imported.c.id.in_(ids))
