"""The tables that are Shoso's own, beside MLflow's: MLflow's migrations don't know them and pass them by.

`shoso_version` has one row: how many of MIGRATIONS the database has been through. They are run when it is
opened, by one server at a time, so a new one is a function at the end of that list. A table that is there
already, from before there was a version, is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
    update,
)

from shoso.metadata.dialects.types import IDENTITY
from shoso.metadata.schema import DOUBLE, primary

OWN = MetaData()

objects = Table(
    "shoso_objects",
    OWN,
    Column("id", IDENTITY, nullable=False),
    Column("root", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", DOUBLE, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("etag", Text),
    Column("time", BigInteger, nullable=False),
    primary("shoso_objects_pk", "id"),
    sqlite_with_rowid=False,
)
"""What was stored; see `objects`. `modified` in seconds, `time` (of the record) in milliseconds."""

claims = Table(
    "shoso_claims",
    OWN,
    Column("kind", String(16), nullable=False),
    Column("id", String(64), nullable=False),
    Column("plan", String(32), nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("location", Text, nullable=False),
    Column("trash", Text),
    Column("until", BigInteger),
    Column("objects", BigInteger),
    primary("shoso_claims_pk", "kind id"),
)
"""What `gc` is deleting, so that nobody restores it; see `claims`. `time` and `until` in milliseconds."""

moves = Table(
    "shoso_moves",
    OWN,
    Column("experiment_id", Integer, nullable=False, autoincrement=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("folder", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("shards", Integer, nullable=False),
    Column("done", Text, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("turned", BigInteger),
    primary("shoso_moves_pk", "experiment_id"),
)
"""Experiments that `migrate` is moving; see `moves`. `begun` and `turned` in milliseconds."""

moved = Table(
    "shoso_moved",
    OWN,
    Column("experiment_id", Integer, nullable=False, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("id", String(64), nullable=False),
    Column("location", Text),
    primary("shoso_moved_pk", "experiment_id kind id"),
)
"""What these have moved, and where it was; NULL is what had been at the target before. See `relocating`."""

imported = Table(
    "shoso_imported",
    OWN,
    Column("kind", String(16), nullable=False),
    Column("id", String(64), nullable=False),
    Column("location", Text, nullable=False),
    primary("shoso_imported_pk", "kind id"),
)
"""Runs and models of another store that keep their artifacts where they were there; see `imported`."""


copied = Table(
    "shoso_copied",
    OWN,
    Column("experiment_id", Integer, nullable=False, autoincrement=False),
    Column("id", IDENTITY, nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("digest", String(64)),
    Column("own", Integer, nullable=False),
    primary("shoso_copied_pk", "experiment_id id"),
)
"""The versions of objects that `migrate` has seen to be the same at both places; see `copied`."""

version = Table(
    "shoso_version",
    OWN,
    Column("version", Integer, nullable=False, autoincrement=False),
    primary("shoso_version_pk", "version"),
)


def _add(conn: Connection, column: Column[Any]) -> None:
    """Add a column, unless it was made with its table."""
    if column.name not in {there["name"] for there in inspect(conn).get_columns(column.table.name)}:
        kind = column.type.compile(conn.dialect)
        conn.execute(text(f"ALTER TABLE {column.table.name} ADD {column.name} {kind}"))


def _tell_own(conn: Connection) -> None:
    """Say in a column of its own what no `source` said before."""
    _add(conn, copied.c.own)
    row = copied.c
    conn.execute(update(copied).where(row.own.is_(None), row.source.is_(None)).values(own=1))
    conn.execute(update(copied).where(row.own.is_(None)).values(own=0))
    conn.execute(update(copied).where(row.source.is_(None)).values(source=""))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (
    lambda conn: objects.create(conn, checkfirst=True),
    lambda conn: claims.create(conn, checkfirst=True),
    lambda conn: OWN.create_all(conn, [moves, moved]),
    lambda conn: _add(conn, claims.c.objects),
    lambda conn: imported.create(conn, checkfirst=True),
    lambda conn: copied.create(conn, checkfirst=True),
    _tell_own,
)

UNFINISHED = -1
"""The version while MLflow's tables are made: a database that doesn't undo tables may be left so."""


def begin(conn: Connection) -> None:
    """Say that MLflow's tables are being made."""
    version.create(conn, checkfirst=True)
    if _version(conn) is None:
        conn.execute(insert(version).values(version=UNFINISHED))


def upgrade(conn: Connection) -> None:
    """Bring our own tables up to date."""
    version.create(conn, checkfirst=True)
    done = _version(conn)
    if done is None:
        conn.execute(insert(version).values(version=0))
    done = max(done or 0, 0)
    for number, migrate in enumerate(MIGRATIONS[done:], done + 1):
        migrate(conn)
        conn.execute(update(version).values(version=number))
    objects.create(conn, checkfirst=True)  # a record that is lost is begun anew


def version_in(conn: Connection, there: Collection[str]) -> int | None:
    """The version of our tables in a database that has these tables, if it says one."""
    return _version(conn) if version.name in there else None


def problems(found: int | None) -> list[str]:
    """Why we can't work with our own tables at that version."""
    if (found or 0) <= len(MIGRATIONS):
        return []
    newer = (
        f"a newer version of Shoso has used this database (its own tables are at version {found}, this one"
        f" knows {len(MIGRATIONS)}); upgrade this one"
    )
    return [newer]


def _version(conn: Connection) -> int | None:
    found: int | None = conn.scalar(select(version.c.version))
    return found
