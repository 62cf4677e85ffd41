"""A limit on what is read from a store, in bytes a second, however many read at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import Source, closing
from shoso.core.types import Buffer, ByteRange, Reading, SmallObject
from shoso.layers.layer import Attempt, Layer, T


class Pace:
    """So many bytes a second, in all."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._due = time.monotonic()

    async def take(self, size: int) -> None:
        """Wait until so many bytes may have passed."""
        self._due = max(self._due, time.monotonic()) + size / self._rate
        await asyncio.sleep(self._due - time.monotonic())


class Paced(Layer):
    """A store that is read at that pace."""

    def __init__(self, inner: Store, pace: Pace) -> None:
        super().__init__(inner)
        self._pace = pace

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        reading = await super().open(key, wanted, if_match)
        return replace(reading, body=self._passing(reading.body))

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer; a batch is paid for when it has come."""
        outcome = await super().call(op, key, attempt, source)
        if isinstance(outcome, list):
            await self._pace.take(sum(len(one.data) for one in outcome if isinstance(one, SmallObject)))
        return outcome

    async def _passing(self, body: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        async with closing(body):
            async for data in body:
                await self._pace.take(len(data))
                yield data
