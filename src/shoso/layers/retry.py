"""retry: the only retry loop. What may succeed later is tried again; the rest passes through.

A body that breaks off is reopened where it stopped, bound to the same etag, so that a reader never gets the
halves of two versions. A call that sends a body is tried again only if its source can be opened again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from shoso.core.keys import Key
from shoso.core.store import Store, order
from shoso.core.streams import Source, closing
from shoso.core.types import Buffer, ByteRange, FromTo, ObjectMeta, Prefix, Reading
from shoso.errors import Kind, Retry, StoreError
from shoso.layers.layer import Attempt, Begin, Layer, T

_LATER = {Retry.SOON, Retry.AFTER}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most `attempts` tries; waits of `first` × 2ⁿ seconds, at most `longest`, half of it at random.

    Once `patience` seconds are over, a store that gave no answer isn't asked again: who has waited for it
    once isn't kept for three times more. A pause that the store asks for is kept as it is; a longer one than
    `patience` is the caller's.
    """

    attempts: int = 4
    first: float = 0.1
    longest: float = 10.0
    patience: float = 60.0


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

    async def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """See Layer; a listing that breaks off goes on behind what it has shown, if the store sorts."""
        again = _Again(self._policy, possible=True)
        while True:
            try:
                async with closing(begin(after)) as found:
                    async for entry in found:
                        after = order(entry) if isinstance(entry, ObjectMeta | Prefix) else None
                        again.progress(possible=after is not None and self.capabilities.sorted_list)
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
        self._since = time.monotonic()
        self._possible = possible

    def progress(self, possible: bool) -> None:
        """Something has come: what follows has all its attempts again, if it is `possible` to go on there."""
        self._tries = 1
        self._since = time.monotonic()
        self._possible = possible

    async def wait(self, error: StoreError) -> None:
        """Sleep before the next attempt, or raise `error` where there is none."""
        if error.retry not in _LATER:
            raise error
        asked = error.retry_after or 0.0
        waited = time.monotonic() - self._since if error.kind is Kind.TIMEOUT else 0.0
        in_time = waited + asked <= self._policy.patience
        if not self._possible or self._tries >= self._policy.attempts or not in_time:
            error.retry = Retry.EXHAUSTED
            raise error
        pause = min(self._policy.longest, self._policy.first * 2 ** (self._tries - 1))
        self._tries += 1
        await asyncio.sleep(asked or pause * (0.5 + random.random() / 2))  # noqa: S311


class _Resumed:
    """A body over several connections."""

    def __init__(self, store: Store, reading: Reading, policy: RetryPolicy) -> None:
        self._store = store
        self._reading = reading
        self._policy = policy

    async def body(self) -> AsyncIterator[Buffer]:
        position, stop = self._reading.start, self._reading.stop
        again = _Again(self._policy, possible=self._resumable())
        while True:
            try:
                async for data in self._reading.body:
                    position += len(data)
                    again.progress(possible=self._resumable())
                    yield data
            except StoreError as error:
                await self._reading.close()
                if position == stop and error.retry in _LATER:
                    return  # every byte is there; that the connection broke behind the last is nobody's loss
                await again.wait(error)
            else:
                return
            await self._reopen(position, stop, again)

    def _resumable(self) -> bool:
        """Without an etag the rest might be another version's."""
        return self._store.capabilities.ranges and self._reading.meta.etag is not None

    async def _reopen(self, position: int, stop: int, again: _Again) -> None:
        meta = self._reading.meta
        while True:
            try:
                self._reading = await self._store.read(meta.key, FromTo(position, stop), meta.etag)
            except StoreError as error:
                await again.wait(error)
            else:
                return

    async def close(self) -> None:
        await self._reading.close()
