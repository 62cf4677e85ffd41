"""Sources that behave, and sources that don't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

from shoso.core.streams import BytesSource, StreamSource
from shoso.core.types import Buffer


class SourceBroke(Exception):
    """What a broken source raises: no error of the store's."""


def stream(buffers: Iterable[Buffer], size: int | None = None, expected: str | None = None) -> StreamSource:
    """These buffers, once."""

    async def flow() -> AsyncIterator[Buffer]:
        for data in buffers:
            yield data

    return StreamSource(flow(), size, expected)


def breaking(data: bytes) -> StreamSource:
    """All of `data`, then SourceBroke where the end should be."""

    async def flow() -> AsyncIterator[Buffer]:
        async for buffer in BytesSource(data).open():
            yield buffer
        raise SourceBroke

    return StreamSource(flow())


class Paused:
    """`data` up to `pause`, then nothing until `go` is set, then the rest.

    `waiting` is set when the pause is reached, `closed` when whoever read it is done with it.
    """

    reopenable = False

    def __init__(self, data: bytes, pause: int, announced: bool = True) -> None:
        self._data, self._pause, self._announced = data, pause, announced
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()
        self.closed = False

    @property
    def size(self) -> int | None:
        return len(self._data) if self._announced else None

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        try:
            async for buffer in BytesSource(self._data[: self._pause]).open():
                yield buffer
            self.waiting.set()
            await self.go.wait()
            async for buffer in BytesSource(self._data[self._pause :]).open():
                yield buffer
        finally:
            self.closed = True

    def expected(self) -> str | None:
        return None


class Endless:
    """`size` bytes made as they are asked for, in buffers of `step`; may be opened again."""

    reopenable = True

    def __init__(self, size: int, step: int = 256 * 1024, announced: bool = True) -> None:
        self._size, self._step, self._announced = size, step, announced

    @property
    def size(self) -> int | None:
        return self._size if self._announced else None

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        for place in range(start, self._size, self._step):
            length = min(self._step, self._size - place)
            yield place.to_bytes(8) * (length // 8) + b"." * (length % 8)

    def expected(self) -> str | None:
        return None
