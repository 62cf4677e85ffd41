"""The engine: lists, plans, and keeps a window of jobs going."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError, store_error
from shoso.transfer.batches import copy_batch
from shoso.transfer.listing import Pair, pairs, target
from shoso.transfer.parts import copy_in_parts
from shoso.transfer.plan import Item, Job, Planner, Way, candidate, unchanged
from shoso.transfer.policy import Policy, Unchanged
from shoso.transfer.report import CopyError, Report, Tally
from shoso.transfer.route import Route
from shoso.transfer.selection import Selection
from shoso.transfer.streams import copy_whole
from shoso.transfer.window import Window, crew

TRIES = 3
"""Times that an object is begun which changes while it is copied."""

LARGE = 4
"""Objects in parts at once: as one is put together, the next ones go on."""

_OTHER_BYTES = {Kind.CHANGED, Kind.INCOMPLETE, Kind.CORRUPT}

Move = Callable[[Route, Item], Awaitable[ObjectMeta]]


async def copy(src: Store, dst: Store, selection: Selection, policy: Policy | None = None) -> Report:
    """Make what `selection` names in `src` be in `dst`, with the same bytes; nothing else there is touched.

    Both stores are under `layers.standard`. Every object is there whole or not at all; what fails is named
    at the end, when the rest has arrived. Raises the StoreError of a single object, or of what stops
    everything (a full disk, a refused login), and CopyError where some of several objects failed.
    """
    if src is dst:
        selection.require_apart()
    report = await _Copy(src, dst, selection, policy or Policy()).run()
    if report.failed:
        alone = report.copied + report.skipped + report.failed == 1
        raise report.failures[0] if alone else CopyError(report)
    return report


class _Copy:
    """A copy under way."""

    def __init__(self, src: Store, dst: Store, selection: Selection, policy: Policy) -> None:
        window = Window(_width(src, dst, policy.parallel), policy.window)
        self._route = Route(src, dst, policy, window, Tally())
        self._selection, self._policy = selection, policy
        self._planner = Planner(policy, src.capabilities, dst.capabilities)
        self._large = asyncio.Semaphore(LARGE)

    async def run(self) -> Report:
        """Copy everything that can be."""
        async with crew() as group, closing(self._jobs()) as jobs:
            async for job in jobs:
                await self._start(group, job)
        return self._route.tally.report()

    async def _jobs(self) -> AsyncIterator[Job]:
        async with closing(pairs(self._route.src, self._route.dst, self._selection)) as found:
            async for pair in found:
                if (item := self._due(pair)) is not None:
                    for job in self._planner.add(item):
                        yield job
        for job in self._planner.rest():
            yield job

    def _due(self, pair: Pair) -> Item | None:
        """The object, unless it's known to be there."""
        path, meta, there = pair
        to = target(self._selection, path)
        if self._policy.unchanged is Unchanged.SEND:
            there = None
        if unchanged(meta, there):
            self._route.skip(to, meta.size)
            return None
        self._policy.progress.planned(to, meta.size)
        return Item(path, meta, to, candidate(meta, there))

    async def _start(self, group: asyncio.TaskGroup, job: Job) -> None:
        """Start a job as soon as there is room for it; in a dry run, count it."""
        if self._policy.dry_run:
            self._route.tally.foresee(len(job.items), job.size)
        elif job.way is Way.PARTS:
            await self._large.acquire()
            group.create_task(self._in_parts(job))
        else:
            size = min(job.size, self._policy.part_size)  # of a longer stream only a few buffers are held
            await self._route.window.take(size)
            group.create_task(self._at_once(job, size))

    async def _in_parts(self, job: Job) -> None:
        """Its parts have their own places in the window."""
        try:
            await self._each(job.items, copy_in_parts)
        finally:
            self._large.release()

    async def _at_once(self, job: Job, size: int) -> None:
        try:
            batch = job.way is Way.BATCH
            failed = await copy_batch(self._route, job.items) if batch else job.items
            await self._each(failed, copy_whole)
        finally:
            self._route.window.give(size)

    async def _each(self, items: Sequence[Item], move: Move) -> None:
        for item in items:
            await self._one(item, move)

    async def _one(self, item: Item, move: Move) -> None:
        """Copy one object; a failure that is its own is kept for the end."""
        try:
            written = await _settled(self._route, item, move)
        except StoreError as error:
            self._route.tally.fail(error)
        else:
            self._route.finish(item, written)


async def _settled(route: Route, item: Item, move: Move, tries: int = TRIES) -> ObjectMeta:
    """Copy an object; if it changes meanwhile it starts over."""
    try:
        return await move(route, item)
    except StoreError as error:
        if error.kind not in _OTHER_BYTES:
            raise
        if tries == 1:
            raise _restless(item, error) from error
    return await _settled(route, item, move, tries - 1)


def _restless(item: Item, error: StoreError) -> StoreError:
    if error.kind is Kind.CORRUPT:
        return error
    key = item.meta.key
    message = (
        f"'{key}' was changed each of the {TRIES} times it was copied; copy it when nobody writes to it."
    )
    return store_error(Kind.CHANGED, message, op="copy", key=key, store=error.store)


def _width(src: Store, dst: Store, wanted: int) -> int:
    """Jobs at once. Each holds a connection of both ends; where these are one, two of its connections.

    Raises UNSUPPORTED where it has only one: the job would wait for itself.
    """
    if src.info != dst.info:
        return wanted
    if src.capabilities.connections < 2:
        message = f"To copy within {src.info.name} takes two connections; allow it more than one."
        raise store_error(Kind.UNSUPPORTED, message, op="copy", store=src.info.name)
    return min(wanted, src.capabilities.connections // 2)
