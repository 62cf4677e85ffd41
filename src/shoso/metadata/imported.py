"""What was imported while its artifacts stayed where they were: the store that it came from may need them.

It is remembered with its location: whatever is elsewhere by now has artifacts of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, and_, bindparam, delete, insert, select

from shoso.core.locations import without_password
from shoso.metadata.clauses import listed, parts
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
        rows = conn.execute(_AMONG, {"of": kind, "ids": ids})
        found |= {id_ for id_, location in rows if there[id_] == location}
    return found


def forget(conn: Connection, kind: str, ids: Sequence[str]) -> None:
    """They are gone."""
    for some in parts(ids):
        conn.execute(_FORGET, {"of": kind, "ids": some})


_LISTED = and_(imported.c.kind == bindparam("of"), listed(imported.c.id))
_AMONG = select(imported.c.id, imported.c.location).where(_LISTED)
_FORGET = delete(imported).where(_LISTED)
