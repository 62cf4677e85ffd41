"""Statements on many rows or ids: SQLAlchemy writes the SQL once per number of them, the driver runs it.

One statement is one step of SQLite, so a thread gives up the interpreter's lock once and not once per row,
and one round trip to a server; Core alone would compile each statement anew. PostgreSQL is given a column as
one array: one text for any number of rows, which it prepares once. See docs/decisions/, 0002 and 0016.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Dialect, Select, Table, insert

from shoso.metadata.clauses import parts
from shoso.metadata.dialects import arrays
from shoso.metadata.dialects.upserts import Upsert, written

_ROWS_MAX = 250
"""Rows in one statement: SQLite before 3.32 takes 999 values, since then 32,766; a row here has up to ten."""

_VALUES_MAX = {"mssql": 2000}
"""Values in one statement, where that is the tighter limit."""

_IDS_MAX = 500

Rows = Sequence[tuple[object, ...]]
Ids = Sequence[str | int | bytes]
Statement = tuple[str, tuple[object, ...]]


_ARRAY_MAX = 5000


class BulkInsert:
    """An INSERT of any number of rows; a row is a tuple of values in the order of the table's columns."""

    def __init__(self, wanted: Table | Upsert) -> None:
        self._wanted = wanted
        self.table = wanted if isinstance(wanted, Table) else wanted.table
        self._ways = _PerDialect(self._way)

    def execute(self, conn: Connection, rows: Rows) -> None:
        """Insert the rows, in order."""
        if rows:
            for text, values in self.statements(conn.dialect, rows):
                conn.exec_driver_sql(text, values)

    def statements(self, dialect: Dialect, rows: Rows) -> Iterator[Statement]:
        """Statements that together insert all the rows."""
        return self._ways.of(dialect).split(rows)

    def written(self, dialect: Dialect) -> str:
        """The statement for one row."""
        if isinstance(self._wanted, Upsert):
            return written(self._wanted, dialect)
        return str(insert(self._wanted).compile(dialect=dialect))

    def _way(self, dialect: Dialect) -> _Way:
        width, place = len(self.table.columns), _place(dialect)
        row, text = "(" + ", ".join([place] * width) + ")", self.written(dialect)
        if dialect.name == "postgresql":
            return _Arrays(arrays.of_columns(text, row, self.table), text)
        most = min(_ROWS_MAX, _VALUES_MAX.get(dialect.name, 65_535) // width)
        return _Repeated(text, row, row, most)


def insert_all(conn: Connection, wanted: Sequence[tuple[BulkInsert, Rows]]) -> None:
    """Insert rows into several tables; PostgreSQL is given all of them in one statement, if each is small.

    There none of the inserts sees another one's rows, and keys of other tables are looked for at its end.
    """
    parts = [[*each.statements(conn.dialect, rows)] for each, rows in wanted if rows]
    if conn.dialect.name == "postgresql" and parts and all(len(part) == 1 for part in parts):
        parts = [[arrays.together([part for [part] in parts])]]
    for text, values in chain.from_iterable(parts):
        conn.exec_driver_sql(text, values)


class BulkSelect:
    """A SELECT by any number of ids: written with an IN list of one, and with no other parameter."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._ways = _PerDialect(self._way)

    def rows(self, conn: Connection, ids: Ids) -> Iterator[Any]:
        """The rows of all the ids, in no order; many ids are asked for in several statements."""
        if ids:
            for text, values in self._ways.of(conn.dialect).split([(each,) for each in ids]):
                yield from _fetched(conn.exec_driver_sql(text, values))

    def written(self, dialect: Dialect) -> str:
        """The statement for one id."""
        return str(self._statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True}))

    def _way(self, dialect: Dialect) -> _Way:
        place, text = _place(dialect), self.written(dialect)
        if dialect.name == "postgresql":
            return _Arrays(arrays.of_ids(text), text)
        return _Repeated(text, f"({place})", place, _IDS_MAX)


def tuples(conn: Connection, query: Select[Any], values: Mapping[str, object]) -> Sequence[tuple[Any, ...]]:
    """The rows as the driver has them, flags as numbers perhaps: SQLAlchemy's take three times as long."""
    return _fetched(conn.execute(query, values))


def _fetched(result: CursorResult[Any]) -> Sequence[tuple[Any, ...]]:
    with result:
        return result.cursor.fetchall()


class _Way(Protocol):
    """How one database is given many rows."""

    def split(self, rows: Rows) -> Iterator[Statement]:
        """Statements and their values that together are about all the rows."""


class _Arrays:
    """One text, whose values are the columns of the rows; and one for a single row, which costs less."""

    def __init__(self, text: str, single: str) -> None:
        self._text = text
        self._single = single

    def split(self, rows: Rows) -> Iterator[Statement]:
        """See _Way."""
        for chunk in parts(rows, _ARRAY_MAX):
            if len(chunk) == 1:
                yield self._single, tuple(chunk[0])
            else:
                yield self._text, tuple(map(list, zip(*chunk, strict=True)))


class _Repeated:
    """A text with one placeholder in it repeated, kept per number."""

    def __init__(self, text: str, place: str, item: str, most: int) -> None:
        self._head, found, self._tail = text.partition(place)
        if not found:
            raise ValueError(f"no {place} in {text}")
        self._item = item
        self._brackets = place != item
        self._most = most
        self._texts: dict[int, str] = {}

    def split(self, rows: Rows) -> Iterator[Statement]:
        """See _Way."""
        for chunk in parts(rows, self._most):
            yield self(len(chunk)), tuple(chain.from_iterable(chunk))

    def __call__(self, count: int) -> str:
        text = self._texts.get(count)
        if text is None:
            items = ", ".join([self._item] * count)
            items = f"({items})" if self._brackets else items
            text = self._texts[count] = self._head + items + self._tail
        return text


class _PerDialect:
    """The way of a statement for each database that it has been written for."""

    def __init__(self, way: Callable[[Dialect], _Way]) -> None:
        self._way = way
        self._ways: dict[tuple[str, bool], _Way] = {}

    def of(self, dialect: Dialect) -> _Way:
        kind = (dialect.name, getattr(dialect, "is_mariadb", False))
        way = self._ways.get(kind)
        if way is None:
            way = self._ways[kind] = self._way(dialect)
        return way


def _place(dialect: Dialect) -> str:
    """What stands for a value: the engines here have positional parameters."""
    return {"format": "%s", "qmark": "?"}[dialect.paramstyle]
