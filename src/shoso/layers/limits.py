"""limits: no more calls under way than the store takes, and none that lasts for ever.

The permit comes first and isn't charged to the deadline; a body holds its permit until it is closed. The
deadline is one of silence: each call and each buffer gets it anew, so that a large object over a slow link
is fine and a dead connection is not. A call that sends a body is timed while the store has the last buffer,
not while its sender makes the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from dataclasses import replace
from types import coroutine
from typing import Any

from shoso.core.keys import Key
from shoso.core.store import Batches, Listings, Store, Uploads, Within
from shoso.core.streams import Source, closing
from shoso.core.types import (
    OVERWRITE,
    Buffer,
    ByteRange,
    Move,
    ObjectMeta,
    Part,
    Reading,
    SmallObject,
    UploadRef,
    WriteMode,
)
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers.layer import Attempt, Begin, Layer, LayerBatches, LayerListings, LayerUploads, T

WRITE_SHARE = 1024 * 1024
"""Bytes that a batch may write, or objects (folders) that it may read, for each deadline that it has."""

READ_SHARE = 64

MOVES = 16
"""Moves in a call, where there are too few to give each permit as many."""

_LASTING = {"finish", "move"}
"""Calls in which a storage copies objects of any size; the store itself gives up on one that is silent."""

_END = object()


class Limits(Layer):
    """Permits and deadlines; `silence` in seconds, None for none."""

    def __init__(self, inner: Store, silence: float | None) -> None:
        super().__init__(inner)
        self._silence = silence
        self._permits = asyncio.Semaphore(inner.capabilities.connections)

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer; what sends a body, or puts one together, lasts as long as the body needs."""
        async with self._permits:
            if op in _LASTING:
                return await attempt()
            watched = source if isinstance(source, _Watched) else None
            return await self._within(attempt(), op, key, watched)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store; while the source is waited for, the deadline rests."""
        return await super().write(key, _Watched(source), mode, content_type)

    @property
    def uploads(self) -> Uploads:
        """The Uploads verbs, within the same limits."""
        return _LimitedUploads(self, self.inner.uploads)

    @property
    def batches(self) -> Batches | None:
        """The Batches verbs, within the same limits."""
        return self.inner.batches and _LimitedBatches(self, self.inner.batches)

    @property
    def listings(self) -> Listings | None:
        """The Listings verb, within the same limits."""
        return self.inner.listings and _LimitedListings(self, self.inner.listings)

    async def call_many(self, op: str, key: Key, attempt: Attempt[T], shares: int) -> T:
        """A call about many objects, whose progress nobody sees: it has a deadline for each share of them."""
        async with self._permits:
            return await self._within(attempt(), op, key, shares=shares)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        await self._permits.acquire()
        try:
            reading = await self._within(self.inner.read(key, wanted, if_match), "read", key)
        except BaseException:
            self._permits.release()
            raise
        return replace(reading, body=self._timed(reading), close=_once(reading.close, self._permits.release))

    async def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """See Layer; each step of a listing holds a permit only while it is taken."""
        async with closing(begin(after)) as found:
            while True:
                async with self._permits:
                    entry = await self._step(found, op, prefix)
                if entry is None:
                    return
                yield entry

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; in round trips of as many keys as the store takes, all of them tried."""
        size, failures = self.capabilities.bulk_delete, []
        for start in range(0, len(keys), size):
            try:
                await super().delete(keys[start : start + size])
            except StoreError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; in groups side by side, each with a permit of its own, all of them tried."""
        can, move = self.capabilities, super().move
        size = min(can.bulk_delete, max(MOVES, -(-len(moves) // can.connections)))
        groups = (move(moves[start : start + size]) for start in range(0, len(moves), size))
        for failure in filter(None, await asyncio.gather(*groups, return_exceptions=True)):
            raise failure

    async def _timed(self, reading: Reading) -> AsyncIterator[Buffer]:
        while (data := await self._within(anext(reading.body, _END), "read", reading.meta.key)) is not _END:
            yield data  # type: ignore[misc]  # the sentinel is gone

    async def _step(self, found: AsyncIterator[T], op: str, prefix: Key) -> T | None:
        """The next entry, None behind the last; only one that doesn't come at once can be late.

        A deadline costs more than all other layers, and a folder's entries come by the thousand.
        """
        step = anext(found, None).__await__()
        try:
            waiting = step.send(None)
        except StopIteration as done:
            entry: T | None = done.value
            return entry
        return await self._within(_go_on(step, waiting), op, prefix)

    async def _within(
        self, result: Awaitable[T], op: str, key: Key, watched: _Watched | None = None, shares: int = 1
    ) -> T:
        if self._silence is None:
            return await result
        deadline = asyncio.timeout(self._silence * shares)
        try:
            async with deadline:
                if watched is not None:
                    watched.begin(deadline, self._silence)
                return await result
        except TimeoutError as error:
            if isinstance(error, StoreError) or not deadline.expired():
                raise
            raise self._too_long(op, key, shares) from None
        finally:
            if watched is not None:
                watched.end()

    def _too_long(self, op: str, key: Key, shares: int) -> StoreError:
        message = f"{self.info.name} gave no answer to {op} '{key}' for {(self._silence or 0) * shares:g} s."
        return store_error(Kind.TIMEOUT, message, retry=Retry.SOON, op=op, key=key, store=self.info.name)


class _LimitedBatches(LayerBatches):
    def __init__(self, limits: Limits, inner: Batches) -> None:
        super().__init__(limits, inner)
        self._limits = limits

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        if not objects:
            return []
        key, size = objects[0].meta.key, sum(len(each.data) for each in objects)
        shares = 1 + size // WRITE_SHARE
        return await self._limits.call_many("write_many", key, lambda: self._inner.write(objects), shares)

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        if not keys:
            return []
        shares = 1 + len(keys) // READ_SHARE
        return await self._limits.call_many("read_many", keys[0], lambda: self._inner.read(keys), shares)


class _LimitedListings(LayerListings):
    def __init__(self, limits: Limits, inner: Listings) -> None:
        super().__init__(limits, inner)
        self._limits = limits

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        if not folders:
            return []
        shares = 1 + len(folders) // READ_SHARE
        return await self._limits.call_many(
            "list_many", folders[0], lambda: self._inner.of(folders, most), shares
        )


class _LimitedUploads(LayerUploads):
    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        return await super().put(ref, number, _Watched(source))


class _Watched:
    """A source whose own silence isn't the store's: the deadline runs only while the store has a buffer."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.expected = source.expected
        self._deadline: asyncio.Timeout | None = None
        self._silence: float | None = None

    @property
    def size(self) -> int | None:
        return self._source.size

    @property
    def reopenable(self) -> bool:
        return self._source.reopenable

    def begin(self, deadline: asyncio.Timeout, silence: float | None) -> None:
        self._deadline, self._silence = deadline, silence

    def end(self) -> None:
        """The call is over; who reads the source still, or lets go of it late, changes no deadline."""
        self._deadline = None

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        async with closing(self._source.open(start)) as buffers:
            self._rest()
            try:
                async for data in buffers:
                    self._run()
                    yield data
                    self._rest()
            finally:
                self._run()  # a source that broke is the store's to clean up after, in time

    def _rest(self) -> None:
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(None)

    def _run(self) -> None:
        if self._deadline is not None and self._silence is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._silence)


@coroutine
def _go_on(step: Generator[Any, Any, T], waiting: Any) -> Generator[Any, Any, T]:
    """The rest of what was begun and waits for something."""
    while True:
        try:
            try:
                sent = yield waiting
            except BaseException as error:  # noqa: BLE001  (it's for whoever waits)
                waiting = step.throw(error)
            else:
                waiting = step.send(sent)
        except StopIteration as done:
            result: T = done.value
            return result


def _once(close: Callable[[], Awaitable[None]], release: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    """Close and give the permit back, the first time only."""
    pending = [release]

    async def closing() -> None:
        try:
            await close()
        finally:
            if pending:
                pending.pop()()

    return closing
