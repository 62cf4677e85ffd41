"""Comparisons and orders → SQL that every database understands the same way."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, case

T = TypeVar("T")
Compare = Callable[[Any, Any], ColumnElement[bool]]

# LIKE is case-sensitive and ILIKE is not: on SQLite that's `connect`'s case_sensitive_like.
_COMPARE: dict[str, Compare] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "LIKE": lambda column, value: column.like(value),
    "ILIKE": lambda column, value: column.ilike(value),
    "IN": lambda column, value: column.in_(value),
    "NOT IN": lambda column, value: column.not_in(value),
}


def compare(column: ColumnElement[Any], comparator: str, value: object) -> ColumnElement[bool]:
    """`column comparator value`."""
    return _COMPARE[comparator](column, value)


def absent_last(column: ColumnElement[Any], ascending: bool) -> list[ColumnElement[Any]]:
    """Order by a column, rows without a value at the end; NULLS LAST isn't known to MySQL and SQL Server."""
    return [case((column.is_(None), 1), else_=0), directed(column, ascending)]


def directed(column: ColumnElement[Any], ascending: bool) -> ColumnElement[Any]:
    """Order by a column that is never null."""
    return column.asc() if ascending else column.desc()


def parts(values: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """The values in lists short enough for IN: databases limit the parameters of a statement."""
    return (values[start : start + size] for start in range(0, len(values), size))
