"""The databases that metadata can be kept in: what differs among them is here, and nowhere else.

    URI             module     is
    sqlite:         sqlite     a file, written by one thread, in groups
    postgresql:     postgres   a server: pools, retries and time-outs are in `served`
    mysql:          mysql      a server, also MariaDB
    mssql:          mssql      a server; its statements were compiled and never run

`upserts` has the inserts that give way to what is there, `texts` the comparisons of text, `indexes` the
indexes by value. A driver is
imported when its database is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from shoso.errors import ConfigError
from shoso.metadata.commit import Job
from shoso.metadata.dialects.options import SETTING, Options

T = TypeVar("T")


class Dialect(Protocol):
    """One database, and how work is run on it; every call blocks its thread."""

    @property
    def shown(self) -> str:
        """Its URI without a password."""

    @property
    def readers(self) -> int:
        """Threads that may read at once."""

    @property
    def writers(self) -> int:
        """Threads that may write at once."""

    def prepare(self, work: Callable[[Connection], None]) -> None:
        """Let `work` make and check tables, alone among all the servers that start. Raises ConfigError."""

    def inspect(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds in a database that may be anybody's; nothing is changed. Raises ConfigError."""

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` reads, in one state of the database. Raises ShosoError, and what `work` raises."""

    def write(self, jobs: list[Job]) -> None:
        """Give each job its result, durable, or its error."""

    def tend(self, work: Callable[[Connection], T]) -> T:
        """What `work` does to the database, each statement committed by itself.

        Raises ConfigError where there is none, ShosoError, and what `work` raises.
        """

    def close(self) -> None:
        """Let go of what is open; nothing is run any more. Idempotent."""


_MODULES = {"sqlite": "sqlite", "postgresql": "postgres", "mysql": "mysql", "mssql": "mssql"}

EXTRAS = {"postgresql": "postgres", "mysql": "mysql", "mssql": "mssql"}
"""The extra that brings the driver of a database."""


def choose(uri: str, options: Options, setting: str = SETTING) -> Dialect:
    """The database at `uri`, which `setting` names; not yet opened. Raises ConfigError; shows no password."""
    url = _parse(uri, setting)
    name = url.get_backend_name()
    try:
        dialect: Dialect = import_module(f"{__name__}.{_MODULES[name]}").locate(url, options, setting)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(("shoso", "sqlalchemy")):
            raise
        extra = "pymssql" if error.name == "pymssql" else f"'shoso[{EXTRAS[name]}]'"
        hint = f"'{name}:' needs the package {error.name}: pip install {extra}"
        raise ConfigError(setting, hint) from None
    return dialect


def _parse(uri: str, setting: str) -> URL:
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        raise ConfigError(
            setting,
            "it is not the URI of a database; use sqlite:///mlflow.db, with the path after three slashes, or"
            " e.g. postgresql://user:password@host/database",
        ) from None
    if url.get_backend_name() not in _MODULES:
        known = ", ".join(f"{name}:" for name in _MODULES)
        raise ConfigError(setting, f"'{url.drivername}:' databases can't be opened; there are {known}")
    if url.password and _is_torn(uri):
        hint = "an '@' of the password would end it there, and the rest be taken for the host; write %40"
        raise ConfigError(setting, f"there is an '@' too many before the name of the host: {hint}")
    return url


def _is_torn(uri: str) -> bool:
    """Whether an `@` follows the one that ends the password: what is between would be shown as a host."""
    rest = uri.partition("://")[2].partition(":")[2].partition("@")[2]
    return any("@" in rest.partition(end)[0] for end in "?=")  # behind both, it is in the value of an option
