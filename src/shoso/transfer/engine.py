"""The engine: lists, plans, and keeps a window of jobs going."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError, store_error
from shoso.transfer.batches import copy_batch
from shoso.transfer.comparison import compared
from shoso.transfer.journal import Journal
from shoso.transfer.listing import pairs, target
from shoso.transfer.parts import clear, copy_in_parts
from shoso.transfer.plan import Item, Job, Planner, Way, candidate, unchanged, version
from shoso.transfer.policy import Policy, Unchanged
from shoso.transfer.report import CopyError, Report, Tally
from shoso.transfer.route import Route
from shoso.transfer.selection import Selection
from shoso.transfer.shelf import left_behind, open_journal
from shoso.transfer.streams import copy_over, copy_whole
from shoso.transfer.window import Window, crew

TRIES = 3
"""Times that an object is begun which changes while it is copied."""

PAUSE = 0.5
"""Seconds until it is begun again, twice as many for the last time: who rewrites it gets to the end."""

LARGE = 4
"""Objects in parts at once: as one is put together, the next ones go on."""

Move = Callable[[Route, Item], Awaitable[None]]

_OTHER_BYTES = {Kind.CHANGED, Kind.INCOMPLETE, Kind.CORRUPT}


async def copy(src: Store, dst: Store, selection: Selection, policy: Policy | None = None) -> Report:
    """Make what `selection` names in `src` be in `dst`, with the same bytes; nothing else there is touched.

    Both stores are under `layers.standard`. Every object is there whole or not at all; what fails is named
    at the end, when the rest has arrived. Raises the StoreError of a single object, or of what stops
    everything (a full disk, a refused login), and CopyError where some of several objects failed.
    """
    chosen = policy or Policy()
    with contextlib.closing(open_journal(chosen.journal, src, dst, selection)) as journal:
        report = await _Copy(src, dst, selection, chosen, journal).run()
    if report.failed:
        alone = report.copied + report.skipped + report.failed == 1
        raise report.failures[0] if alone else CopyError(report)
    return report


class _Copy:
    """A copy under way."""

    def __init__(
        self, src: Store, dst: Store, selection: Selection, policy: Policy, journal: Journal
    ) -> None:
        window = Window(_width(src, dst, policy.parallel), policy.window)
        self._route = Route(src, dst, policy, window, Tally(), journal)
        self._selection, self._policy = selection, policy
        self._planner = Planner(policy, src.capabilities, dst.capabilities)
        self._large = Window(LARGE, 0)

    async def run(self) -> Report:
        """Copy everything that can be; leave no upload behind that a copy could go on with."""
        async with crew() as group, closing(self._jobs()) as jobs:
            async for job in jobs:
                await self._start(group, job)
        report = self._route.tally.report()
        if not report.failed and not self._policy.dry_run:
            await self._clear()
        return report

    async def _clear(self) -> None:
        """End the uploads that this copy, and those of the same that were killed, had no use for."""
        route, selection = self._route, self._selection
        await clear(route, lambda path: target(selection, path))
        for journal in left_behind(self._policy.journal, route.src, route.dst, selection):
            await clear(replace(route, journal=journal), lambda path: target(selection, path))

    async def _jobs(self) -> AsyncIterator[Job]:
        async with closing(pairs(self._route.src, self._route.dst, self._selection)) as found:
            async for path, meta, there in found:
                if (item := self._due(path, meta, there)) is not None:
                    for job in self._planner.add(item):
                        yield job
        for job in self._planner.rest():
            yield job

    def _due(self, path: str, meta: ObjectMeta, there: ObjectMeta | None) -> Item | None:
        """The object, unless it's known to be there."""
        over = version(there) if there is not None else ""
        stays = there is not None and self._stays(path, there)
        if self._policy.unchanged is Unchanged.SEND and not stays:
            there = None
        done = self._route.journal.find(path) if there is not None else None
        if there is not None and (stays or unchanged(meta, there, done)):
            self._policy.progress.planned(there.key, meta.size)
            self._policy.progress.skipped(there.key, meta.size)
            self._route.tally.skipped += 1
            return None
        return self._item(path, meta, candidate(meta, there, done), over)

    def _stays(self, path: str, there: ObjectMeta) -> bool:
        """Whether that version may not be written over."""
        over = self._policy.over
        return over is not None and version(there) != over.get(path, "")

    def _item(self, path: str, meta: ObjectMeta, there: ObjectMeta | None, over: str) -> Item | None:
        """The object and where it goes, unless it has a name that no object can have."""
        try:
            to = target(self._selection, path)
        except StoreError as error:
            self._policy.progress.planned(meta.key, meta.size)
            self._route.fail(meta.key, error)
            return None
        self._policy.progress.planned(to, meta.size)
        return Item(path, meta, to, there, over)

    async def _start(self, group: asyncio.TaskGroup, job: Job) -> None:
        """Start a job as soon as there is room for it; in a dry run, count it."""
        if self._policy.dry_run:
            self._route.tally.foresee(len(job.items), job.size)
        elif job.way is Way.PARTS:  # they have their own places in the window
            await self._large.start(group, 0, self._each(job.items, copy_in_parts))
        else:
            size = min(job.size, self._policy.part_size)  # of a longer stream only a few buffers are held
            move = copy_whole if self._policy.over is None else copy_over
            work = self._batch(job.items) if job.way is Way.BATCH else self._each(job.items, move)
            await self._route.window.start(group, size, work)

    async def _batch(self, items: Sequence[Item]) -> None:
        """Copy these at once; what failed among them is tried by itself, so that its own error is known."""
        await self._each(await copy_batch(self._route, items), copy_whole)

    async def _each(self, items: Sequence[Item], move: Move) -> None:
        """Copy these one by one; a failure that is an object's own is kept for the end."""
        for item in items:
            try:
                await _settled(self._route, item, move)
            except StoreError as error:
                self._route.fail(item.to, error)
        self._route.journal.flush()


async def _settled(route: Route, item: Item, move: Move, tries: int = TRIES) -> None:
    """Copy an object; if it changes meanwhile it starts over."""
    try:
        await _moved(route, item, move)
    except StoreError as error:
        if error.kind not in _OTHER_BYTES:
            raise
        if tries == 1:
            raise _restless(item, error) from error
        if error.kind is not Kind.CORRUPT:
            await asyncio.sleep(PAUSE * (TRIES + 1 - tries))
    else:
        return
    fresh = replace(item, meta=await route.src.stat(item.meta.key))
    await _settled(route, fresh, move, tries - 1)


async def _moved(route: Route, item: Item, move: Move) -> None:
    """Copy an object that isn't there yet."""
    item = await compared(route.src, route.dst, item)
    if item.there is not None and item.same:
        route.skip(item, item.there)
    else:
        await move(route, item)


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
