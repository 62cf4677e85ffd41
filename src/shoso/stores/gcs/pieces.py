"""pieces: a source cut to the size of requests, summed up as it passes, and made a body of a request."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import google_crc32c

from shoso.core.digest import Digester
from shoso.core.streams import INLINE, closing, regroup
from shoso.core.types import Buffer

CLEANUP = 5.0
"""Seconds that a failed write may take to clean up."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Buffers in a row; the last piece of a source is marked."""

    buffers: list[Buffer]
    size: int
    last: bool


async def cut(stream: AsyncIterator[Buffer], size: int) -> AsyncIterator[Piece]:
    """The same bytes in pieces of exactly `size`, but for the last: empty only where there are no bytes."""
    held: list[Buffer] = []
    length = 0
    async with closing(regroup(stream)) as groups:
        async for group in groups:
            for data in group:
                view = memoryview(data)
                while length + len(view) > size:
                    piece = Piece([*held, view[: size - length]], size, last=False)
                    view, held, length = view[size - length :], [], 0
                    yield piece
                held.append(data if len(view) == len(data) else view)
                length += len(view)
    yield Piece(held, length, last=True)


class Sums:
    """The BLAKE3 and the CRC32C of what has passed."""

    def __init__(self) -> None:
        self._digester = Digester()
        self._crc: Any = google_crc32c.Checksum()  # type: ignore[no-untyped-call]

    async def take(self, buffers: Sequence[Buffer], size: int) -> None:
        """Take in the next `size` bytes, in a thread if that's worth it."""
        if size > INLINE:
            await asyncio.to_thread(self._take, buffers)
        else:
            self._take(buffers)

    def _take(self, buffers: Sequence[Buffer]) -> None:
        for data in buffers:
            self._digester.update(data)
            self._crc.update(data if isinstance(data, bytes) else bytes(data))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._digester.size

    @property
    def digest(self) -> str:
        """BLAKE3 in hex."""
        return self._digester.hex()

    @property
    def crc32c(self) -> str:
        """CRC32C in base64, as Cloud Storage shows it."""
        return base64.b64encode(self._crc.digest()).decode()


async def drained(buffers: list[Buffer]) -> AsyncGenerator[Buffer]:
    """These buffers; each is let go of when the next is asked for, so that two pieces never fill memory."""
    buffers.reverse()
    while buffers:
        yield buffers.pop()


class Body:
    """The body of a request; it remembers why it broke off, which aiohttp would hide."""

    def __init__(self, buffers: AsyncGenerator[Buffer]) -> None:
        self._buffers = buffers
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Buffer:
        self._idle.clear()
        try:
            return await anext(self._buffers)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.failure = error
            raise
        finally:
            self._idle.set()

    async def close(self) -> None:
        """Nobody is at the buffers any more: aiohttp lets go of a body only after its request has failed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLEANUP):
                await self._idle.wait()
        await self._buffers.aclose()
