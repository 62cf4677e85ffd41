"""SQL Server, by pyodbc or pymssql: its statements are compiled in the tests, and were never run.

No server could be had. Reads are at READ COMMITTED, for a snapshot has to be switched on in the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import DBAPIError

from shoso.errors import ConfigError
from shoso.metadata.dialects import served
from shoso.metadata.dialects.options import Options
from shoso.metadata.dialects.served import Meaning, Served, place

_DRIVERS = {"mssql": "pyodbc", "mssql+pyodbc": "pyodbc", "mssql+pymssql": "pymssql"}
_NUMBER = r"\((\d+)\)"


def locate(url: URL, options: Options, setting: str) -> Served:
    """The database that a mssql: URI names. Raises ConfigError, and ModuleNotFoundError."""
    if url.drivername in _DRIVERS:
        _require(_DRIVERS[url.drivername], setting)
    return Served(SQLServer(), url, options, setting)


def _require(driver: str, setting: str) -> None:
    try:
        import_module(driver)
    except ModuleNotFoundError:
        raise
    except ImportError as error:  # pyodbc is there, and what it stands on isn't
        hint = "'mssql:' needs unixODBC and Microsoft's driver for it: apt-get install unixodbc msodbcsql18"
        raise ConfigError(setting, f"{hint} ({error})") from None


class SQLServer:
    """See `Product`."""

    reading = "READ COMMITTED"

    def url(self, given: URL, options: Options) -> URL:
        """See Product."""
        if given.drivername not in _DRIVERS:
            raise ValueError(f"'{given.drivername}:' databases can't be opened; use mssql+pyodbc://")
        return given.set(drivername=f"mssql+{_DRIVERS[given.drivername]}")

    def connect_args(self, options: Options) -> Mapping[str, Any]:
        """See Product."""
        return {"timeout": int(options.timeout)}

    def greet(self, raw: Any, options: Options, read_only: bool) -> None:
        """See Product."""
        cursor = raw.cursor()
        cursor.execute(f"SET LOCK_TIMEOUT {int(options.timeout * 1000)}")
        cursor.close()

    @contextmanager
    def alone(self, conn: Connection) -> Iterator[None]:
        """See Product."""
        lock = "EXEC sp_getapplock @Resource = 'shoso', @LockMode = 'Exclusive', @LockTimeout = 60000"
        conn.execute(text(lock))
        yield

    def meaning(self, error: DBAPIError) -> Meaning:
        """See Product, by number (learn.microsoft.com, Database Engine events and errors)."""
        if error.connection_invalidated:
            return served.LOST
        return next((_MEANING[number] for number in _numbers(error) if number in _MEANING), served.UNEXPECTED)

    def refusal(self, error: DBAPIError, url: URL) -> str:
        """See Product."""
        sentence = "SQL Server at {place} can't be opened: {text}"
        for number in _numbers(error):
            sentence = _REFUSALS.get(number, sentence)
        return sentence.format(
            place=place(url), user=url.username, database=url.database, text=str(error.orig).splitlines()[0]
        )


def _numbers(error: DBAPIError) -> list[int]:
    """pymssql gives the number first; ODBC has no field for it, its message ends with it in parentheses."""
    args = error.orig.args if error.orig is not None else ()
    if args and isinstance(args[0], int):
        return [args[0]]
    return [int(found) for found in re.findall(_NUMBER, str(error.orig))]


_REFUSALS = {
    18456: "SQL Server at {place} refuses the user '{user}' with that password; correct them in the URI",
    4060: "there is no database '{database}' at {place}, or '{user}' may not use it; create it, or grant it",
    262: "the user '{user}' may not make tables in '{database}'; grant it: ALTER ROLE db_owner ADD MEMBER"
    " {user}",
}

_MEANING = {
    1205: served.BUSY,
    1222: served.BUSY._replace(tries=1),
    2627: served.TAKEN,
    2601: served.TAKEN,
    547: served.DANGLING,
    515: served.NOT_ALLOWED,
    2628: served.TOO_LONG,
    8152: served.TOO_LONG,
    8115: served.UNFIT,
    1105: served.FULL,
    3906: served.READ_ONLY,
    229: served.DENIED,
}
