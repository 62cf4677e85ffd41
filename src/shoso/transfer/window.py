"""The sliding window: so many jobs and bytes at once; whoever makes more waits, in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager


class Window:
    """Room for `count` jobs of `size` bytes in all; a larger job has it for itself."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size = count, size
        self._jobs = self._bytes = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def start(self, group: asyncio.TaskGroup, size: int, work: Coroutine[None, None, None]) -> None:
        """Begin a job of `size` bytes as soon as there is room; it has the room until it ends."""
        try:
            await self._take(size)
        except BaseException:
            work.close()
            raise
        task = group.create_task(work)
        task.add_done_callback(lambda _: self._give(size))  # a task that's cancelled at once runs no line

    async def _take(self, size: int) -> None:
        async with self._turn:
            while not self._fits(size):
                self._freed.clear()
                await self._freed.wait()
        self._jobs += 1
        self._bytes += size

    def _give(self, size: int) -> None:
        self._jobs -= 1
        self._bytes -= size
        self._freed.set()

    def _fits(self, size: int) -> bool:
        return not self._jobs or (self._jobs < self._count and self._bytes + size <= self._size)


@asynccontextmanager
async def crew() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup that raises the first failure by itself, not in a group."""
    failure: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        failure = _first(failures)
    if failure is not None:
        raise failure from failure.__cause__


def _first(failure: BaseException) -> BaseException:
    return _first(failure.exceptions[0]) if isinstance(failure, BaseExceptionGroup) else failure
