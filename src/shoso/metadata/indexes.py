"""Indexes of Shoso's own on MLflow's tables: searches for a value of a param or tag read little else then.

Nobody makes them unasked, for the tables are MLflow's: `shoso db index` does. MLflow pays for them when it
writes, and ignores them otherwise (docs/decisions/0017-indexes-by-value.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection

from shoso.errors import Kind, ShosoError
from shoso.metadata.dialects.indexes import Index, Syntax, syntax

INDEXES = (Index("shoso_params_value", "params"), Index("shoso_tags_value", "tags"))


class Became(StrEnum):
    """What became of an index."""

    MADE = "made"
    MADE_AGAIN = "made again"
    """It was there and couldn't be used: somebody was interrupted while he made it."""

    THERE = "there"
    DROPPED = "dropped"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an index; `bytes` that it takes, or took, where the database tells."""

    index: Index
    became: Became
    bytes: int | None
    seconds: float


def make(conn: Connection, begun: Callable[[Index], None]) -> list[Outcome]:
    """Make those that aren't there. `begun` hears of each that is begun. Raises ShosoError(UNSUPPORTED).

    The connection commits every statement by itself. What is interrupted is made again the next time.
    """
    return [*_each(conn, _make, begun)]


def drop(conn: Connection, begun: Callable[[Index], None]) -> list[Outcome]:
    """Drop those that are there; the same for the rest."""
    return [*_each(conn, _drop, begun)]


Step = Callable[[Connection, Syntax, Index, Callable[[Index], None]], tuple[Became, int | None]]


def _each(conn: Connection, step: Step, begun: Callable[[Index], None]) -> Iterator[Outcome]:
    words = syntax(conn)
    if words is None:
        raise ShosoError(Kind.UNSUPPORTED, _NONE[conn.dialect.name])
    with words.alone(conn):
        for index in INDEXES:
            start = time.monotonic()
            became, size = step(conn, words, index, begun)
            yield Outcome(index, became, size, time.monotonic() - start)


def _make(
    conn: Connection, words: Syntax, index: Index, begun: Callable[[Index], None]
) -> tuple[Became, int | None]:
    usable = index.is_usable(conn, words)
    if usable:
        return Became.THERE, index.size(conn, words)
    begun(index)
    if usable is not None:
        index.drop(conn, words)
    index.make(conn, words)
    return Became.MADE if usable is None else Became.MADE_AGAIN, index.size(conn, words)


def _drop(
    conn: Connection, words: Syntax, index: Index, begun: Callable[[Index], None]
) -> tuple[Became, int | None]:
    if index.is_usable(conn, words) is None:
        return Became.ABSENT, None
    begun(index)
    size = index.size(conn, words)
    index.drop(conn, words)
    return Became.DROPPED, size


_NONE = {
    "sqlite": "SQLite needs no indexes by value, and would use none: it looks values up by their runs.",
    "mssql": "No index is known to help on SQL Server: none was tried there.",
}
