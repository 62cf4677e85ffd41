"""Statements on many rows or ids: SQLAlchemy writes the SQL once per number of them, the driver runs it.

One statement is one step of SQLite, so a thread gives up the interpreter's lock once and not once per row;
Core alone would compile each statement anew. See docs/decisions/0002-group-commit.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.dml import Insert

_ROWS_MAX = 250
"""Rows in one statement: SQLite before 3.32 takes 999 values, since then 32,766; a row here has up to ten."""

_IDS_MAX = 500


class BulkInsert:
    """An INSERT of any number of rows; a row is a tuple of values in the order of the table's columns."""

    def __init__(self, statement: Insert) -> None:
        compiled = statement.compile(dialect=sqlite.dialect())
        row = "(" + ", ".join("?" * len(compiled.positiontup or ())) + ")"
        self._text = _Repeated(str(compiled), row, row)

    def execute(self, conn: Connection, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert the rows, in order."""
        for chunk in _chunks(rows, _ROWS_MAX):
            conn.exec_driver_sql(self._text(len(chunk)), tuple(chain.from_iterable(chunk)))


class BulkSelect:
    """A SELECT by any number of ids: written with an IN list of one, and with no other parameter."""

    def __init__(self, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
        self._text = _Repeated(str(compiled), "(?)", "?")

    def rows(self, conn: Connection, ids: Sequence[str | int | bytes]) -> Iterator[Any]:
        """The rows of all the ids, in no order; many ids are asked for in several statements."""
        for chunk in _chunks(ids, _IDS_MAX):
            yield from conn.exec_driver_sql(self._text(len(chunk)), tuple(chunk))


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
