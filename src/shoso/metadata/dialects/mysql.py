"""MySQL and MariaDB, by PyMySQL, whichever driver the URI names."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymysql.converters import escape_string  # missed here, with its extra, where it isn't there
from sqlalchemy import URL, Connection, func, select
from sqlalchemy.exc import DBAPIError

from shoso.errors import Kind
from shoso.metadata.dialects import served
from shoso.metadata.dialects.options import Options
from shoso.metadata.dialects.served import OCCUPIED, Meaning, Refused, Served, place

_LOCK_SECONDS = 60
"""How long a server waits for others that make or check the tables."""

_DRIVERS = {"mysql", "mysql+pymysql", "mysql+mysqldb"}
_FILES = {"ssl_ca", "ssl_cert", "ssl_key"}
_CONNECT_SECONDS = 5
_GRACE_SECONDS = 10
"""What a dead connection may take longer than a statement."""


def locate(url: URL, options: Options, setting: str) -> Served:
    """The database that a mysql: URI names. Raises ConfigError."""
    return Served(MySQL(), url, options, setting)


class MySQL:
    """See `Product`."""

    reading = "REPEATABLE READ"

    def __init__(self) -> None:
        self._packet = math.inf
        """Bytes of a statement that the server takes; at a longer one it hangs up."""
        self._password = b""

    def url(self, given: URL, options: Options) -> URL:
        """See Product."""
        if given.drivername not in _DRIVERS:
            raise ValueError(f"'{given.drivername}:' databases can't be opened; use mysql+pymysql://")
        if not given.database:
            raise ValueError("the URI names no database; add it after the host: mysql://…/mlflow")
        wait = str(int(options.timeout) + _GRACE_SECONDS)
        standard = {"charset": "utf8mb4", "connect_timeout": str(_CONNECT_SECONDS)}
        standard |= {"read_timeout": wait, "write_timeout": wait}
        query = {**standard, **_ssl(options), **given.query}
        for name in _FILES & query.keys():
            if not Path(str(query[name])).is_file():
                where = f"correct {name} in the URI, or MLFLOW_MYSQL_{name.upper()}"
                message = f"there is no file {query[name]}; {where}"
                raise ValueError(message)
        self._password = (given.password or "").encode()
        return given.set(drivername="mysql+pymysql", query=query)

    def connect_args(self, options: Options) -> Mapping[str, Any]:
        """See Product. PyMySQL would send the password in Latin-1, and fail where it can't."""
        return {"password": self._password} if self._password else {}

    def greet(self, raw: Any, options: Options, read_only: bool) -> None:
        """See Product. MariaDB alone reads `/*M!`, and MySQL alone `/*!50708`."""
        limit = options.timeout
        with raw.cursor() as cursor:
            cursor.execute(
                "SET SESSION sql_mode ="
                " CONCAT(@@sql_mode, ',STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ERROR_FOR_DIVISION_BY_ZERO'),"
                f" innodb_lock_wait_timeout = {max(1, int(limit))}"
                f" /*M!100101 , max_statement_time = {limit} */"
                f" /*!50708 , max_execution_time = {int(limit * 1000)} */"
            )
            if read_only:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
            cursor.execute("SELECT @@max_allowed_packet")
            self._packet = cursor.fetchone()[0]

    @contextmanager
    def alone(self, conn: Connection) -> Iterator[None]:
        """See Product; a lock of the session, for tables are made outside transactions."""
        name = func.concat("shoso:", func.left(func.sha2(func.database(), 256), 40))  # names have up to 64
        try:
            locked = conn.scalar(select(func.get_lock(name, _LOCK_SECONDS)))
        except DBAPIError as error:
            if self.meaning(error) is not served.SLOW:
                raise
            locked = None
        if not locked:
            raise Refused(OCCUPIED.format(place=conn.engine.url.database))
        try:
            yield
        finally:
            conn.execute(select(func.release_lock(name)))

    def meaning(self, error: DBAPIError) -> Meaning:
        """See Product, by number (dev.mysql.com/doc/mysql-errors, mariadb.com/kb/en/mariadb-error-codes)."""
        unknown = served.LOST if error.connection_invalidated else served.UNEXPECTED
        meaning = _MEANING.get(_number(error), unknown)
        return _TOO_LARGE if meaning.lost and _bytes(error) > self._packet else meaning

    def refusal(self, error: DBAPIError, url: URL) -> str:
        """See Product."""
        number, text = _number(error), str((error.orig.args if error.orig else ("",))[-1])
        sentence = _REFUSALS.get(number, "MySQL at {place} can't be opened: {text}")
        cause = getattr(error.orig, "original_exception", None)  # why PyMySQL couldn't connect
        for kind, said in _UNREACHABLE.items():
            sentence = said if isinstance(cause, kind) else sentence
        return sentence.format(place=place(url), user=url.username, database=url.database, text=text)


def _ssl(options: Options) -> dict[str, str]:
    files = {"ssl_ca": options.ssl_ca, "ssl_cert": options.ssl_cert, "ssl_key": options.ssl_key}
    return {name: file for name, file in files.items() if file}


def _number(error: DBAPIError) -> int:
    args = error.orig.args if error.orig is not None else ()
    return args[0] if args and isinstance(args[0], int) else -1


def _bytes(error: DBAPIError) -> int:
    """Bytes of the longest statement that was sent; of many rows PyMySQL sends one at a time, at least."""
    rows: Any = error.params if isinstance(error.params, list) else [error.params or ()]
    return len(error.statement or "") + max(map(_row_bytes, rows), default=0)


def _row_bytes(row: Any) -> int:
    values = row.values() if isinstance(row, Mapping) else row
    return sum(len(escape_string(value).encode()) for value in values if isinstance(value, str))


_REFUSALS = {
    1045: "MySQL at {place} refuses the user '{user}' with that password; correct them in the URI",
    1698: "MySQL at {place} refuses the user '{user}' with that password; correct them in the URI",
    1049: "there is no database '{database}' at {place}; create it, or correct the URI",
    1044: "the user '{user}' may not use the database '{database}' at {place}; grant it: GRANT ALL ON"
    " {database}.* TO '{user}', or correct the URI",
    1142: "the user '{user}' lacks a right in the database '{database}' ({text}); grant it: GRANT ALL ON"
    " {database}.* TO '{user}'",
    1290: "the MySQL at {place} is read-only; name the primary",
    2026: "MySQL at {place} speaks no TLS; switch it on there, or leave the ssl_ options out",
}

_UNREACHABLE: dict[type[OSError], str] = {
    ConnectionRefusedError: "nothing listens at {place}; start MySQL there, or correct the URI",
    TimeoutError: "nothing answers at {place} in time; correct the URI, or open the way there",
    socket.gaierror: "the host of MySQL, {place}, isn't known; correct it in the URI",
    ssl.SSLError: "the certificate of MySQL at {place} isn't trusted; name the file of its authority by"
    " ssl_ca in the URI ({text})",
}

_COLLATED = (
    "It differs from a key that is there in case, accents or blanks at its end alone, which the collation of"
    " this database takes for the same; choose another one."
)

_UNWRITABLE = Meaning(
    Kind.INVALID,
    "A text has a character that isn't in this database's character set; convert it to utf8mb4, or do"
    " without it.",
)
_TOO_LARGE = Meaning(Kind.TOO_LARGE, "A value is larger than the database's max_allowed_packet.")

_MEANING = {
    0: served.LOST,  # PyMySQL's, on a connection that it has closed
    2002: served.LOST,
    2003: served.LOST,
    2006: served.LOST,
    2013: served.LOST,
    2014: served.LOST,
    2055: served.LOST,
    1053: served.LOST,  # being shut down
    1927: served.LOST,  # killed
    4031: served.LOST,  # idle for too long
    1040: Meaning(Kind.UNAVAILABLE, "The database takes no more connections; try again.", lost=True),
    1203: Meaning(Kind.UNAVAILABLE, "The database takes no more connections; try again.", lost=True),
    1213: served.BUSY,
    1020: served.BUSY,  # MariaDB: changed since it was read
    1205: served.BUSY._replace(tries=1),
    1969: served.SLOW,
    3024: served.SLOW,
    1317: served.LOST,  # MySQL's word for a connection that is killed while it works
    1021: served.FULL,
    1114: served.FULL,
    1290: served.READ_ONLY,
    1836: served.READ_ONLY,
    1792: served.NOT_HERE,
    1062: served.TAKEN,
    1452: served.DANGLING,
    1216: served.DANGLING,
    1048: Meaning(Kind.INVALID, _COLLATED),
    1364: served.NOT_ALLOWED,
    3819: served.NOT_ALLOWED,
    4025: served.NOT_ALLOWED,
    1406: served.TOO_LONG,
    1264: served.UNFIT,
    1366: _UNWRITABLE,
    1267: _UNWRITABLE,
    1270: _UNWRITABLE,
    1271: _UNWRITABLE,
    3988: _UNWRITABLE,
    1367: served.UNFIT,
    1153: _TOO_LARGE,
    1044: served.DENIED,
    1142: served.DENIED,
    1143: served.DENIED,
}
