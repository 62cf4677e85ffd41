"""What is the same for every database that is a server: pools, transactions, what is tried again.

A transaction that lost against another one (a deadlock, a key that somebody inserted in between) is run again
from its start, so that its work sees what is there now and says what it would have said a moment later. One
whose connection is lost is run again too. If it was being committed, nobody knows what became of it: then
only work is run again that looks for what it made, and others end with an error that says so.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import BindTyping
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata.commit import Job, fail, grouped, perform
from shoso.metadata.dialects.options import Options

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10.0
"""How long work waits for a database that went away; a restart takes less. Then it is refused at once.

No work waits longer, whatever others meet: it may be its own statement that ends every connection.
"""

_PASSING = {Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.NO_SPACE}
"""What undoes a group and would undo each of its jobs too."""

_NO_POOL: dict[str, Any] = {"poolclass": NullPool}
_WRITING = "READ COMMITTED"

_CLIENTS = {Kind.INVALID, Kind.DUPLICATE, Kind.TOO_LARGE}
"""What a client did: nothing to log, all the less as the error repeats the values."""

_WRONG_OPTION = (TypeError, ValueError, AttributeError, OSError, ArgumentError)
"""What drivers raise, and SQLAlchemy; that nobody is there comes as a DBAPIError."""

_LOST_IN_COMMIT = (
    "The connection to the database was lost while this was stored; whether it was isn't known. Look, or try"
    " again."
)


class Meaning(NamedTuple):
    """What a driver's error says: how often its transaction may be run in all, or that nobody is there.

    `demoted`: who is there doesn't write any more; who does may be reached by the same name.
    """

    kind: Kind
    message: str
    tries: int = 1
    lost: bool = False
    demoted: bool = False


UNEXPECTED = Meaning(Kind.UNEXPECTED, "The database failed; the server's log says how.")
LOST = Meaning(Kind.UNAVAILABLE, "The database can't be reached; try again.", lost=True)
BUSY = Meaning(Kind.UNAVAILABLE, "The database is busy with other writes; try again.", tries=10)
SLOW = Meaning(
    Kind.TIMEOUT,
    "The database took longer than the server's SHOSO_DATABASE_TIMEOUT allows; ask for less, or raise it.",
)
FULL = Meaning(Kind.NO_SPACE, "The disk of the database is full; nothing was stored.")
READ_ONLY = Meaning(
    Kind.UNAVAILABLE,
    "The database can't be written to: it is read-only. If another one is the primary now, let the host in"
    " the URI lead there.",
    lost=True,
    demoted=True,
)
NOT_HERE = Meaning(Kind.UNAVAILABLE, "The database can't be written to by who reads.")
TAKEN = Meaning(Kind.DUPLICATE, "It exists already.", tries=3)
DANGLING = Meaning(Kind.INVALID, "It refers to something that doesn't exist.", tries=3)
NOT_ALLOWED = Meaning(Kind.INVALID, "A value is missing or is not one of those allowed.")
TOO_LONG = Meaning(Kind.INVALID, "A value has more characters than its column in the database can hold.")
UNFIT = Meaning(
    Kind.INVALID, "A value can't be kept by this database: a number too large, or a text with NUL."
)
DENIED = Meaning(Kind.CONFIG, "The server's user of the database lacks a right; the server's log names it.")


OCCUPIED = "another server has been making the tables of {place} for long; wait until it is done, or end it"


class Refused(Exception):
    """Why a database can't be opened at start, as `Product.refusal` says it."""


class Product(Protocol):
    """What is special about a kind of database."""

    reading: str
    """The isolation level of reads: one state for all the statements of a work, where the database has it."""

    def url(self, given: URL, options: Options) -> URL:
        """With our driver, and the options that it needs. Raises ValueError with a sentence."""

    def connect_args(self, options: Options) -> Mapping[str, Any]:
        """Further arguments of the driver's `connect`."""

    def greet(self, raw: Any, options: Options, read_only: bool) -> str | None:
        """Set up a new connection; the SQL that each transaction on it has to begin with, if any."""

    def alone(self, conn: Connection) -> AbstractContextManager[None]:
        """Keep others who ask for it waiting until the end of the block, or of the transaction.

        Raises Refused for who has waited too long, or DBAPIError.
        """

    def meaning(self, error: DBAPIError) -> Meaning:
        """What an error says."""

    def refusal(self, error: DBAPIError, url: URL) -> str:
        """Why the database can't be opened at start, and the fix: a sentence behind the setting's name."""


class Served:
    """A database that is a server; see `Dialect`."""

    def __init__(self, product: Product, given: URL, options: Options, setting: str) -> None:
        self.shown = shown(given)
        self.readers, self.writers = options.readers, options.writers
        self._product, self._options = product, options
        self._setting = setting
        self._readers_absence, self._writers_absence = _Absence(self.shown), _Absence(self.shown)
        self._era = object()
        try:
            self._url = product.url(given, options)
        except ValueError as error:
            raise ConfigError(setting, f"{error}") from None
        with self._refusing():
            self._reading = self._pooled(product.reading, read_only=True)
            self._writing = self._pooled(_WRITING, read_only=False)

    def prepare(self, work: Callable[[Connection], None]) -> None:
        """See Dialect."""
        with self._opening(_WRITING, read_only=False) as connection, self._product.alone(connection):
            work(connection)
            connection.commit()

    def inspect(self, work: Callable[[Connection], T]) -> T:
        """See Dialect."""
        with self._opening(self._product.reading, read_only=True) as connection:
            return work(connection)

    def read(self, work: Callable[[Connection], T]) -> T:
        """See Dialect."""
        return self._again(lambda: self._read(work), self._readers_absence)

    def write(self, jobs: list[Job]) -> None:
        """See Dialect; each group in a transaction of its own."""
        for group in grouped(jobs):
            self._write_group(group)

    def tend(self, work: Callable[[Connection], T]) -> T:
        """See Dialect."""
        with self._opening("AUTOCOMMIT", read_only=False) as connection:
            try:
                return work(connection)
            except DBAPIError as error:
                kind, said = self._product.meaning(error).kind, str(error.orig).strip()
                raise ShosoError(kind, f"The database refused: {said}") from error

    def close(self) -> None:
        """See Dialect."""
        self._reading.dispose()
        self._writing.dispose()

    # -- transactions -------------------------------------------------------------------------------------

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._connected(self._reading) as connection:
            return work(connection)

    def _write_group(self, group: list[Job]) -> None:
        """Write jobs of one shared work together; if that raises, one by one: only the culprit fails."""
        error = self._attempt(group)
        if error is None:
            return
        if len(group) == 1 or (isinstance(error, ShosoError) and error.kind in _PASSING):
            fail(group, error)
            return
        for job in group:
            if error := self._attempt([job]):
                fail([job], error)

    def _attempt(self, group: Sequence[Job]) -> Exception | None:
        """Write the group in a transaction of its own; the error that undid it, if any."""
        try:
            self._again(lambda: self._transact(group), self._writers_absence)
        except Exception as error:  # noqa: BLE001 - it is its job's, whatever it is
            return error
        return None

    def _transact(self, group: Sequence[Job]) -> None:
        with self._connected(self._writing) as connection:
            perform(connection, group)
            try:
                connection.commit()
            except DBAPIError as error:
                if self._product.meaning(error).lost and not all(job.repeatable for job in group):
                    raise ShosoError(Kind.UNAVAILABLE, _LOST_IN_COMMIT) from error
                raise

    # -- trying again -------------------------------------------------------------------------------------

    def _again(self, attempt: Callable[[], T], absence: _Absence) -> T:
        """What the attempt gives, tried again where its error says so. Raises ShosoError."""
        tries, started = 0, time.monotonic()
        while True:
            tries += 1
            try:
                result = attempt()
            except DBAPIError as error:
                meaning = self._product.meaning(error)
                if meaning.demoted:
                    self._leave()
                if not _may_repeat(meaning, tries, started, absence):
                    if meaning.kind not in _CLIENTS:
                        _LOG.warning("the database failed: %s", error.orig)
                    raise ShosoError(meaning.kind, meaning.message) from error
            else:
                if absence.end() and absence is self._writers_absence:
                    self._leave()  # readers may have reached the old primary meanwhile
                return result
            time.sleep(random.uniform(0.2, 1) * min(0.01 * 2**tries, 0.5))  # noqa: S311 - jitter

    def _leave(self) -> None:
        """Lend no connection of before again: new ones go where the host's name leads now.

        Disposing of a pool would leave those open that are lent at the time.
        """
        self._era = object()

    # -- connections --------------------------------------------------------------------------------------

    @contextmanager
    def _connected(self, engine: Engine) -> Iterator[Connection]:
        """A connection of this era; what the block raises isn't replaced by a rollback's failure.

        It may have caused that. Else a write whose commit went astray would count as one that was never
        sent, and be run again.
        """
        with engine.connect() as connection:
            while connection.info["era"] is not self._era:
                connection.invalidate()
            try:
                yield connection
            except Exception:
                try:
                    connection.rollback()
                except DBAPIError:
                    connection.invalidate()
                raise

    def _pooled(self, isolation: str, *, read_only: bool) -> Engine:
        options, pool = self._options, _NO_POOL
        if options.pool_class == "QueuePool":
            most = self.readers if read_only else self.writers
            kept = max(1, min(most, options.pool_size - self.writers)) if read_only else most
            pool = {"pool_size": kept, "max_overflow": most - kept, "pool_recycle": options.pool_recycle}
        engine = self._engine(isolation, pool, read_only=read_only)
        # Values travel as what they are; a cast to INTEGER fails.
        engine.dialect.bind_typing = BindTyping.NONE
        return engine

    def _engine(self, isolation: str, pool: Mapping[str, Any], *, read_only: bool) -> Engine:
        engine = create_engine(
            self._url,
            isolation_level=isolation,
            paramstyle="qmark" if self._url.drivername == "mssql+pyodbc" else "format",
            echo=self._options.echo,
            hide_parameters=True,  # what users log may be secret
            connect_args=dict(self._product.connect_args(self._options)),
            **pool,
        )
        event.listen(engine, "do_connect", self._date)

        def connected(raw: Any, record: ConnectionPoolEntry) -> None:
            record.info["first"] = self._product.greet(raw, self._options, read_only)

        event.listen(engine, "connect", connected)
        event.listen(engine, "begin", _say_first)
        return engine

    def _date(self, _dialect: Any, record: ConnectionPoolEntry, *_: Any) -> None:
        """Note the era of a connection before its host's name is looked up."""
        record.info["era"] = self._era

    @contextmanager
    def _opening(self, isolation: str, *, read_only: bool) -> Iterator[Connection]:
        """A connection to what may not be there, or not ours to use. Raises ConfigError."""
        try:
            with self._alone(isolation, read_only=read_only) as connection:
                yield connection
        except DBAPIError as error:
            raise ConfigError(self._setting, self._product.refusal(error, self._url)) from error
        except Refused as error:
            raise ConfigError(self._setting, f"{error}") from None

    def _alone(self, isolation: str, *, read_only: bool) -> Connection:
        """A connection that no pool has: its values have types.

        Without these SQLAlchemy's reflection fails on PostgreSQL.
        """
        with self._refusing():
            return self._engine(isolation, _NO_POOL, read_only=read_only).connect()

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Raise ConfigError for an option of the URI that the driver doesn't take, however it says so."""
        try:
            yield
        except _WRONG_OPTION as error:
            raise ConfigError(self._setting, f"'{self.shown}' has an option that is wrong: {error}") from None


def _say_first(connection: Connection) -> None:
    if first := connection.info["first"]:
        connection.exec_driver_sql(first)


class _Absence:
    """Since when a database is away: for reads alone, or for writes, which need its primary."""

    def __init__(self, shown: str) -> None:
        self._shown = shown
        self._since: float | None = None
        self._lock = threading.Lock()

    def since(self) -> float:
        """When it was missed first."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                _LOG.warning("the connection to %s is lost; trying again", self._shown)
            return self._since

    def end(self) -> bool:
        """It has answered; whether it was away."""
        if self._since is None:
            return False
        with self._lock:
            self._since = None
        _LOG.info("%s answers again", self._shown)
        return True


def _may_repeat(meaning: Meaning, tries: int, started: float, absence: _Absence) -> bool:
    """Twice at least where nobody was there: the first try may have met a connection of before."""
    if not meaning.lost:
        return tries < meaning.tries
    since = min(started, absence.since())
    return tries < 2 or time.monotonic() - since < _PATIENCE_SECONDS


def shown(url: URL) -> str:
    """The URI without its password and its options, which may hold more of them."""
    return url.set(query={}).render_as_string(hide_password=True)


def place(url: URL) -> str:
    """Where the database is, as sentences have it: host:port, or a socket."""
    host = url.host or str(url.query.get("host") or url.query.get("unix_socket") or "the local socket")
    return f"{host}:{url.port}" if url.port else host
