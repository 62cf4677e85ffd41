"""Inserts that give way to what is there, as each database writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Dialect,
    String,
    Table,
    case,
    cast,
    null,
    tuple_,
)
from sqlalchemy import Text as AnyText
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import LargeBinary


@dataclass(frozen=True, slots=True)
class Upsert:
    """An INSERT of all columns; a row whose key is there keeps it, and takes over what is `replaced`.

    With `later`, it does so only if the new row's values of those columns come after its own, or are the same
    if `or_same`.
    """

    table: Table
    replaced: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    or_same: bool = False

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The columns by which a row is there."""
        return tuple(self.table.primary_key.columns)


def written(wanted: Upsert, dialect: Dialect) -> str:
    """The statement's text, with one row of placeholders."""
    return _WRITE[dialect.name](wanted, dialect)


# -- SQLite and PostgreSQL: ON CONFLICT -------------------------------------------------------------------


def _on_conflict(wanted: Upsert, dialect: Dialect) -> str:
    statement = _insert(wanted, dialect)
    new = statement.excluded
    if not wanted.replaced:
        return _compiled(statement.on_conflict_do_nothing(), dialect)
    changed = {name: new[name] for name in wanted.replaced}
    later = _comes_after(wanted, new, wanted.table.c) if wanted.later else None
    return _compiled(
        statement.on_conflict_do_update(index_elements=wanted.key, set_=changed, where=later), dialect
    )


def _insert(wanted: Upsert, dialect: Dialect) -> Any:
    """The dialect's own INSERT; its module is loaded for who has such a database, and for nobody else."""
    return import_module(f"sqlalchemy.dialects.{dialect.name}").insert(wanted.table)


def _comes_after(wanted: Upsert, new: Any, old: Any) -> ColumnElement[bool]:
    left, right = (tuple_(*(side[name] for name in wanted.later)) for side in (new, old))
    return left >= right if wanted.or_same else left > right


# -- MySQL and MariaDB: ON DUPLICATE KEY UPDATE -----------------------------------------------------------


def _on_duplicate(wanted: Upsert, dialect: Dialect) -> str:
    """Assignments are made from left to right, and each sees those before it.

    So the columns that are compared come last, the one that decides least first: whichever has been assigned,
    the comparison of the others still comes out the same.
    """
    statement = _insert(wanted, dialect)
    new, old = statement.inserted, wanted.table.c
    changed = [(column.name, _itself(column, new[column.name])) for column in wanted.key if _is_text(column)]
    changed = changed or [(wanted.key[0].name, wanted.key[0])]
    others = [name for name in wanted.replaced if name not in wanted.later]
    for name in (*others, *reversed(wanted.later)):
        value: Any = new[name]
        if wanted.later:
            value = case((_comes_after(wanted, new, old), new[name]), else_=old[name])
        changed.append((name, value))
    return _compiled(statement.on_duplicate_key_update(changed), dialect)


def _itself(column: Column[Any], new: ColumnElement[Any]) -> ColumnElement[Any]:
    """The key that is there, or null, which a key can't be, where it is the same to its collation alone.

    Else a metric Loss would go into loss, in most collations of MySQL.
    """
    same = cast(column, LargeBinary) == cast(new, LargeBinary)
    return case((same, column), else_=null())


def _is_text(column: Column[Any]) -> bool:
    return isinstance(column.type, (String, AnyText))


# -- SQL Server: MERGE ------------------------------------------------------------------------------------


def _merge(wanted: Upsert, dialect: Dialect) -> str:
    """HOLDLOCK keeps others from inserting the key between the look and the insert."""
    quote = dialect.identifier_preparer.quote
    names = _quoted(wanted.table.columns, quote)
    place = {"format": "%s", "qmark": "?"}[dialect.paramstyle]
    table, listed, row = quote(wanted.table.name), ", ".join(names), ", ".join([place] * len(names))
    same = " AND ".join(f"old.{name} = new.{name}" for name in _quoted(wanted.key, quote))
    text = f"MERGE INTO {table} WITH (HOLDLOCK) AS old USING (VALUES ({row})) AS new ({listed}) ON {same}"
    if wanted.replaced:
        changed = ", ".join(f"{quote(name)} = new.{quote(name)}" for name in wanted.replaced)
        text += f" WHEN MATCHED{_later_there(wanted, quote)} THEN UPDATE SET {changed}"
    values = ", ".join(f"new.{name}" for name in names)
    return f"{text} WHEN NOT MATCHED THEN INSERT ({listed}) VALUES ({values});"  # noqa: S608 - our names


def _later_there(wanted: Upsert, quote: Callable[[str], str]) -> str:
    """SQL Server compares no tuples."""
    if not wanted.later:
        return ""
    names = [quote(name) for name in wanted.later]
    ways = [
        " AND ".join([*(f"new.{same} = old.{same}" for same in names[:at]), f"new.{name} > old.{name}"])
        for at, name in enumerate(names)
    ]
    if wanted.or_same:
        ways.append(" AND ".join(f"new.{name} = old.{name}" for name in names))
    return f" AND ({' OR '.join(f'({way})' for way in ways)})"


def _quoted(columns: Iterable[Column[Any]], quote: Callable[[str], str]) -> list[str]:
    return [quote(column.name) for column in columns]


def _compiled(statement: ClauseElement, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))


_WRITE: dict[str, Callable[[Upsert, Dialect], str]] = {
    "sqlite": _on_conflict,
    "postgresql": _on_conflict,
    "mysql": _on_duplicate,
    "mssql": _merge,
}
