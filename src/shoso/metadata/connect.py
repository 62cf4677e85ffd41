"""Open a database, check that it is MLflow's, and run work on it: reads in a pool, writes in groups.

Only SQLite so far. What another database will need of its own is in `sqlite` and `bulk`, and the inserts that
give way to what is there (ON CONFLICT).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, delete, exists, inspect, make_url, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import ArgumentError, DBAPIError

from shoso.core import locations
from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata import mlflow_services, mlflow_tables, sqlite
from shoso.metadata.commit import Job, Writer
from shoso.metadata.own import OWN
from shoso.metadata.schema import (
    HEAD,
    SCHEMA,
    WORKSPACE,
    alembic_version,
    experiments,
    registered_models,
    workspaces,
)
from shoso.metadata.sqlite import SETTING

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")
P = ParamSpec("P")

_READERS = 4
_FOR_MLFLOW = (mlflow_tables, mlflow_services)
"""The modules whose tables must be in SCHEMA before a database is created from it."""

_IN_WORKSPACES = (experiments, registered_models)


class Database:
    """The metadata of a server: a read sees whole commits, a write that has returned is on disk."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path)
        self._readers = _Readers(path)

    @classmethod
    def open(cls, uri: str, *, artifact_root: str) -> Database:
        """The database at `uri`: created where there is none, else checked. Raises ConfigError."""
        path = sqlite.locate(_parse(uri), uri)
        try:
            sqlite.patiently(lambda: _prepare(path, uri, artifact_root))
        except DBAPIError as error:
            raise sqlite.refusal(error, path) from error
        return cls(path)

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`work(connection, …)` on one consistent state of the database, in a reader's thread."""
        return await self._readers.run(lambda connection: work(connection, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`work(connection, …)`, whole or not at all; returns when it is durable.

        It shares a transaction with whatever else waits; an exception undoes this work alone. Cancelling the
        caller doesn't undo it.
        """
        job = Job(work, lambda connection: work(connection, *args, **kwargs), shared=False)
        result: T = await self._writer.submit(job)
        return result

    async def write_each(
        self, work: Callable[[Connection, Sequence[A]], Sequence[R | ShosoError]], item: A
    ) -> R:
        """The outcome of `item`, durable; `work` gets all the items that wait for it in one call.

        It gives one outcome per item, in order. If it raises, it is called again for each item alone.
        """
        result: R = await self._writer.submit(Job(work, item, shared=True))
        return result

    async def close(self) -> None:
        """Finish what waits and let go of the file; idempotent."""
        await self._writer.close()
        await self._readers.close()


class _Readers:
    """A few threads, each with a read-only connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(_READERS, thread_name_prefix="shoso-reader")
        self._local = threading.local()
        self._opened: list[Connection] = []
        self._closed = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise ShosoError(Kind.UNAVAILABLE, "The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        while self._opened:
            self._opened.pop().close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        try:
            connection = self._connect()
            connection.exec_driver_sql("BEGIN")  # one snapshot for all the statements of the work
            try:
                return work(connection)
            finally:
                if sqlite.in_transaction(connection):  # SQLite ends it by itself when the disk fails
                    connection.exec_driver_sql("ROLLBACK")
        except DBAPIError as error:
            raise sqlite.translate(error, self._path) from error

    def _connect(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = sqlite.connect(self._path, read_only=True)
            self._opened.append(connection)
        return connection


def _parse(uri: str) -> URL:
    """The parts of a database URI that Shoso can open. Raises ConfigError; a password is never shown."""
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        raise ConfigError(
            SETTING,
            "it is not the URI of a database; use sqlite:///mlflow.db, with the path after three slashes",
        ) from None
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigError(SETTING, f"'{url.drivername}:' databases can't be opened; use sqlite:///mlflow.db")
    return url


def _prepare(path: Path, uri: str, artifact_root: str) -> None:
    """Create or check the database in one transaction: of several servers that start, one creates it."""
    with sqlite.connect(path, wal=False) as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if set(inspect(connection).get_table_names()) <= {alembic_version.name}:
            _create(connection)
        _check(connection, uri)
        OWN.create_all(connection)
        _ensure_default(connection, artifact_root)
        connection.exec_driver_sql("COMMIT")
    sqlite.connect(path).close()  # the change to WAL needs the file for itself, once


def _create(connection: Connection) -> None:
    SCHEMA.create_all(connection)
    connection.execute(delete(alembic_version))  # a migration that failed may have left a row
    connection.execute(insert(alembic_version).values(version_num=HEAD))
    description = "Default workspace for legacy resources"
    connection.execute(insert(workspaces).values(name=WORKSPACE, description=description))


def _check(connection: Connection, uri: str) -> None:
    """Refuse a schema that isn't MLflow's at our revision, and rows that we'd never show."""
    there = set(inspect(connection).get_table_names())
    if alembic_version.name not in there:
        raise ConfigError(
            SETTING, "the database holds another program's tables; name one of its own for the runs"
        )
    revision = connection.scalar(select(alembic_version.c.version_num))
    if revision != HEAD:
        raise ConfigError(
            SETTING,
            f"the database is at schema revision {revision}, this version of Shoso reads {HEAD}. Back it up,"
            f" then run: mlflow db upgrade {uri} (or, if MLflow is newer than 3.17, upgrade Shoso)",
        )
    if missing := SCHEMA.tables.keys() - there:
        raise ConfigError(SETTING, f"the database lacks the table '{min(missing)}'; restore it from a backup")
    if any(connection.scalar(select(exists().where(t.c.workspace != WORKSPACE))) for t in _IN_WORKSPACES):
        raise ConfigError(
            SETTING,
            "the database has experiments or models in MLflow workspaces, which Shoso would not show; move"
            " them to the workspace 'default' first",
        )


def _ensure_default(connection: Connection, artifact_root: str) -> None:
    """Experiment 0, as MLflow has it: made when it isn't there, in any stage."""
    now = time.time_ns() // 1_000_000
    location = locations.below(locations.absolute(artifact_root), "0")
    connection.execute(
        insert(experiments)
        .values(
            experiment_id=0,
            name="Default",
            artifact_location=location,
            lifecycle_stage="active",
            creation_time=now,
            last_update_time=now,
        )
        .on_conflict_do_nothing()
    )
