"""faults: a store that misbehaves to order, so that the other layers can be tested on any store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import Source, closing
from shoso.core.types import Buffer, ByteRange, Reading
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers.layer import Attempt, Begin, Layer, T


def dropped() -> StoreError:
    """The error of a lost connection."""
    return store_error(Kind.UNAVAILABLE, "The connection was lost (injected).", retry=Retry.SOON)


class Faults(Layer):
    """Draws from `plan` at every call, at every buffer of a body and at every listed entry.

    An exception drawn is raised there; None lets it pass. An exhausted plan lets everything pass.
    """

    def __init__(self, inner: Store, plan: Iterator[StoreError | None]) -> None:
        super().__init__(inner)
        self._plan = plan

    def _draw(self) -> None:
        if (fault := next(self._plan, None)) is not None:
            raise fault

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer."""
        self._draw()
        return await super().call(op, key, attempt, source)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        self._draw()
        reading = await super().open(key, wanted, if_match)
        return replace(reading, body=self._broken(reading))

    async def _broken(self, reading: Reading) -> AsyncIterator[Buffer]:
        async for data in reading.body:
            self._draw()
            yield data

    async def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """See Layer."""
        async with closing(super().listing(op, prefix, begin, after)) as found:
            async for entry in found:
                self._draw()
                yield entry
