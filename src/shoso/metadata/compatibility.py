"""Whether a database is one that Shoso can work on, and why not; nothing is changed to find that out.

A schema of MLflow's that came after ours is taken for what it has: every column that Shoso uses, and none
that Shoso would have to fill and doesn't know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Table, func, inspect, select

from shoso.core.amounts import count
from shoso.metadata import own
from shoso.metadata.revisions import HEAD, OLDER
from shoso.metadata.schema import (
    USED,
    WORKSPACE,
    alembic_version,
    experiments,
    registered_models,
    workspaces,
)
from shoso.metadata.whole import FOR_MLFLOW

_NAMES = FOR_MLFLOW | {table.name for table in (*USED, workspaces)}
"""The tables that a database at our revision has, beside that of the revision itself."""


class State(StrEnum):
    """What a database is."""

    EMPTY = "empty"
    """There's no table in it: a server makes them."""

    UNFINISHED = "unfinished"
    """A server of ours was stopped while it made the tables: the next one goes on."""

    CURRENT = "current"
    """MLflow's, at our revision."""

    NEWER = "newer"
    """MLflow's, at a revision that came after ours."""

    OLDER = "older"
    """MLflow's, at a revision before ours."""

    DAMAGED = "damaged"
    """MLflow's, with parts missing."""

    FOREIGN = "foreign"
    """Another program's."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a database is, and why it can't be opened: with no problem it can.

    `revision` is that of MLflow's tables, `own` the version of ours, `hidden` how many rows of which
    table are in workspaces that aren't served.
    """

    state: State
    revision: str | None = None
    own: int | None = None
    problems: tuple[str, ...] = ()
    hidden: dict[str, int] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """The first problem, and how many others there are."""
        first, *others = self.problems
        return f"{first} ({count(len(others), 'further problem')})" if others else first


_OUTER = {alembic_version.name, own.version.name}
"""Tables that are there, or may be, before any other."""


def is_made(conn: Connection) -> bool:
    """Whether all tables were made in a database, whoever's they are and at whichever revision."""
    there = frozenset(inspect(conn).get_table_names())
    unfinished = own.version_in(conn, there) == own.UNFINISHED and not _revisions(conn, there)
    return not (there <= _OUTER or unfinished)


def find(conn: Connection, shown: str) -> Finding:
    """What the database is that `shown` is the URI of."""
    there = frozenset(inspect(conn).get_table_names())
    if there <= _OUTER:
        return Finding(State.EMPTY)
    revisions = _revisions(conn, there)
    revision, ours = ", ".join(sorted(revisions)) or None, own.version_in(conn, there)
    if ours == own.UNFINISHED and not revisions:  # the revision is written last
        return Finding(State.UNFINISHED, revision)
    state = _state(conn, there, revisions)
    problems = [*_problems(conn, state, there, revision, shown), *own.problems(ours)]
    hidden = _hidden(conn) if not problems else {}
    return Finding(state, revision, ours, tuple(problems), hidden)


_FIRST = {"experiments", "runs", "metrics", "params", "tags"}
"""The tables of MLflow's first releases, which had no revisions."""

_SECOND = "latest_metrics"
"""The first table that a migration made."""


def _revisions(conn: Connection, there: Collection[str]) -> frozenset[str]:
    if alembic_version.name not in there:
        return frozenset()
    return frozenset(conn.scalars(select(alembic_version.c.version_num)))


def _state(conn: Connection, there: Collection[str], revisions: Collection[str]) -> State:
    if revisions == {HEAD}:
        return State.DAMAGED if any(_missing(conn, there)) else State.CURRENT
    if revisions and OLDER.issuperset(revisions):
        return State.OLDER
    if not _FIRST.issubset(there):
        return State.FOREIGN
    if revisions:
        return State.NEWER
    return State.DAMAGED if _SECOND in there else State.OLDER


# -- problems ---------------------------------------------------------------------------------------------


def _problems(
    conn: Connection, state: State, there: Collection[str], revision: str | None, shown: str
) -> list[str]:
    match state:
        case State.OLDER:
            return [_older(revision, shown)]
        case State.NEWER:
            newer = f"the database is at schema revision {revision}, of an MLflow newer than 3.17"
            misfits = _misfits(conn, there)
            return [
                f"{newer}, and {what}, so that this version can't use it; upgrade Shoso" for what in misfits
            ]
        case State.DAMAGED:
            missing = _missing(conn, there)
            return [f"the database lacks {what}; restore it from a backup" for what in missing]
        case State.FOREIGN:
            return ["the database holds another program's tables; name one of its own for the runs"]
    return []


def _older(revision: str | None, shown: str) -> str:
    at = (
        f"at schema revision {revision}, of an older MLflow"
        if revision
        else "one that MLflow only began to make"
    )
    return (
        f"the database is {at}; this version of Shoso needs {HEAD}. Back it up, then run with MLflow 3.17:"
        f" mlflow db upgrade '{shown}'"
    )


def _missing(conn: Connection, there: Collection[str]) -> Iterator[str]:
    """What isn't there of a schema at our revision: MLflow would start over without one of its tables."""
    if not _revisions(conn, there):
        yield "the schema revision of MLflow's tables"
    for name in sorted(_NAMES - {*there}):
        yield f"the table '{name}'"
    for table, columns in _columns(conn, there):
        for name in sorted(table.columns.keys() - columns.keys()):
            yield f"the column '{name}' of the table '{table.name}'"


def _misfits(conn: Connection, there: Collection[str]) -> Iterator[str]:
    """What of a newer schema Shoso couldn't work with."""
    for name in sorted({table.name for table in USED} - {*there}):
        yield f"it has no table '{name}'"
    see = inspect(conn)
    for table, columns in _columns(conn, there):
        for what in _misfits_of(table, columns, see.get_pk_constraint(table.name)["constrained_columns"]):
            yield f"its table '{table.name}' has {what}"


def _misfits_of(table: Table, columns: Mapping[str, Any], key: Collection[str]) -> Iterator[str]:
    for name in sorted(table.columns.keys() - columns.keys()):
        yield f"no column '{name}'"
    for name, column in columns.items():
        if _is_mandatory(column) and (name not in table.c or table.c[name].nullable):
            yield f"the column '{name}', which must have a value that Shoso doesn't give it"
    if {*key} != {*table.primary_key.columns.keys()}:
        yield f"another primary key ({', '.join(key)})"


def _columns(conn: Connection, there: Collection[str]) -> Iterator[tuple[Table, dict[str, Any]]]:
    """The tables that Shoso uses and that are there, each with its columns by name."""
    tables = [table for table in USED if table.name in there]
    found = inspect(conn).get_multi_columns(filter_names=[table.name for table in tables])
    by_name = {name: columns for (_, name), columns in found.items()}
    for table in tables:
        yield table, {column["name"]: column for column in by_name[table.name]}


def _is_mandatory(column: Any) -> bool:
    """Whether an INSERT must name the column."""
    filled = (column.get("default"), column.get("computed"), column.get("identity"))
    by_itself = any(each is not None for each in filled) or column.get("autoincrement") is True
    return not column["nullable"] and not by_itself


def _hidden(conn: Connection) -> dict[str, int]:
    """Rows of other workspaces."""
    found = {}
    for table in (experiments, registered_models):
        query = select(func.count()).select_from(table).where(table.c.workspace != WORKSPACE)
        if number := conn.scalar(query):
            found[table.name] = number
    return found
