"""The objects that a server has stored, by root and key: size, digest, and the version that has it.

It is a record and not the truth, which is in the store: a row of another version than the store's says
nothing, and a missing one is made by the next write. So nothing is lost with this table but digests.

A row's id is a digest of the root and the object's folder, then one of its name, 16 bytes each: short enough
for the key of any database, whatever the length and the case of names, and what lies in one folder lies
together, so that a folder is written and listed in few pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select

from shoso.core import keys
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.metadata.bulk import BulkInsert, BulkSelect
from shoso.metadata.dialects.upserts import Upsert
from shoso.metadata.own import objects

SETTLED = 5000
"""Milliseconds after which an object is known by its size and time alone, where its store gives no etag."""

_HALF = 32
"""Hex digits of 16 bytes."""


class Row(NamedTuple):
    """A row, in the order of its columns; see `metadata.own`."""

    id: bytes
    root: str
    key: str
    size: int
    modified: float
    digest: str
    etag: str | None
    time: int


def identity(root: str, key: Key) -> bytes:
    """The id of an object's row."""
    return _folder(root, keys.parent(key)) + _half(keys.name(key))


def row(root: str, meta: ObjectMeta, now: int) -> Row:
    """The row of a version whose digest is known."""
    assert meta.digest is not None  # noqa: S101  (nothing else is written down)
    place = identity(root, meta.key)
    return Row(place, root, meta.key, meta.size, meta.modified, meta.digest, meta.etag, now)


def describes(found: Row, meta: ObjectMeta, now: int) -> bool:
    """Whether the row is of this very version.

    Without an etag, size and time must do; but a time may be told in whole seconds, and a write within that
    second may be on its way to this table: until it has settled, nothing is said.
    """
    if (found.key, found.size, found.etag) != (meta.key, meta.size, meta.etag or None):
        return False
    return bool(meta.etag) or (found.modified == meta.modified and now - found.time > SETTLED)


def write(conn: Connection, rows: Sequence[Row], gone: Iterable[bytes]) -> None:
    """Put these rows, except over later ones, and remove those; ids are named once."""
    if rows:
        _UPSERT.execute(conn, rows)
    if left := [{"gone": place} for place in gone]:
        conn.execute(_DELETE, left)


def known(conn: Connection, ids: Sequence[bytes]) -> dict[bytes, Row]:
    """The rows that are there, by id."""
    return {found[0]: Row(*found) for found in _SELECT.rows(conn, ids)}


def page(conn: Connection, after: bytes = b"", limit: int = 1000) -> list[Row]:
    """The first rows behind that id, of any root."""
    query = select(objects).where(objects.c.id > after).order_by(objects.c.id).limit(limit)
    return [Row(*found) for found in conn.execute(query)]


def is_root(conn: Connection, root: str) -> bool:
    """Whether anything is recorded in that root. It is looked for in all that is."""
    return conn.scalar(select(objects.c.id).where(objects.c.root == root).limit(1)) is not None


@lru_cache(maxsize=256)
def _folder(root: str, folder: Key) -> bytes:
    """The half of what lies in that folder; objects come folder by folder."""
    return _half(f"{root}\0{folder}")


def _half(text: str) -> bytes:
    return bytes.fromhex(digest(text.encode())[:_HALF])


_CHANGED = tuple(column.name for column in objects.c if column.name != "id")
_UPSERT = BulkInsert(Upsert(objects, replaced=_CHANGED, later=("time",), or_same=True))
_SELECT = BulkSelect(select(objects).where(objects.c.id.in_([b""])))
_DELETE = delete(objects).where(objects.c.id == bindparam("gone"))
