"""Group commit: everything that waits is written in one transaction, and one fsync acknowledges it all."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from shoso.errors import Kind, ShosoError
from shoso.metadata import sqlite

_LOG = logging.getLogger(__name__)
_GROUP_MAX = 256
"""Jobs in one transaction: a bound on how long another process waits for the lock."""


class Job:
    """One write that somebody waits for: its work, then its outcome."""

    __slots__ = ("error", "future", "item", "result", "shared", "work")

    def __init__(self, work: Callable[..., Any], item: Any, *, shared: bool) -> None:
        self.work = work
        self.item = item
        self.shared = shared
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """The one thread that writes; jobs are resolved after the commit that holds them, never before."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._connection: Connection | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shoso-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """The future of the job's result. Raises ShosoError(UNAVAILABLE) once the writer is closed."""
        if self._closed:
            raise ShosoError(Kind.UNAVAILABLE, "The database is closed.")
        self._queue.put(job)
        return job.future

    async def close(self) -> None:
        """Write what waits, then end the thread; idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        last = False
        while not last:
            jobs, last = self._take()
            if jobs:
                self._write(jobs)
                _deliver(jobs)
        self._disconnect()

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, up to a bound, after waiting for the first; and whether that was the last."""
        taken = [self._queue.get()]
        taken += [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), _GROUP_MAX - 1))]
        return [job for job in taken if job is not None], None in taken

    def _write(self, jobs: list[Job]) -> None:
        """Run the jobs in one transaction; if that fails as a whole, it is every job's error."""
        try:
            self._transact(jobs)
        except DBAPIError as error:
            _LOG.warning("a transaction of %d writes failed: %s", len(jobs), error.orig)
            self._fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - the thread must live, whatever happened
            _LOG.error("a transaction of %d writes failed", len(jobs), exc_info=error)
            self._fail(jobs, error)

    def _transact(self, jobs: list[Job]) -> None:
        connection = self._connect()
        sqlite.patiently(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        for group in _grouped(jobs):
            self._run_group(connection, group)
        sqlite.patiently(lambda: connection.exec_driver_sql("COMMIT"))  # only waits where there's no WAL

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
            _perform(connection, group)
        except Exception as error:
            if not sqlite.in_transaction(connection):
                raise  # SQLite has undone the whole transaction (disk full, I/O error)
            connection.exec_driver_sql("ROLLBACK TO job")
            connection.exec_driver_sql("RELEASE job")
            return self._translated(error)
        connection.exec_driver_sql("RELEASE job")
        return None

    def _translated(self, error: Exception) -> Exception:
        if not isinstance(error, DBAPIError):
            return error
        ours = sqlite.translate(error, self._path)
        ours.__cause__ = error
        return ours

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        """Every job has the error; the connection is not trusted any more."""
        for job in jobs:
            job.error = self._translated(error)
        self._disconnect()

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = sqlite.patiently(lambda: sqlite.connect(self._path))
            # SQLite waits for a lock in fixed steps of up to 100 ms; `patiently` is fairer among processes.
            self._connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(DBAPIError):  # it may be what failed
                connection.close()


def _grouped(jobs: list[Job]) -> list[list[Job]]:
    """The jobs by shared work, in the order of their first; a job of no shared work is alone."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.work if job.shared else job, []).append(job)
    return list(groups.values())


def _perform(connection: Connection, group: list[Job]) -> None:
    if not group[0].shared:
        group[0].result = group[0].item(connection)
        return
    outcomes: Sequence[Any] = group[0].work(connection, [job.item for job in group])
    for job, outcome in zip(group, outcomes, strict=True):
        if isinstance(outcome, ShosoError):
            job.error = outcome
        else:
            job.result = outcome


def _deliver(jobs: list[Job]) -> None:
    """Resolve the futures, with one call into each loop."""
    loops: defaultdict[asyncio.AbstractEventLoop, list[Job]] = defaultdict(list)
    for job in jobs:
        loops[job.future.get_loop()].append(job)
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting)
        except RuntimeError:  # the loop was closed; nobody waits any more
            _LOG.debug("%d writes were done after their loop had ended", len(waiting))


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue  # whoever waited was cancelled; the write stays
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
