"""Bytes on the move: sources that can be opened again, and iterators that regroup and verify."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

from shoso.core import digest
from shoso.core.types import Buffer, Reading
from shoso.errors import Kind, store_error

CHUNK = 1024 * 1024
"""Bytes in a buffer: large enough that a thread hop (60 µs) costs little beside copying it (100 µs)."""

INLINE = 64 * 1024
"""Below this a digest is cheaper on the loop than in a thread."""

MANY = 1024
"""Buffers in a group, so that a sender of single bytes doesn't make a million objects of one MiB."""

T = TypeVar("T")


class Source(Protocol):
    """Bytes to write.

    `size` in bytes where it's known; `reopenable` says whether `open` may be called again, at any `start`,
    as a retry must. `expected` is the digest that the sender claims, known at the latest when the bytes
    have been read to the end; a store compares before it commits. A buffer is never changed once it has been
    handed over: a store may still hold it when it asks for the next.
    """

    @property
    def size(self) -> int | None: ...
    @property
    def reopenable(self) -> bool: ...
    def open(self, start: int = 0) -> AsyncIterator[Buffer]: ...
    def expected(self) -> str | None: ...


class BytesSource:
    """Bytes in memory."""

    reopenable = True

    def __init__(self, data: Buffer, expected: str | None = None) -> None:
        self._data = data
        self._expected = expected

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._data)

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        """The bytes from `start` on."""
        view = memoryview(self._data)
        for offset in range(start, len(view), CHUNK):
            yield view[offset : offset + CHUNK]

    def expected(self) -> str | None:
        """The digest the caller gave."""
        return self._expected


class StreamSource:
    """Bytes that come once, e.g. the body of a request."""

    reopenable = False

    def __init__(
        self, stream: AsyncIterable[Buffer], size: int | None = None, expected: str | None = None
    ) -> None:
        self._stream = stream
        self._size = size
        self._expected = expected
        self._opened = False

    @property
    def size(self) -> int | None:
        """Bytes, where announced."""
        return self._size

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        """The stream; it can be read only once, from the start. Raises UNSUPPORTED the second time."""
        if start or self._opened:
            raise store_error(Kind.UNSUPPORTED, "A stream can't be read a second time; send it again.")
        self._opened = True
        async for data in self._stream:
            yield data

    def expected(self) -> str | None:
        """The digest the caller gave."""
        return self._expected


def complete(key: str, source: Source, size: int) -> None:
    """Raise StoreError(INCOMPLETE) unless `size` is what the sender announced, if it announced one."""
    if source.size is not None and source.size != size:
        message = f"'{key}' has {size} bytes where {source.size} were announced; nothing was kept."
        raise store_error(Kind.INCOMPLETE, message, op="write", key=key)


def confirm(key: str, source: Source, actual: str) -> None:
    """Raise StoreError(CORRUPT) unless `actual` is the digest the sender claimed, if it claimed one."""
    expected = source.expected()
    if expected is not None and expected != actual:
        raise digest.mismatch(key, expected, actual)


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close the iterator on leaving: the file or connection behind it doesn't wait to be collected."""
    try:
        yield stream
    finally:
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


async def grouped(items: AsyncIterator[T], most: int) -> AsyncIterator[list[T]]:
    """The items in lists of so many; the last may have fewer."""
    group: list[T] = []
    async with closing(items):
        async for item in items:
            group.append(item)
            if len(group) == most:
                yield group
                group = []
    if group:
        yield group


async def regroup(stream: AsyncIterator[Buffer], size: int = CHUNK) -> AsyncIterator[list[Buffer]]:
    """The same bytes in groups of at least `size` (the last may be smaller); only crumbs are copied."""
    group: list[Buffer] = []
    held = 0
    async with closing(stream):
        async for data in stream:
            if not data:
                continue
            group.append(data)
            held += len(data)
            if held >= size:
                yield group
                group, held = [], 0
            elif len(group) >= MANY:
                group = [b"".join(group)]
    if group:
        yield group


async def verified(reading: Reading) -> AsyncIterator[Buffer]:
    """The body of a whole object; the last buffer is handed on only when size and digest are right.

    So a reader that gets everything got what was put in, and any other reader sees a body cut short.
    Raises StoreError(CORRUPT).
    """
    digester = digest.Digester()
    async with closing(reading.body) as body:
        async for data in body:
            if len(data) > INLINE:
                await asyncio.to_thread(digester.update, data)
            else:
                digester.update(data)
            if digester.size >= reading.size:
                _check(reading, digester)
            yield data
    _check(reading, digester)


def _check(reading: Reading, digester: digest.Digester) -> None:
    expected = reading.meta.digest
    if digester.size != reading.size or (expected is not None and digester.hex() != expected):
        raise digest.mismatch(reading.meta.key, expected or f"{reading.size} bytes", digester.hex())
