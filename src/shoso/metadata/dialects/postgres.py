"""PostgreSQL, by psycopg 3, whichever driver the URI names: they take the same options, which are libpq's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import URL, Connection, func, select
from sqlalchemy.exc import DBAPIError

from shoso.errors import Kind
from shoso.metadata.dialects import served
from shoso.metadata.dialects.options import Options
from shoso.metadata.dialects.served import Meaning, Refused, Served, place

_DRIVERS = {"postgresql", "postgresql+psycopg", "postgresql+psycopg2"}

_LOCK = 0x5505_0001
"""The key of the advisory lock under which tables are made."""

_OVERDUE = {"55P03", "57014"}
"""The limit of a lock, or of a statement."""

_CONNECT_SECONDS = 5
_SILENCE_MILLISECONDS = 30_000
"""After which a connection whose other end doesn't acknowledge what was sent is given up."""

_ALIVE = {"keepalives_idle": "30", "keepalives_interval": "10", "keepalives_count": "3"}
"""The same where an answer is waited for and nothing was sent: after a minute, not Linux's two hours."""


def locate(url: URL, options: Options, setting: str) -> Served:
    """The database that a postgresql: URI names. Raises ConfigError."""
    return Served(Postgres(), url, options, setting)


class Postgres:
    """See `Product`."""

    reading = "REPEATABLE READ"

    def url(self, given: URL, options: Options) -> URL:
        """See Product."""
        if given.drivername not in _DRIVERS:
            raise ValueError(f"'{given.drivername}:' databases can't be opened; use postgresql://")
        query = {
            "application_name": "shoso",
            "connect_timeout": str(_CONNECT_SECONDS),
            "tcp_user_timeout": str(_SILENCE_MILLISECONDS),
            **_ALIVE,
            **given.query,
        }
        return given.set(drivername="postgresql+psycopg", query=query)

    def connect_args(self, options: Options) -> Mapping[str, Any]:
        """See Product."""
        pooled = options.pool_class == "QueuePool"
        return {} if pooled else {"prepare_threshold": None}

    def greet(self, raw: Any, options: Options, read_only: bool) -> str | None:
        """See Product. Behind a pooler that lends a connection for a transaction nothing may be prepared.

        Nor set for longer: another transaction may have another connection, and others get this one. A
        pooler, such as PgBouncer, says that it has another process id than who answers.
        """
        if raw.execute("SELECT pg_backend_pid()").fetchone() != (raw.info.backend_pid,):
            raw.prepare_threshold = None
            first = _settings(options, local=True)
        else:
            raw.execute(_settings(options, local=False))
            if read_only and raw.info.server_version >= 120000:
                # A plan for any values goes through a long history from its start, for every page.
                raw.execute("SET plan_cache_mode = force_custom_plan")
            first = None
        raw.commit()
        raw.read_only = read_only
        return first

    @contextmanager
    def alone(self, conn: Connection) -> Iterator[None]:
        """See Product; the statement's limit may be over before the lock's, which starts later."""
        try:
            conn.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _OVERDUE:
                raise
            raise Refused(served.OCCUPIED.format(place=place(conn.engine.url))) from None
        yield

    def meaning(self, error: DBAPIError) -> Meaning:
        """See Product, by SQLSTATE (postgresql.org/docs/current/errcodes-appendix.html)."""
        state = getattr(error.orig, "sqlstate", None)
        if state is None:
            lost = isinstance(error.orig, (psycopg.OperationalError, psycopg.InterfaceError))
            unfit = isinstance(error.orig, psycopg.DataError)
            return served.LOST if lost else served.UNFIT if unfit else served.UNEXPECTED
        return _MEANING.get(state) or _MEANING.get(state[:2]) or served.UNEXPECTED

    def refusal(self, error: DBAPIError, url: URL) -> str:
        """See Product. A failed connection has no SQLSTATE, so its English text must do."""
        text = _first_line(error)
        match getattr(error.orig, "sqlstate", None):
            case "42501":
                return _lacking(text, url)
            case "25006" | "0A000":
                return f"the PostgreSQL at {place(url)} is a read-only standby; name the primary"
        for fragment, sentence in _REFUSALS.items():
            if fragment in text:
                return sentence.format(place=place(url), user=url.username, database=url.database, text=text)
        return f"PostgreSQL at {place(url)} can't be opened: {text}"


def _settings(options: Options, *, local: bool) -> str:
    """A statement that makes them, for a transaction or a connection."""
    limit = int(options.timeout * 1000)
    wait = limit * 9 // 10  # for a lock: else the other limit, which says less, would always come first
    settings = {
        "statement_timeout": limit,
        "lock_timeout": wait,
        "idle_in_transaction_session_timeout": limit,
        "jit": "off",  # compiling a search takes longer than it
    }
    made = (f"set_config('{name}', '{value}', {local})" for name, value in settings.items())
    return f"SELECT {', '.join(made)}"


def _lacking(text: str, url: URL) -> str:
    return (
        f"the user '{url.username}' may not make or use the tables in database '{url.database}' ({text});"
        f' grant it: GRANT ALL ON SCHEMA public TO "{url.username}", or let it own the database'
    )


def _first_line(error: DBAPIError) -> str:
    lines = str(error.orig).strip().splitlines() or [""]
    return lines[0].removeprefix("connection failed: ")


_REFUSALS = {
    "password authentication failed": "PostgreSQL at {place} refuses the user '{user}' with that password;"
    " correct them in the URI",
    "no password supplied": "PostgreSQL at {place} asks for the password of '{user}'; write it into the URI:"
    " postgresql://{user}:PASSWORD@{place}/{database}",
    "does not exist": "PostgreSQL at {place} says: {text}; create it, or correct the URI",
    "failed to resolve host": "the host of PostgreSQL, {place}, isn't known; correct it in the URI",
    "Connection refused": "nothing listens at {place}; start PostgreSQL there, or correct the URI",
    "no pg_hba.conf entry": "PostgreSQL at {place} lets '{user}' into '{database}' not from this machine;"
    " add a line to its pg_hba.conf, or correct the URI ({text})",
    "invalid connection option": "the URI has an option that libpq doesn't know ({text}); leave it out",
    "certificate verify failed": "the certificate of PostgreSQL at {place} isn't trusted; name the file of"
    " its authority by sslrootcert in the URI",
    "does not support SSL": "PostgreSQL at {place} speaks no TLS; switch it on there, or leave sslmode out",
    "due to lock timeout": served.OCCUPIED,
    "due to statement timeout": "PostgreSQL at {place} took longer than SHOSO_DATABASE_TIMEOUT allows; raise"
    " it",
    "timeout": "nothing answers at {place} in time; correct the URI, or open the way there",
}

_MEANING = {
    "08": served.LOST,
    "57P01": served.LOST,  # shut down by its administrator
    "57P02": served.LOST,
    "57P03": served.LOST,  # starting up
    "57P05": served.LOST,
    "25P03": served.LOST,
    "40001": served.BUSY,
    "40P01": served.BUSY,
    "55P03": served.BUSY._replace(tries=1),
    "57014": served.SLOW,
    "53100": served.FULL,
    "53300": Meaning(Kind.UNAVAILABLE, "The database takes no more connections; try again.", lost=True),
    "25006": served.NOT_HERE,
    "0A000": served.READ_ONLY,  # BEGIN READ WRITE, at a standby
    "23505": served.TAKEN,
    "23503": served.DANGLING,
    "23": served.NOT_ALLOWED,
    "22001": served.TOO_LONG,
    "22025": Meaning(Kind.INVALID, "A pattern of LIKE or ILIKE can't end in one backslash; write two."),
    "22": served.UNFIT,
    "54": Meaning(Kind.TOO_LARGE, "A value or a request is larger than the database can hold."),
    "42501": served.DENIED,
}
