"""Group commit: everything that waits is written together, and acknowledged when it is durable."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from typing import Any

from sqlalchemy import Connection

from shoso.errors import Kind, ShosoError

_LOG = logging.getLogger(__name__)
_GROUP_MAX = 256
"""Jobs in one group: a bound on how long another process waits for the lock."""


class Job:
    """One write that somebody waits for: its work, then its outcome.

    Work that is `repeatable` finds what it wrote before, if that was kept.
    """

    __slots__ = ("error", "future", "item", "ran", "repeatable", "result", "shared", "work")

    def __init__(
        self, work: Callable[..., Any], item: Any, *, shared: bool, repeatable: bool = False
    ) -> None:
        self.work = work
        self.item = item
        self.shared = shared
        self.repeatable = repeatable
        self.ran = False
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """A thread that writes groups; jobs are resolved after the commit that holds them, never before."""

    def __init__(self, write: Callable[[list[Job]], None]) -> None:
        self._write = write
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shoso-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """The future of the job's result. Raises ShosoError(UNAVAILABLE) once the writer is closed."""
        if self._closed:
            raise _closed()
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
                _finish(self._write, jobs)

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, up to a bound, after waiting for the first; and whether that was the last."""
        taken = [self._queue.get()]
        taken += [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), _GROUP_MAX - 1))]
        return [job for job in taken if job is not None], None in taken


class Writers:
    """Threads that write: of each shared work a group at a time, and other jobs one by one.

    A group is all that waited for the one before; it takes its turn for a thread behind other jobs.
    """

    def __init__(self, write: Callable[[list[Job]], None], threads: int) -> None:
        self._write = write
        self._pool = ThreadPoolExecutor(threads, "shoso-writer")
        self._waiting: dict[Callable[..., Any], list[Job]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """See Writer."""
        with self._lock:
            if self._closed:
                raise _closed()
            if not job.shared:
                self._pool.submit(_finish, self._write, [job])
            elif job.work in self._waiting:
                self._waiting[job.work].append(job)
            else:
                self._waiting[job.work] = [job]
                self._pool.submit(self._write_groups, job.work)
        return job.future

    async def close(self) -> None:
        """Write what waits, then end the threads; idempotent."""
        with self._lock:
            self._closed = True
        await asyncio.to_thread(self._pool.shutdown)

    def _write_groups(self, work: Callable[..., Any]) -> None:
        mine = True
        while mine:
            with self._lock:
                group = self._waiting[work][:_GROUP_MAX]
                del self._waiting[work][:_GROUP_MAX]
            _finish(self._write, group)
            mine = self._is_mine(work)

    def _is_mine(self, work: Callable[..., Any]) -> bool:
        """Whether the next group of that work is this thread's too: after the end the pool takes no more."""
        with self._lock:
            if not self._waiting[work]:
                del self._waiting[work]
                return False
            if not self._closed:
                self._pool.submit(self._write_groups, work)
            return self._closed


def _closed() -> ShosoError:
    return ShosoError(Kind.UNAVAILABLE, "The database is closed.")


def _finish(write: Callable[[list[Job]], None], jobs: list[Job]) -> None:
    """Write the jobs and say how it went; the thread must live, whatever happened."""
    try:
        write(jobs)
    except Exception as error:  # noqa: BLE001 - see above
        _LOG.error("a group of %d writes failed", len(jobs), exc_info=error)
        fail(jobs, error)
    _deliver(jobs)


def fail(jobs: Sequence[Job], error: BaseException) -> None:
    """Give every job that error."""
    for job in jobs:
        job.error = error


def grouped(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs by shared work, in the order of their first; a job of no shared work is alone."""
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(job.work if job.shared else job, []).append(job)
    return list(groups.values())


def perform(connection: Connection, group: Sequence[Job]) -> None:
    """Run the work of a group; each job has its result then, or the error that was its outcome."""
    if not group[0].shared:
        group[0].result = group[0].item(connection)
        return
    work = group[0].work
    if group[0].repeatable:
        work = partial(work, again=any(job.ran for job in group))
    for job in group:
        job.ran = True
    outcomes: Sequence[Any] = work(connection, [job.item for job in group])
    for job, outcome in zip(group, outcomes, strict=True):
        refused = isinstance(outcome, ShosoError)
        job.error, job.result = (outcome, None) if refused else (None, outcome)


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
