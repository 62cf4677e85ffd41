"""observe: one span a user's call, with its outcome; whoever wants to count or log gives a sink."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import Source
from shoso.core.types import Buffer, ByteRange, Reading
from shoso.errors import StoreError
from shoso.layers.layer import Attempt, Layer, T

_log = logging.getLogger("shoso.store")


@dataclass(frozen=True, slots=True)
class Span:
    """A call on a store: how long it took in seconds, how many bytes its body had, how it failed."""

    store: str
    op: str
    key: str
    seconds: float
    size: int = 0
    error: StoreError | None = None


Sink = Callable[[Span], None]


def log(span: Span) -> None:
    """The sink of the standard stack: a line at DEBUG; whoever called reports a failure to its user."""
    outcome = "done" if span.error is None else span.error.kind.value
    _log.debug("%s %s %s %s %d bytes %.3f s", span.store, span.op, span.key, outcome, span.size, span.seconds)


class Observe(Layer):
    """Reports each call to a sink when it ends; a read ends with its body."""

    def __init__(self, inner: Store, sink: Sink) -> None:
        super().__init__(inner)
        self._sink = sink

    def _report(
        self, op: str, key: Key, start: float, size: int = 0, error: StoreError | None = None
    ) -> None:
        self._sink(Span(self.info.name, op, key, time.monotonic() - start, size, error))

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer."""
        start = time.monotonic()
        try:
            result = await attempt()
        except StoreError as error:
            self._report(op, key, start, error=error)
            raise
        self._report(op, key, start, (source.size or 0) if source else 0)
        return result

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        start = time.monotonic()
        try:
            reading = await self.inner.read(key, wanted, if_match)
        except StoreError as error:
            self._report("read", key, start, error=error)
            raise
        return replace(reading, body=self._observed(reading, start))

    async def _observed(self, reading: Reading, start: float) -> AsyncIterator[Buffer]:
        size = 0
        try:
            async for data in reading.body:
                size += len(data)
                yield data
        except StoreError as error:
            self._report("read", reading.meta.key, start, size, error)
            raise
        self._report("read", reading.meta.key, start, size)
