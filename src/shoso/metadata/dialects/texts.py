"""Comparisons of text that mean the same in every database: with case, blanks and accents.

    same(column, value)      equality that an index serves
    like, ilike              % and _ are wild; ilike knows no case
    short(condition, column) the same condition, said so that PostgreSQL may use an index of short texts

A backslash makes them plain on PostgreSQL and MySQL, and on SQLite nothing does: so it is with MLflow too.

MySQL, MariaDB and SQL Server compare by the collation of a column, for most of which 'a' is 'A' and 'a '; an
index serves no other comparison, so rows are looked up by that one and then compared again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

SHORT = 250
"""Characters of the texts that an index by value has on PostgreSQL: the key with them fits into it."""

_SENSITIVE = "Latin1_General_BIN2"


class _Condition(FunctionElement[bool]):
    """What is true or false by itself: else SQLAlchemy compares it with 1 where there's no BOOLEAN."""

    type = Boolean()
    inherit_cache = True
    _is_implicitly_boolean = True


class same(_Condition):  # noqa: N801 - written like a function of SQL
    """`column = value`, exactly."""

    inherit_cache = True


class like(_Condition):  # noqa: N801 - the same
    """`column LIKE value`, case-sensitive."""

    inherit_cache = True


class ilike(_Condition):  # noqa: N801 - the same
    """`column LIKE value`, whatever the case."""

    inherit_cache = True


class short(_Condition):  # noqa: N801 - the same
    """The condition on a column, which can hold for short texts alone: see `is_short`."""

    inherit_cache = True


class exact(FunctionElement[str]):  # noqa: N801 - the same
    """A column of text that is compared exactly, by no index."""

    type = String()
    inherit_cache = True


def differs(column: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    """`column != value`, exactly."""
    return exact(column) != value


def among(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    """`column IN values`, exactly."""
    return column.in_(values) & exact(column).in_(values)


def not_among(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    """`column NOT IN values`, exactly."""
    return exact(column).not_in(values)


def is_short(value: str) -> bool:
    """Whether a text has no more characters than SHORT, in any database: one of SQL_ASCII counts bytes."""
    return len(value.encode()) <= SHORT


def _sides(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> list[str]:
    return [compiler.process(side, **kw) for side in element.clauses]


@compiles(short)
def _short(element: short, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(next(iter(element.clauses)), **kw)


@compiles(short, "postgresql")
def _short_postgresql(element: short, compiler: SQLCompiler, **kw: Any) -> str:
    """An index of part of the rows is used where its condition is written out, with no parameter in it."""
    condition, column = _sides(element, compiler, **kw)
    return f"({condition} AND length({column}) <= {SHORT})"


@compiles(exact)
def _exact(element: exact, compiler: SQLCompiler, **kw: Any) -> str:
    return _sides(element, compiler, **kw)[0]


@compiles(exact, "mysql")
def _exact_mysql(element: exact, compiler: SQLCompiler, **kw: Any) -> str:
    return _bytes(_sides(element, compiler, **kw)[0])


@compiles(exact, "mssql")
def _exact_mssql(element: exact, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{_sides(element, compiler, **kw)[0]} COLLATE {_SENSITIVE}"


@compiles(same)
def _same(element: same, compiler: SQLCompiler, **kw: Any) -> str:
    return " = ".join(_sides(element, compiler, **kw))


@compiles(same, "mysql")
def _same_mysql(element: same, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    again = compiler.process(list(element.clauses)[1], **kw)
    return f"({column} = {value} AND {_bytes(column)} = {again})"


@compiles(same, "mssql")
def _same_mssql(element: same, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    again = compiler.process(list(element.clauses)[1], **kw)
    return f"({column} = {value} AND {column} COLLATE {_SENSITIVE} = {again})"


@compiles(like)
def _like(element: like, compiler: SQLCompiler, **kw: Any) -> str:
    return " LIKE ".join(_sides(element, compiler, **kw))  # on SQLite see `case_sensitive_like`


@compiles(like, "mysql")
def _like_mysql(element: like, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    return f"{_characters(column)} LIKE {value}"


@compiles(like, "mssql")
def _like_mssql(element: like, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    return f"{column} COLLATE {_SENSITIVE} LIKE {value}"


@compiles(ilike)
def _ilike(element: ilike, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    return f"lower({column}) LIKE lower({value})"


@compiles(ilike, "postgresql")
def _ilike_postgresql(element: ilike, compiler: SQLCompiler, **kw: Any) -> str:
    return " ILIKE ".join(_sides(element, compiler, **kw))


@compiles(ilike, "mysql")
def _ilike_mysql(element: ilike, compiler: SQLCompiler, **kw: Any) -> str:
    column, value = _sides(element, compiler, **kw)
    return f"lower({_characters(column)}) LIKE lower({value})"


def _bytes(column: str) -> str:
    return f"CAST(CONVERT({column} USING utf8mb4) AS BINARY)"


def _characters(column: str) -> str:
    return f"CONVERT({column} USING utf8mb4) COLLATE utf8mb4_bin"
