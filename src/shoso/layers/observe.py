"""observe: one span a user's call, with its outcome; whoever wants to count or log gives a sink."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import Source, closing
from shoso.core.types import Buffer, ByteRange, ObjectMeta, Part, Reading
from shoso.errors import StoreError
from shoso.layers.layer import Attempt, Begin, Layer, T

_log = logging.getLogger("shoso.store")


@dataclass(frozen=True, slots=True)
class Span:
    """A call on a store: how long it took in seconds, how many bytes its body had, how it failed.

    `error` may be another's too: a source's, or a cancellation.
    """

    store: str
    op: str
    key: str
    seconds: float
    size: int = 0
    error: BaseException | None = None


Sink = Callable[[Span], None]


def log(span: Span) -> None:
    """The sink of the standard stack: a line at DEBUG; whoever called reports a failure to its user."""
    outcome = _outcome(span.error)
    _log.debug("%s %s %s %s %d bytes %.3f s", span.store, span.op, span.key, outcome, span.size, span.seconds)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    return error.kind.value if isinstance(error, StoreError) else type(error).__name__


class Observe(Layer):
    """Reports each call to a sink when it ends; a read ends with its body, or when it is closed before."""

    def __init__(self, inner: Store, sink: Sink) -> None:
        super().__init__(inner)
        self._sink = sink

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer."""
        watch = _Watch(self.info.name, op, key, self._sink)
        try:
            result = await attempt()
        except BaseException as error:
            watch.end(error)
            raise
        if source is not None and isinstance(result, ObjectMeta | Part):
            watch.size = result.size
        watch.end()
        return result

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        watch = _Watch(self.info.name, "read", key, self._sink)
        try:
            reading = await self.inner.read(key, wanted, if_match)
        except BaseException as error:
            watch.end(error)
            raise

        async def close() -> None:
            watch.end()
            await reading.close()

        return replace(reading, body=watch.body(reading.body), close=close)

    async def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """See Layer; a listing that is left in its middle ends there."""
        watch = _Watch(self.info.name, op, prefix, self._sink)
        try:
            async with closing(begin(after)) as found:
                async for entry in found:
                    yield entry
        except GeneratorExit:
            watch.end()
            raise
        except BaseException as error:
            watch.end(error)
            raise
        watch.end()


class _Watch:
    """A call under way; its end is reported once."""

    def __init__(self, store: str, op: str, key: Key, sink: Sink) -> None:
        self._store, self._op, self._key, self._sink = store, op, key, sink
        self._start = time.monotonic()
        self._over = False
        self.size = 0

    def end(self, error: BaseException | None = None) -> None:
        if not self._over:
            self._over = True
            seconds = time.monotonic() - self._start
            self._sink(Span(self._store, self._op, self._key, seconds, self.size, error))

    async def body(self, buffers: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
        """The same, counted; whoever leaves it in its middle closes the reading."""
        try:
            async for data in buffers:
                self.size += len(data)
                yield data
        except GeneratorExit:
            raise
        except BaseException as error:
            self.end(error)
            raise
        self.end()
