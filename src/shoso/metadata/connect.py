"""Open a database and run work on it: reads in a pool of threads, writes in groups; on a replica, if any."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata import tables
from shoso.metadata.commit import Job, Writer, Writers
from shoso.metadata.dialects import Dialect, choose
from shoso.metadata.dialects.options import REPLICA, SETTING, Options

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")
P = ParamSpec("P")

_STANDARD = Options()


class Database:
    """The metadata of a server: a read sees whole commits, a write that has returned is durable."""

    def __init__(self, dialect: Dialect, replica: Dialect | None = None) -> None:
        self._opened = [dialect, *([replica] if replica else [])]
        self._writer = (
            Writer(dialect.write) if dialect.writers == 1 else Writers(dialect.write, dialect.writers)
        )
        self._readers = _Readers(dialect)
        self._searchers = _Copy(replica) if replica else self._readers

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        artifact_root: str,
        options: Options = _STANDARD,
        replica: str = "",
        setting: str = SETTING,
    ) -> Database:
        """The database at `uri`; tables are made where there are none, else checked.

        `replica` is the URI of a copy of it, for searches. Raises ConfigError, which names the `setting`.
        """
        dialect = choose(uri, options, setting)
        copy = choose(replica, options, REPLICA) if replica else None
        try:
            dialect.prepare(lambda conn: tables.prepare(conn, setting, dialect.shown, artifact_root))
            if copy is not None:
                _check_replica(copy)
        except BaseException:
            for each in (dialect, copy):
                if each is not None:
                    each.close()
            raise
        return cls(dialect, copy)

    async def read(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`work(connection, …)` on one consistent state of the database, in a reader's thread."""
        return await self._readers.run(lambda connection: work(connection, *args, **kwargs))

    async def search(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `read`, but on the replica, if there is one: it may be a moment behind.

        When the replica can't be reached, the database itself is asked, and it alone for half a minute.
        """
        try:
            return await self._searchers.run(lambda connection: work(connection, *args, **kwargs))
        except ShosoError as error:
            if self._searchers is self._readers or error.kind is not Kind.UNAVAILABLE:
                raise
        return await self.read(work, *args, **kwargs)

    async def write(
        self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`work(connection, …)`, whole or not at all; returns when it is durable.

        An exception undoes this work alone, whatever else it shared a transaction with. Where another server
        got in between, it is run again: it must do nothing but to use its connection. Cancelling the caller
        doesn't undo it.
        """
        job = Job(work, lambda connection: work(connection, *args, **kwargs), shared=False)
        result: T = await self._writer.submit(job)
        return result

    async def create(self, work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """As `write`, where it isn't known whether a commit was kept, too: then it is run again.

        It is called with `again` from the second time on, and must give what it has made, if it is there.
        """
        runs = count()
        job = Job(
            work,
            lambda connection: work(connection, *args, **kwargs, again=next(runs) > 0),
            shared=False,
            repeatable=True,
        )
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

    async def create_each(self, work: Callable[..., Sequence[R | ShosoError]], item: object) -> R:
        """As `write_each`, with `create`'s promise: `again` says that some of the items aren't new."""
        result: R = await self._writer.submit(Job(work, item, shared=True, repeatable=True))
        return result

    async def close(self) -> None:
        """Finish what waits and let go of the database; idempotent."""
        await self._writer.close()
        for readers in (self._readers, self._searchers):
            await readers.close()
        for dialect in self._opened:
            await asyncio.to_thread(dialect.close)


def _check_replica(replica: Dialect) -> None:
    """Raises ConfigError for what is no copy; one that is being made is waited for."""
    deadline = time.monotonic() + _REPLICA_SECONDS
    while True:
        try:
            replica.inspect(lambda conn: tables.check(conn, REPLICA, replica.shown))
        except ConfigError:
            if time.monotonic() > deadline:
                raise
        else:
            return
        time.sleep(0.2)


_REPLICA_SECONDS = 5.0


class _Readers:
    """A few threads that read."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._pool = ThreadPoolExecutor(dialect.readers, thread_name_prefix="shoso-reader")
        self._closed = False

    async def run(self, work: Callable[[Connection], T]) -> T:
        if self._closed:
            raise ShosoError(Kind.UNAVAILABLE, "The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._read, work)

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._dialect.read(work)

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)


class _Copy(_Readers):
    """Those of a replica. One that is missed isn't asked for a while: to wait for its silence takes long."""

    _missed = -math.inf

    def _read(self, work: Callable[[Connection], T]) -> T:
        if time.monotonic() - self._missed < _ALONE_SECONDS:
            raise ShosoError(Kind.UNAVAILABLE, "The replica was missed a moment ago.")
        try:
            return super()._read(work)
        except ShosoError as error:
            if error.kind is Kind.UNAVAILABLE:
                self._missed = time.monotonic()
            raise


_ALONE_SECONDS = 30.0
