"""limits: no more calls under way than the store takes, and none that lasts for ever.

The permit comes first and isn't charged to the deadline; a body holds its permit until it is closed. The
deadline is one of silence: each call and each buffer gets it anew, so that a large object over a slow link
is fine and a dead connection is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import Source, closing
from shoso.core.types import Buffer, ByteRange, Reading
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers.layer import Attempt, Begin, Layer, T

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
            if source is not None or op == "finish":
                return await attempt()
            return await self._within(attempt(), op, key)

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
                    entry = await self._within(anext(found, None), op, prefix)
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

    async def _timed(self, reading: Reading) -> AsyncIterator[Buffer]:
        while (data := await self._within(anext(reading.body, _END), "read", reading.meta.key)) is not _END:
            yield data  # type: ignore[misc]  # the sentinel is gone

    async def _within(self, result: Awaitable[T], op: str, key: Key) -> T:
        try:
            async with asyncio.timeout(self._silence):
                return await result
        except StoreError:
            raise
        except TimeoutError:
            raise self._too_long(op, key) from None

    def _too_long(self, op: str, key: Key) -> StoreError:
        message = f"{self.info.name} gave no answer to {op} '{key}' for {self._silence:g} s."
        return store_error(Kind.TIMEOUT, message, retry=Retry.SOON, op=op, key=key, store=self.info.name)


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
