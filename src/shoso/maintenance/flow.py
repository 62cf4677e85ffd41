"""How the items of a store flow to the target: read in threads, in requests of a good size, some at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from shoso.wire.entities import encode

T = TypeVar("T")

PARALLEL = 4
"""Jobs under way at once."""

WEIGHT = 4_000_000
"""Bytes of a request, but of one whose single item has more."""


async def in_parallel(jobs: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do the jobs, some at once; the first error ends them all."""
    gate = asyncio.Semaphore(PARALLEL)

    async def done(job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        finally:
            gate.release()

    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                await gate.acquire()
                group.create_task(done(job))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


async def batches(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """The items, read in a thread, as many at a time as make up a request."""
    found = by_weight(items, WEIGHT, lambda item: item)
    while batch := await asyncio.to_thread(next, found, None):
        yield batch


def by_weight(items: Iterable[T], most: int, sent: Callable[[T], object]) -> Iterator[list[T]]:
    """The items, as many at a time as together have `most` bytes of JSON, or one that alone has more."""
    found: list[T] = []
    total = 0
    for item in items:
        weight = len(encode(sent(item)))
        if found and total + weight > most:
            yield found
            found, total = [], 0
        found.append(item)
        total += weight
    if found:
        yield found


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
