"""SQLite: a file that one thread writes, in groups; how a connection is set up, what its errors mean."""

from __future__ import annotations

import logging
import random
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata.commit import Job, fail, grouped, perform
from shoso.metadata.dialects.options import Options

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_BUSY_SECONDS = 20.0
_PATIENCE_SECONDS = 60.0
_FULL_BYTES = 1 << 20
_IGNORED_OPTIONS = {"cached_statements", "check_same_thread", "detect_types", "isolation_level", "timeout"}
"""What SQLAlchemy's SQLite driver understands in a URI and this module decides by itself."""

_PRAGMAS = (
    "synchronous = FULL",  # a commit that was acknowledged outlives a power cut
    "foreign_keys = ON",
    "case_sensitive_like = ON",  # MLflow's filters are
    "temp_store = MEMORY",  # else an INSERT of several rows pays for a statement journal on disk
    "cache_size = -32768",
    "wal_autocheckpoint = 4000",  # 16 MiB: four times fewer checkpoints than by default
)


def locate(url: URL, options: Options, setting: str) -> Sqlite:
    """The file that a sqlite: URI names; no option is for it. Raises ConfigError."""
    name, given = url.database or ":memory:", url.render_as_string()
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigError(
            setting, f"'{given}' names no plain file, so its runs would be lost; use sqlite:///mlflow.db"
        )
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise ConfigError(setting, f"'{url.drivername}:' files can't be opened; use sqlite:///mlflow.db")
    if unknown := set(url.query) - _IGNORED_OPTIONS:
        raise ConfigError(setting, f"'{given}' has the unknown option '{min(unknown)}'; leave it out")
    path = Path(name).absolute()  # readers connect later, wherever the process is then
    if not path.parent.is_dir():
        raise ConfigError(
            setting, f"the folder '{path.parent}' doesn't exist; create it: mkdir -p '{path.parent}'"
        )
    return Sqlite(path, given, setting)


class Sqlite:
    """A file; see `Dialect`. Readers have a connection per thread, the one writer has its own."""

    readers = 4
    writers = 1

    def __init__(self, path: Path, shown: str, setting: str) -> None:
        self.shown = shown
        self._path = path
        self._setting = setting
        self._local = threading.local()
        self._reading: list[Connection] = []
        self._writing: Connection | None = None

    def prepare(self, work: Callable[[Connection], None]) -> None:
        """See Dialect; in one transaction, so that of several servers that start one creates the tables."""
        try:
            patiently(lambda: self._prepare(work))
        except DBAPIError as error:
            raise refusal(error, self._path, self._setting) from error

    def inspect(self, work: Callable[[Connection], T]) -> T:
        """See Dialect; a file that isn't there is an empty database."""
        try:
            with _untouched(self._path) as connection:
                return work(connection)
        except DBAPIError as error:
            raise refusal(error, self._path, self._setting) from error

    def read(self, work: Callable[[Connection], T]) -> T:
        """See Dialect."""
        try:
            connection = self._reader()
            connection.exec_driver_sql("BEGIN")  # one snapshot for all the statements of the work
            try:
                return work(connection)
            finally:
                if in_transaction(connection):  # SQLite ends it by itself when the disk fails
                    connection.exec_driver_sql("ROLLBACK")
        except DBAPIError as error:
            raise translate(error, self._path) from error

    def write(self, jobs: list[Job]) -> None:
        """See Dialect; in one transaction, a savepoint for each. If it fails, that is every job's error."""
        try:
            self._transact(jobs)
        except DBAPIError as error:
            _LOG.warning("a transaction of %d writes failed: %s", len(jobs), error.orig)
            fail(jobs, self._translated(error))
            self._disconnect()
        except Exception:
            self._disconnect()
            raise

    def tend(self, work: Callable[[Connection], T]) -> T:
        """See Dialect."""
        if not self._path.exists():
            raise ConfigError(self._setting, f"there is no file '{self._path}'; correct the URI")
        try:
            with connect(self._path, wal=False) as connection:
                return work(connection)
        except DBAPIError as error:
            raise refusal(error, self._path, self._setting) from error

    def close(self) -> None:
        """See Dialect."""
        self._disconnect()
        while self._reading:
            self._reading.pop().close()

    def _prepare(self, work: Callable[[Connection], None]) -> None:
        with connect(self._path, wal=False) as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            work(connection)
            connection.exec_driver_sql("COMMIT")
        connect(self._path).close()  # the change to WAL needs the file for itself, once

    def _reader(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._path, read_only=True)
            self._reading.append(connection)
        return connection

    def _transact(self, jobs: list[Job]) -> None:
        connection = self._writer()
        patiently(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        for group in grouped(jobs):
            self._run_group(connection, group)
        patiently(lambda: connection.exec_driver_sql("COMMIT"))  # only waits where there's no WAL

    def _run_group(self, connection: Connection, group: list[Job]) -> None:
        """Run jobs of one shared work together; if that raises, one by one: only the culprit fails."""
        if len(group) > 1 and self._attempt(connection, group) is None:
            return
        for job in group:
            # What undid the job, or what its work gave as its outcome.
            job.error = self._attempt(connection, [job]) or job.error

    def _attempt(self, connection: Connection, group: list[Job]) -> BaseException | None:
        """Run the group in a savepoint of its own; the error that undid it, if any."""
        connection.exec_driver_sql("SAVEPOINT job")
        try:
            perform(connection, group)
        except Exception as error:
            if not in_transaction(connection):
                raise  # SQLite has undone the whole transaction (disk full, I/O error)
            connection.exec_driver_sql("ROLLBACK TO job")
            connection.exec_driver_sql("RELEASE job")
            return self._translated(error)
        connection.exec_driver_sql("RELEASE job")
        return None

    def _translated(self, error: Exception) -> Exception:
        if not isinstance(error, DBAPIError):
            return error
        ours = translate(error, self._path)
        ours.__cause__ = error
        return ours

    def _writer(self) -> Connection:
        if self._writing is None:
            self._writing = patiently(lambda: connect(self._path))
            # SQLite waits for a lock in fixed steps of up to 100 ms; `patiently` is fairer among processes.
            self._writing.exec_driver_sql("PRAGMA busy_timeout = 0")
        return self._writing

    def _disconnect(self) -> None:
        """Let go of a connection that isn't trusted any more."""
        connection, self._writing = self._writing, None
        if connection is not None:
            with suppress(DBAPIError):  # it may be what failed
                connection.close()


def connect(path: Path, *, read_only: bool = False, wal: bool = True) -> Connection:
    """A connection of its own to the file; transactions are begun by whoever uses it.

    `wal` lets readers and the writer work side by side. It changes the file: only what is ours may have it.
    """
    pragmas = [*_PRAGMAS, f"query_only = {int(read_only)}", *["journal_mode = WAL"] * wal]

    def opened() -> sqlite3.Connection:
        raw = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        try:
            for pragma in pragmas:
                raw.execute(f"PRAGMA {pragma}").close()
        except sqlite3.Error:
            raw.close()
            raise
        return raw

    return create_engine("sqlite://", creator=opened, poolclass=NullPool).connect()


def _untouched(path: Path) -> Connection:
    """A connection that changes nothing, not even the file's journal mode, and makes no file."""

    def opened() -> sqlite3.Connection:
        place = f"{path.as_uri()}?mode=rw" if path.exists() else ":memory:"
        raw = sqlite3.connect(place, timeout=_BUSY_SECONDS, uri=True, isolation_level=None)
        raw.execute("PRAGMA query_only = ON").close()
        return raw

    return create_engine("sqlite://", creator=opened, poolclass=NullPool).connect()


def in_transaction(connection: Connection) -> bool:
    """Whether a transaction is open; SQLite ends it by itself when the disk is full or fails."""
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def patiently(action: Callable[[], T]) -> T:
    """The action's result; while another process holds the lock it is tried again, for up to a minute."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return action()
        except DBAPIError as error:
            if (
                _code(error) not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                or time.monotonic() > deadline
            ):
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter


def refusal(error: DBAPIError, path: Path, setting: str) -> ConfigError:
    """Why the file can't be opened at start, with the fix."""
    match _code(error):
        case sqlite3.SQLITE_NOTADB:
            return ConfigError(setting, f"'{path}' is not a SQLite database; name another file")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return ConfigError(setting, f"'{path}' and its folder must be writable for this user")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ConfigError(setting, f"'{path}' is locked by another program; stop it or wait for it")
        case sqlite3.SQLITE_FULL:
            return ConfigError(setting, f"the disk of '{path}' is full; make room")
    return ConfigError(setting, f"'{path}' can't be opened: {error.orig}")


def translate(error: DBAPIError, path: Path) -> ShosoError:
    """The error as one of ours: what happened, without the statement."""
    code = _code(error)
    if code == sqlite3.SQLITE_CONSTRAINT:
        return ShosoError(*_violation(error))
    if code == sqlite3.SQLITE_IOERR and _disk_is_full(path):
        code = sqlite3.SQLITE_FULL
    return ShosoError(*_MEANING.get(code, _UNEXPECTED))


_UNEXPECTED = (Kind.UNEXPECTED, "The database failed; the server's log says how.")
_MEANING = {
    sqlite3.SQLITE_BUSY: (Kind.UNAVAILABLE, "The database is busy with another program's write; try again."),
    sqlite3.SQLITE_LOCKED: (
        Kind.UNAVAILABLE,
        "The database is busy with another program's write; try again.",
    ),
    sqlite3.SQLITE_FULL: (Kind.NO_SPACE, "The disk of the database is full; nothing was stored."),
    sqlite3.SQLITE_READONLY: (Kind.UNAVAILABLE, "The database can't be written to."),
    sqlite3.SQLITE_CANTOPEN: (Kind.UNAVAILABLE, "The database can't be opened."),
    sqlite3.SQLITE_TOOBIG: (Kind.TOO_LARGE, "A value is larger than the database can hold."),
}


def _violation(error: DBAPIError) -> tuple[Kind, str]:
    match getattr(error.orig, "sqlite_errorcode", 0):
        case sqlite3.SQLITE_CONSTRAINT_UNIQUE | sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
            return Kind.DUPLICATE, "It exists already."
        case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
            return Kind.INVALID, "It refers to something that doesn't exist."
    return Kind.INVALID, "A value is missing or is not one of those allowed."


def _code(error: DBAPIError) -> int:
    """The primary result code; the low byte of the extended one (sqlite.org/rescode.html)."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _disk_is_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _FULL_BYTES
    except OSError:
        return False
