"""PostgreSQL's way with many rows: a column of them is one array, sent in binary.

Measured against VALUES with a placeholder for each value, for 1,000 points: 2 ms of CPU instead of 11, and
16 ms instead of 24 in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, Table

_TYPES = {LargeBinary: "bytea", Boolean: "bool", Float: "float8", BigInteger: "int8", Integer: "int8"}


def of_columns(text: str, row: str, table: Table) -> str:
    """The INSERT of one row, as one of as many as the arrays have items."""
    arrays = ", ".join(f"%b::{_type(column)}[]" for column in table.columns)
    return _replaced(text, f"VALUES {row}", f"SELECT * FROM unnest({arrays})")  # noqa: S608 - our names


def together(statements: Sequence[tuple[str, tuple[object, ...]]]) -> tuple[str, tuple[object, ...]]:
    """Several INSERTs and their values as one statement; none of them sees what another one inserts."""
    texts, values = zip(*statements, strict=True)
    return _together(texts), tuple(chain.from_iterable(values))


@lru_cache(maxsize=100)
def _together(texts: tuple[str, ...]) -> str:
    *others, last = texts
    named = ", ".join(f"part{at} AS ({text})" for at, text in enumerate(others))
    return f"WITH {named} {last}" if named else last


def of_ids(text: str) -> str:
    """The SELECT of one id in a list, with its type or without, as one of any id in an array."""
    return _replaced(text.replace("%s::VARCHAR", "%s"), "IN (%s)", "= ANY(%b)")


def _type(column: Column[object]) -> str:
    """The type of an array's items; a text has no length here, for a cast to one would cut it."""
    return next((name for kind, name in _TYPES.items() if isinstance(column.type, kind)), "text")


def _replaced(text: str, old: str, new: str) -> str:
    if old not in text:
        raise ValueError(f"no {old} in {text}")
    return text.replace(old, new, 1)
