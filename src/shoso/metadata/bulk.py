"""Statements on many rows or ids: SQLAlchemy writes the SQL once per number of them, the driver runs it.

One statement is one step of SQLite, so a thread gives up the interpreter's lock once and not once per row,
and one round trip to a server; Core alone would compile each statement anew. See
docs/decisions/0002-group-commit.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Dialect, Select, Table, insert

from shoso.metadata.dialects.upserts import Upsert, written

_ROWS_MAX = 250
"""Rows in one statement: SQLite before 3.32 takes 999 values, since then 32,766; a row here has up to ten."""

_VALUES_MAX = {"mssql": 2000}
"""Values in one statement, where that is the tighter limit."""

_IDS_MAX = 500


class BulkInsert:
    """An INSERT of any number of rows; a row is a tuple of values in the order of the table's columns."""

    def __init__(self, wanted: Table | Upsert) -> None:
        self._wanted = wanted
        self._width = len((wanted if isinstance(wanted, Table) else wanted.table).columns)
        self._texts = _PerDialect(self._write)

    def execute(self, conn: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert the rows, in order."""
        if not rows:
            return
        text = self._texts.of(conn.dialect)
        most = min(_ROWS_MAX, _VALUES_MAX.get(conn.dialect.name, 65_535) // self._width)
        for chunk in _chunks(rows, most):
            conn.exec_driver_sql(text(len(chunk)), tuple(chain.from_iterable(chunk)))

    def _write(self, dialect: Dialect) -> _Repeated:
        if isinstance(self._wanted, Upsert):
            text = written(self._wanted, dialect)
        else:
            text = str(insert(self._wanted).compile(dialect=dialect))
        row = "(" + ", ".join([_place(dialect)] * self._width) + ")"
        return _Repeated(text, row, row)


class BulkSelect:
    """A SELECT by any number of ids: written with an IN list of one, and with no other parameter."""

    def __init__(self, statement: Select[Any]) -> None:
        self._statement = statement
        self._texts = _PerDialect(self._write)

    def rows(self, conn: Connection, ids: Sequence[str | int | bytes]) -> Iterator[Any]:
        """The rows of all the ids, in no order; many ids are asked for in several statements."""
        text = self._texts.of(conn.dialect)
        for chunk in _chunks(ids, _IDS_MAX):
            yield from conn.exec_driver_sql(text(len(chunk)), tuple(chunk))

    def _write(self, dialect: Dialect) -> _Repeated:
        compiled = self._statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        place = _place(dialect)
        return _Repeated(str(compiled), f"({place})", place)


class _PerDialect:
    """A statement's text for each database that it has been written for."""

    def __init__(self, write: Callable[[Dialect], _Repeated]) -> None:
        self._write = write
        self._texts: dict[tuple[str, bool], _Repeated] = {}

    def of(self, dialect: Dialect) -> _Repeated:
        kind = (dialect.name, getattr(dialect, "is_mariadb", False))
        text = self._texts.get(kind)
        if text is None:
            text = self._texts[kind] = self._write(dialect)
        return text


def _place(dialect: Dialect) -> str:
    """What stands for a value: the engines here have positional parameters."""
    return {"format": "%s", "qmark": "?"}[dialect.paramstyle]


class _Repeated:
    """A statement's text with one placeholder in it repeated, kept per number."""

    def __init__(self, text: str, place: str, item: str) -> None:
        self._head, found, self._tail = text.partition(place)
        if not found:
            raise ValueError(f"no {place} in {text}")
        self._item = item
        self._brackets = place != item
        self._texts: dict[int, str] = {}

    def __call__(self, count: int) -> str:
        text = self._texts.get(count)
        if text is None:
            items = ", ".join([self._item] * count)
            items = f"({items})" if self._brackets else items
            text = self._texts[count] = self._head + items + self._tail
        return text


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
