"""SQLite underneath: where the file is, how a connection is set up, what its errors mean."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from shoso.errors import ConfigError, Kind, ShosoError

T = TypeVar("T")

SETTING = "--backend-store-uri"

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


def locate(url: URL, given: str) -> Path:
    """The file that a sqlite: URI names. Raises ConfigError when it names none, or in no folder."""
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise ConfigError(
            SETTING, f"'{given}' names no plain file, so its runs would be lost; use sqlite:///mlflow.db"
        )
    if unknown := set(url.query) - _IGNORED_OPTIONS:
        raise ConfigError(SETTING, f"'{given}' has the unknown option '{min(unknown)}'; leave it out")
    path = Path(name).absolute()  # readers connect later, wherever the process is then
    if not path.parent.is_dir():
        raise ConfigError(
            SETTING, f"the folder '{path.parent}' doesn't exist; create it: mkdir -p '{path.parent}'"
        )
    return path


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


def refusal(error: DBAPIError, path: Path) -> ConfigError:
    """Why the file can't be opened at start, with the fix."""
    match _code(error):
        case sqlite3.SQLITE_NOTADB:
            return ConfigError(SETTING, f"'{path}' is not a SQLite database; name another file")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return ConfigError(SETTING, f"'{path}' and its folder must be writable for this user")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return ConfigError(SETTING, f"'{path}' is locked by another program; stop it or wait for it")
        case sqlite3.SQLITE_FULL:
            return ConfigError(SETTING, f"the disk of '{path}' is full; make room")
    return ConfigError(SETTING, f"'{path}' can't be opened: {error.orig}")


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
