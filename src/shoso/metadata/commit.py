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
    """A thread that writes groups; jobs are resolved after the commit that holds them, never before.

    With more `threads`, those write what shares its work with nothing else, one at a time each.
    """

    def __init__(self, write: Callable[[list[Job]], None], threads: int = 1) -> None:
        self._write = write
        self._others = ThreadPoolExecutor(threads - 1, "shoso-writer-of-one") if threads > 1 else None
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="shoso-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """The future of the job's result. Raises ShosoError(UNAVAILABLE) once the writer is closed."""
        if self._closed:
            raise ShosoError(Kind.UNAVAILABLE, "The database is closed.")
        if self._others is None or job.shared:
            self._queue.put(job)
        else:
            self._others.submit(self._finish, [job])
        return job.future

    async def close(self) -> None:
        """Write what waits, then end the thread; idempotent."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        if self._others is not None:
            await asyncio.to_thread(self._others.shutdown)

    def _run(self) -> None:
        last = False
        while not last:
            jobs, last = self._take()
            if jobs:
                self._finish(jobs)

    def _finish(self, jobs: list[Job]) -> None:
        """Write the jobs and say how it went; the thread must live, whatever happened."""
        try:
            self._write(jobs)
        except Exception as error:  # noqa: BLE001 - see above
            _LOG.error("a group of %d writes failed", len(jobs), exc_info=error)
            fail(jobs, error)
        _deliver(jobs)

    def _take(self) -> tuple[list[Job], bool]:
        """All that waits, up to a bound, after waiting for the first; and whether that was the last."""
        taken = [self._queue.get()]
        taken += [self._queue.get_nowait() for _ in range(min(self._queue.qsize(), _GROUP_MAX - 1))]
        return [job for job in taken if job is not None], None in taken


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
