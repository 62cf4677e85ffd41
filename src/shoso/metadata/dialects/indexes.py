"""Indexes by value, as each database makes, finds and drops them, while others go on reading and writing.

    PostgreSQL        concurrently; of texts that are short, for a key of an index has 2,704 bytes at most;
                      what was interrupted stays as an index that writes pay for and no search uses
    MySQL, MariaDB    online; of the beginnings of texts, for a key has 3,072 bytes at most

SQLite would use none: it looks for each run's value by its primary key. On SQL Server none was tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from shoso.metadata.dialects.texts import SHORT

_LOCK = 0x5505_0002
"""The key of PostgreSQL's advisory lock under which indexes are made; that of tables is another one."""

_BEGINNING = 191
"""Characters of a value that MySQL's index has, of four bytes at most; MLflow's keys have 250."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """The statements of a database, with places for the `name` of an index and its `table`.

    `usable` gives whether the index can be used, no row where there's none; `size` its bytes. `alone` keeps
    others who make or drop indexes waiting.
    """

    make: str
    drop: str
    usable: str
    size: str
    alone: Callable[[Connection], AbstractContextManager[None]]


def syntax(conn: Connection) -> Syntax | None:
    """That of the database; None for one that would use no index by value."""
    return _SYNTAX.get(conn.dialect.name)


@dataclass(frozen=True, slots=True)
class Index:
    """An index of params or tags by key and value."""

    name: str
    table: str

    def is_usable(self, conn: Connection, words: Syntax) -> bool | None:
        """Whether searches can use it; None where there's none."""
        found = conn.exec_driver_sql(self._written(words.usable)).scalar()
        return None if found is None else bool(found)

    def size(self, conn: Connection, words: Syntax) -> int | None:
        """Its bytes; None where they can't be asked for."""
        try:
            found = conn.exec_driver_sql(self._written(words.size)).scalar()
        except DBAPIError:  # MySQL shows its statistics to administrators
            return None
        return None if found is None else int(found)

    def make(self, conn: Connection, words: Syntax) -> None:
        """Make it."""
        conn.exec_driver_sql(self._written(words.make))

    def drop(self, conn: Connection, words: Syntax) -> None:
        """Drop it."""
        conn.exec_driver_sql(self._written(words.drop))

    def _written(self, statement: str) -> str:
        return statement.format(name=self.name, table=self.table)


@contextmanager
def _alone_on_postgresql(conn: Connection) -> Iterator[None]:
    """Ask again and again: the index that holds the lock waits for every statement, one that waits too."""
    while not conn.exec_driver_sql(f"SELECT pg_try_advisory_lock({_LOCK})").scalar():
        time.sleep(0.2)
    try:
        yield
    finally:
        conn.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")


@contextmanager
def _alone_on_mysql(conn: Connection) -> Iterator[None]:
    """Who waits to change a table keeps all others from it: that is given up soon."""
    conn.exec_driver_sql("SET SESSION lock_wait_timeout = 10")
    lock = "concat('shoso:indexes:', left(sha2(database(), 256), 40))"
    while not conn.exec_driver_sql(f"SELECT get_lock({lock}, 1)").scalar():
        pass
    try:
        yield
    finally:
        conn.exec_driver_sql(f"SELECT release_lock({lock})")


_OF_POSTGRESQL = (
    " FROM pg_index JOIN pg_class ON oid = indexrelid"
    " WHERE indrelid = to_regclass('{table}') AND relname = '{name}'"
)

_SYNTAX = {
    "postgresql": Syntax(
        make="CREATE INDEX CONCURRENTLY {name} ON {table} (key, value, run_uuid)"
        f" WHERE length(value) <= {SHORT}",
        drop="DROP INDEX CONCURRENTLY IF EXISTS {name}",
        usable=f"SELECT indisvalid{_OF_POSTGRESQL}",
        size=f"SELECT pg_relation_size(indexrelid){_OF_POSTGRESQL}",
        alone=_alone_on_postgresql,
    ),
    "mysql": Syntax(  # InnoDB adds the rest of the primary key, the run, to every index
        make=f"CREATE INDEX {{name}} ON {{table}} (`key`, value({_BEGINNING})) ALGORITHM=INPLACE LOCK=NONE",
        drop="ALTER TABLE {table} DROP INDEX {name}, ALGORITHM=INPLACE, LOCK=NONE",
        usable="SELECT 1 FROM information_schema.statistics WHERE table_schema = database()"
        " AND table_name = '{table}' AND index_name = '{name}' AND seq_in_index = 1",
        size="SELECT stat_value * @@innodb_page_size FROM mysql.innodb_index_stats"
        " WHERE database_name = database() AND table_name = '{table}' AND index_name = '{name}'"
        " AND stat_name = 'size'",
        alone=_alone_on_mysql,
    ),
}
