"""Copied: which versions of an object both places of a move had when they were the same.

By these it is told later which of the two was written since. It is known for as long as the move lasts, and
after a rollback that leaves the copies, so that the next move knows them for what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from shoso.core.keys import Key
from shoso.metadata import objects
from shoso.metadata.bulk import BulkInsert
from shoso.metadata.clauses import parts
from shoso.metadata.dialects.upserts import Upsert
from shoso.metadata.own import copied

ALONE = 2
"""What `own` is of what was at the target before, where the source had nothing."""


class Copy(NamedTuple):
    """A row, in the order of its columns.

    A `source` of "" isn't known, or could not be told from the next version. What is the target's `own` had
    been there before anything was copied; where it is ALONE, the source had nothing at that path then.
    """

    experiment_id: int
    id: bytes
    source: str
    target: str
    digest: str | None
    own: int = 0


def identity(source: str, target: str, path: Key) -> bytes:
    """The id of what is at that path below both places."""
    return objects.identity(f"{source}\0{target}", path)


def known(conn: Connection, experiment_id: int, ids: Sequence[bytes]) -> dict[bytes, Copy]:
    """The rows that there are, by id."""
    found: dict[bytes, Copy] = {}
    for some in parts(ids):
        query = select(copied).where(copied.c.experiment_id == experiment_id, copied.c.id.in_(some))
        found |= {bytes(row.id): Copy(*row) for row in conn.execute(query)}
    return found


def is_begun(conn: Connection, experiment_id: int) -> bool:
    """Whether any object of the experiment was at both places."""
    query = select(copied.c.id).where(copied.c.experiment_id == experiment_id).limit(1)
    return conn.scalar(query) is not None


def write(conn: Connection, rows: Sequence[Copy]) -> None:
    """Put these rows, over what is there; ids are named once."""
    _UPSERT.execute(conn, rows)


_UPSERT = BulkInsert(Upsert(copied, replaced=("source", "target", "digest", "own")))
