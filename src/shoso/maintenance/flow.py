"""How the items of a store flow to the target: read in threads, in requests of a good size, some at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from shoso.wire.imports import ImportedModel, ImportedRegisteredModel, ImportedRun
from shoso.wire.requests import ParamInput, TagInput

T = TypeVar("T")

PARALLEL = 4
"""Jobs under way at once."""

WEIGHT = 4_000_000
"""About the bytes of one request."""


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


async def batches(items: Iterable[T], weight: Callable[[T], int]) -> AsyncIterator[list[T]]:
    """The items, read in a thread, as many at a time as make up a request."""
    iterator = iter(items)
    while batch := await asyncio.to_thread(_batch, iterator, weight):
        yield batch


def _batch(items: Iterator[T], weight: Callable[[T], int]) -> list[T]:
    found, total = [], 0
    for item in items:
        found.append(item)
        total += weight(item)
        if total >= WEIGHT:
            break
    return found


def of_run(run: ImportedRun) -> int:
    """About the bytes of a run, or a part of one."""
    texts = _weight(run.params) + _weight(run.tags)
    datasets = sum(
        len(one.dataset.source) + len(one.dataset.schema or "") + len(one.dataset.profile or "")
        for one in run.datasets
    )
    return 500 + texts + datasets + 60 * len(run.metrics)


def of_model(model: ImportedModel) -> int:
    """About the bytes of a logged model."""
    return 500 + _weight(model.params) + _weight(model.tags) + 120 * len(model.metrics)


def of_registered(model: ImportedRegisteredModel) -> int:
    """About the bytes of a registered model."""
    return 500 + sum(1000 + _weight(version.tags) for version in model.versions) + _weight(model.tags)


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _weight(values: Iterable[ParamInput | TagInput]) -> int:
    return sum(len(one.key) + len(one.value) + 30 for one in values)
