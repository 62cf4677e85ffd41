"""Comparisons and orders → SQL that every database understands the same way."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Select, String, Table, bindparam, case

from shoso.metadata.dialects import texts

T = TypeVar("T")
Compare = Callable[[Any, Any], ColumnElement[bool]]

_COMPARE: dict[str, Compare] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "IN": lambda column, value: column.in_(value),
    "NOT IN": lambda column, value: column.not_in(value),
}
_COMPARE_TEXT: dict[str, Compare] = {
    "=": texts.same,
    "!=": texts.differs,
    "LIKE": texts.like,
    "ILIKE": texts.ilike,
    "IN": texts.among,
    "NOT IN": texts.not_among,
}


def compare(column: ColumnElement[Any], comparator: str, value: object) -> ColumnElement[bool]:
    """`column comparator value`."""
    table = _COMPARE_TEXT if isinstance(column.type, String) else _COMPARE
    return table[comparator](column, value)


def locked(query: Select[T], table: Table, *, shared: bool = False) -> Select[T]:
    """The query; nobody else changes its rows of that table until the commit. `shared`: nor do we.

    Rows that only refer to these may come and go meanwhile. SQLite has one writer anyway.
    """
    # PostgreSQL's FOR NO KEY UPDATE lets in what inserts rows that refer to these.
    query = query.with_for_update(read=shared, key_share=not shared, of=None)
    return query.with_hint(table, "WITH (HOLDLOCK)" if shared else "WITH (UPDLOCK)", "mssql")


def absent_last(column: ColumnElement[Any], ascending: bool) -> list[ColumnElement[Any]]:
    """Order by a column, rows without a value at the end; NULLS LAST isn't known to MySQL and SQL Server."""
    return [case((column.is_(None), 1), else_=0), directed(column, ascending)]


def directed(column: ColumnElement[Any], ascending: bool) -> ColumnElement[Any]:
    """Order by a column that is never null."""
    return column.asc() if ascending else column.desc()


def listed(column: Column[Any]) -> ColumnElement[bool]:
    """The column is one of `ids`, a parameter: a statement that is made once costs half of one made anew."""
    return column.in_(bindparam("ids", type_=column.type, expanding=True))


def parts(values: Sequence[T], size: int = 500) -> Iterator[Sequence[T]]:
    """The values in lists short enough for IN: databases limit the parameters of a statement."""
    return (values[start : start + size] for start in range(0, len(values), size))
