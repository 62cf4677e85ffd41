"""retry: the only retry loop. What may succeed later is tried again; the rest passes through.

A body that breaks off is reopened where it stopped, bound to the same etag, so that a reader never gets the
halves of two versions. A call that sends a body is tried again only if its source can be opened again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from shoso.core.keys import Key
from shoso.core.store import Store, order
from shoso.core.streams import Source
from shoso.core.types import ALL, Buffer, ByteRange, Entry, FromTo, Reading
from shoso.errors import Retry, StoreError
from shoso.layers.layer import Attempt, Layer, T


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries; waits of `first` × 2ⁿ seconds, at most `longest`, half of it at random."""

    attempts: int = 4
    first: float = 0.1
    longest: float = 10.0


class RetryLayer(Layer):
    """Tries again by a policy; an error that outlives it is marked EXHAUSTED."""

    def __init__(self, inner: Store, policy: RetryPolicy) -> None:
        super().__init__(inner)
        self._policy = policy

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer."""
        again = _Again(self._policy, possible=source is None or source.reopenable)
        while True:
            try:
                return await attempt()
            except StoreError as error:
                await again.wait(error)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        reading = await self.call("read", key, lambda: self.inner.read(key, wanted, if_match))
        resumed = _Resumed(self.inner, reading, self._policy)
        return replace(reading, body=resumed.body(), close=resumed.close)

    async def entries(self, prefix: Key, deep: bool, after: str | None) -> AsyncIterator[Entry]:
        """See Layer; a listing that breaks off goes on behind what it has shown, if the store sorts."""
        again = _Again(self._policy, possible=True)
        while True:
            try:
                async for entry in self.inner.list(prefix, deep, after):
                    after = order(entry)
                    again.possible = self.capabilities.sorted_list
                    yield entry
            except StoreError as error:
                await again.wait(error)
            else:
                return


class _Again:
    """The waits between the attempts of one call."""

    def __init__(self, policy: RetryPolicy, possible: bool) -> None:
        self._policy = policy
        self._tries = 1
        self.possible = possible

    async def wait(self, error: StoreError) -> None:
        """Sleep before the next attempt, or raise `error` where there is none."""
        if error.retry not in {Retry.SOON, Retry.AFTER}:
            raise error
        if not self.possible or self._tries >= self._policy.attempts:
            error.retry = Retry.EXHAUSTED
            raise error
        pause = min(self._policy.longest, self._policy.first * 2 ** (self._tries - 1))
        self._tries += 1
        await asyncio.sleep(error.retry_after or pause * (0.5 + random.random() / 2))  # noqa: S311


class _Resumed:
    """A body over several connections."""

    def __init__(self, store: Store, reading: Reading, policy: RetryPolicy) -> None:
        self._store = store
        self._reading = reading
        self._policy = policy

    async def body(self) -> AsyncIterator[Buffer]:
        position, stop = self._reading.start, self._reading.stop
        again = _Again(self._policy, possible=self._store.capabilities.ranges)
        while True:
            try:
                async for data in self._reading.body:
                    position += len(data)
                    yield data
            except StoreError as error:
                await self._reading.close()
                await again.wait(error)
            else:
                return
            await self._reopen(position, stop, again)

    async def _reopen(self, position: int, stop: int, again: _Again) -> None:
        meta = self._reading.meta
        wanted = FromTo(position, stop) if position < stop else ALL
        while True:
            try:
                self._reading = await self._store.read(meta.key, wanted, meta.etag)
            except StoreError as error:
                await again.wait(error)
            else:
                return

    async def close(self) -> None:
        await self._reading.close()
