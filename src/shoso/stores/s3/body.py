"""What goes up: pieces of a source, and bodies whose every byte the storage compares with a hash."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import INLINE, Source, closing, complete, confirm, regroup
from shoso.core.types import Buffer
from shoso.errors import Kind, store_error
from shoso.stores.s3.signing import Seed

MIB = 1024 * 1024


@dataclass(slots=True)
class Piece:
    """Bytes in memory, in a few buffers; where `sent` is asked to be called, each is let go when it is."""

    buffers: list[Buffer] = field(default_factory=list)
    size: int = 0
    sent: Callable[[int], None] | None = None
    summed: str = ""

    def add(self, data: Buffer) -> None:
        """Put these behind."""
        self.buffers.append(data)
        self.size += len(data)

    async def sha256(self) -> str:
        """As the signature covers it."""
        if not self.summed:
            self.summed = (await self._hashed(hashlib.sha256)).hex()
        return self.summed

    async def md5(self) -> str:
        """As Content-MD5 has it, where no signature covers a body."""
        return base64.b64encode(await self._hashed(_md5)).decode()

    async def _hashed(self, make: Callable[[], hashlib._Hash]) -> bytes:
        def work() -> bytes:
            hasher = make()
            for data in self.buffers:
                hasher.update(data)
            return hasher.digest()

        return work() if self.size <= INLINE else await asyncio.to_thread(work)


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


class Pieces:
    """A source in pieces of exact sizes, digested as it passes; checked at its end."""

    def __init__(self, key: Key, source: Source, sizes: Iterator[int]) -> None:
        self._key, self._source, self._sizes = key, source, sizes
        self._digester = Digester()
        self.size = 0

    @property
    def digest(self) -> str:
        """Of the pieces so far."""
        return self._digester.hex()

    async def flow(self) -> AsyncIterator[Piece]:
        """The pieces; only the last may be smaller, and there is none without a byte.

        The last comes when the source has kept what it announced. Raises INCOMPLETE, CORRUPT.
        """
        piece, wanted = Piece(), next(self._sizes)
        async with closing(regroup(self._source.open())) as groups:
            async for group in groups:
                self._count(group)
                for data in group:
                    view = memoryview(data)
                    while piece.size + len(view) > wanted:
                        cut = wanted - piece.size
                        piece.add(view[:cut])
                        await self._hash(piece)
                        yield piece
                        piece, wanted, view = Piece(), next(self._sizes), view[cut:]
                    piece.add(view)
        complete(self._key, self._source, self.size)
        await self._hash(piece)
        confirm(self._key, self._source, self.digest)
        if piece.size:
            yield piece

    def _count(self, group: Sequence[Buffer]) -> None:
        self.size += sum(map(len, group))
        if self._source.size is not None and self.size > self._source.size:
            complete(self._key, self._source, self.size)

    async def _hash(self, piece: Piece) -> None:
        """Both hashes of a piece in one hop to a thread, which costs more than a MiB does."""

        def work() -> str:
            hasher = hashlib.sha256()
            for data in piece.buffers:
                self._digester.update(data)
                hasher.update(data)
            return hasher.hexdigest()

        piece.summed = work() if piece.size <= INLINE else await asyncio.to_thread(work)


class Whole(Payload):
    """A body in memory; it may be sent again on a fresh connection, unless it is let go as it's sent."""

    def __init__(self, piece: Piece) -> None:
        super().__init__(piece)
        self._piece = piece
        self._size = piece.size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Nothing prints it."""
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it."""
        if sum(map(len, self._piece.buffers)) != self._size:
            raise ConnectionResetError  # aiohttp tries again what it has sent on a connection that was stale
        if self._piece.sent is None:
            for data in self._piece.buffers:
                await writer.write(_flat(data))
            return
        while self._piece.buffers:
            data = self._piece.buffers.pop(0)
            await writer.write(_flat(data))
            self._piece.sent(len(data))


def _flat(data: Buffer) -> bytes | memoryview:
    return data if isinstance(data, bytes) else memoryview(data).cast("B")


FRAME = MIB
_TAIL = len(";chunk-signature=") + 64 + len("\r\n\r\n")


def framed_size(size: int) -> int:
    """Bytes of a signed stream of `size` bytes (Amazon S3 API reference, "Signature calculation: chunks")."""
    whole, rest = divmod(size, FRAME)
    total = whole * (FRAME + len(f"{FRAME:x}") + _TAIL)
    return total + (rest + len(f"{rest:x}") + _TAIL if rest else 0) + 1 + _TAIL


class Stream:
    """A body that passes through, announced with its size; the last bytes go when all of it was right.

    `failure` is what the source raised, which aiohttp would hide in an error of the connection.
    """

    def __init__(self, key: Key, source: Source, size: int) -> None:
        self._source, self.size = source, size
        self._pieces = Pieces(key, source, iter(lambda: FRAME, 0))
        self.failure: Exception | None = None

    async def plain(self) -> AsyncIterator[bytes]:
        """As it is."""
        async for piece in self._watched():
            for data in piece.buffers:
                yield data if isinstance(data, bytes) else bytes(data)

    async def framed(self, seed: Seed) -> AsyncIterator[bytes]:
        """In chunks that are signed one by one."""
        previous = seed.signature
        async for piece in self._watched():
            previous = seed.sign(previous, await piece.sha256())
            yield f"{piece.size:x};chunk-signature={previous}\r\n".encode()
            for data in piece.buffers:
                yield data if isinstance(data, bytes) else bytes(data)
            yield b"\r\n"
        last = seed.sign(previous, hashlib.sha256().hexdigest())
        yield f"0;chunk-signature={last}\r\n\r\n".encode()

    async def _watched(self) -> AsyncIterator[Piece]:
        try:
            async for piece in self._pieces.flow():
                yield piece
        except Exception as error:
            self.failure = error
            raise


async def buffered(key: Key, source: Source, most: int) -> Piece:
    """All of a source that is small. Raises INCOMPLETE, CORRUPT; TOO_LARGE where it is more than `most`."""
    pieces, whole = Pieces(key, source, iter((most, 1))), Piece()
    async with closing(pieces.flow()) as flow:
        async for piece in flow:
            if whole.size:
                message = f"'{key}' has more than {most} bytes; announce its size."
                raise store_error(Kind.TOO_LARGE, message, key=key)
            whole = piece
    return whole
