"""sending: bytes on their way into one object, compared with what arrives before the object appears.

What is small goes in one request with its CRC32C and BLAKE3. What is larger goes by a resumable session: its
last bytes are held back until all are known to be right, and are sent with the CRC32C of the whole, so that
Cloud Storage refuses what was damaged on the way; a session that isn't finished leaves no object. The BLAKE3
is put into the object's metadata then: that is no new generation.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import aiohttp
import msgspec

from shoso.core.keys import Key
from shoso.core.streams import CHUNK, INLINE, Source, closing, complete, confirm
from shoso.core.types import Buffer
from shoso.errors import Kind, Retry, StoreError
from shoso.stores.gcs.api import DIGEST, FIELDS, Api, Item
from shoso.stores.gcs.pieces import CLEANUP, Body, Piece, Sums, cut, drained

SMALL = 8 * CHUNK
"""Bytes that are sent in one request, and kept until then; a session takes two requests more."""

DEFAULT_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Target:
    """The object to write: its whole name, the generation that must be there, its type, its metadata."""

    name: str
    generation: int | None = None
    content_type: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def condition(self) -> dict[str, str]:
        """The precondition, as a query."""
        return {} if self.generation is None else {"ifGenerationMatch": str(self.generation)}

    def resource(self, **more: str) -> dict[str, object]:
        """The object to be, as the API wants it described."""
        kind = self.content_type or ""
        usable = kind.isascii() and kind.isprintable() and kind
        return {
            "name": self.name,
            "contentType": usable or DEFAULT_TYPE,
            "metadata": {**self.metadata},
            **more,
        }


async def send(api: Api, op: str, key: Key, target: Target, source: Source, chunk: int | None) -> Item:
    """The object as written, in requests of at most `chunk` bytes. Raises StoreError, or the source's."""
    small = min(SMALL, chunk or SMALL)
    size = small if source.size is None or source.size <= small else min(CHUNK, small)
    async with closing(cut(source.open(), size)) as pieces:
        sending = _Sending(api, op, key, target, source, pieces, size, chunk)
        return await sending.run()


class _Sending:
    """One source, one object."""

    def __init__(
        self, api: Api, op: str, key: Key, target: Target, source: Source, pieces: AsyncIterator[Piece],
        step: int, chunk: int | None,
    ) -> None:  # fmt: skip
        self._api, self._op, self._key, self._target = api, op, key, target
        self._source, self._pieces, self._step = source, pieces, step
        self._most = chunk or source.size or step
        self._sums = Sums()
        if (claimed := source.expected()) is not None:  # compared before the object appears
            self._target = replace(target, metadata={**target.metadata, DIGEST: claimed})

    async def run(self) -> Item:
        piece = await anext(self._pieces)
        if piece.last:
            await self._finished(piece)
            return await self._compared(await self._at_once(piece))
        item = await self._compared(await self._by_session(piece))
        return await self._with_digest(item)

    async def _finished(self, last: Piece) -> None:
        """Nothing more comes: is it what was announced? Raises INCOMPLETE, CORRUPT."""
        await self._sums.take(last.buffers, last.size)
        complete(self._key, self._source, self._sums.size)
        confirm(self._key, self._source, self._sums.digest)

    # -- in one request -----------------------------------------------------------------------------------

    async def _at_once(self, piece: Piece) -> Item:
        """The metadata and the bytes as multipart/related."""
        metadata = {**self._target.metadata, DIGEST: self._sums.digest}
        described = self._target.resource(crc32c=self._sums.crc32c) | {"metadata": metadata}
        mark = secrets.token_hex(16)
        head = (
            f"--{mark}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n".encode()
            + msgspec.json.encode(described)
            + f"\r\n--{mark}\r\ncontent-type: {described['contentType']}\r\n\r\n".encode()
        )
        parts: list[Buffer] = [head, *piece.buffers, f"\r\n--{mark}--\r\n".encode()]
        size = sum(map(len, parts))
        if size <= INLINE:
            parts = [b"".join(parts)]  # one packet, where it fits in one
        body = Body(drained(parts))
        headers = {"content-type": f"multipart/related; boundary={mark}", "content-length": str(size)}
        query = {"uploadType": "multipart", "fields": FIELDS, **self._target.condition}
        return await self._sent("POST", self._api.objects(root="upload/storage/v1"), query, headers, body)

    # -- by a session -------------------------------------------------------------------------------------

    async def _by_session(self, piece: Piece) -> Item:
        session = await self._begun()
        try:
            while not piece.last:
                piece = await self._some(session, piece)
            await self._finished(piece)
            start, stop = self._sums.size - piece.size, self._sums.size
            headers = {
                "content-range": f"bytes {start}-{stop - 1}/{stop}",
                "content-length": str(piece.size),
                "x-goog-hash": f"crc32c={self._sums.crc32c}",
            }
            return await self._sent("PUT", session, {}, headers, Body(drained(piece.buffers)))
        except BaseException:
            await self._tidied("DELETE", session, {})
            raise

    async def _begun(self) -> str:
        query = {"uploadType": "resumable", "fields": FIELDS, **self._target.condition}
        url, described = self._api.objects(root="upload/storage/v1"), self._target.resource()
        headers = {"content-type": "application/json; charset=utf-8"}
        data = msgspec.json.encode(described)
        async with self._api.reply(self._op, self._key, "POST", url, query, headers, data) as reply:
            try:
                return reply.headers["location"]
            except KeyError as error:
                raise self._api.faults.failed(error, self._op, self._key) from error

    async def _some(self, session: str, piece: Piece) -> Piece:
        """One request of as many pieces as it may hold; the piece behind it."""
        start, announced = self._sums.size, self._source.size
        if announced is not None and start + piece.size >= announced:
            complete(self._key, self._source, start + piece.size + 1)  # there is more: raises INCOMPLETE
        ahead = (announced or 0) - start - 1  # the last piece, of a byte at least, isn't among them
        count = max(1, min(ahead, self._most) // self._step)
        stop = start + count * self._step
        headers = {
            "content-range": f"bytes {start}-{stop - 1}/{announced or '*'}",
            "content-length": str(stop - start),
        }
        body = Body(self._run(piece, count))
        async with self._reply("PUT", session, {}, headers, body) as reply:
            if reply.status != 308 or reply.headers.get("range", "").rpartition("-")[2] != str(stop - 1):
                message = f"{self._api.bucket} has lost a part of '{self._key}' on its way; send it again."
                raise self._api.faults.error(Kind.UNAVAILABLE, self._op, self._key, message, Retry.SOON)
        return await anext(self._pieces)

    async def _run(self, piece: Piece, count: int) -> AsyncGenerator[Buffer]:
        for number in range(count):
            following = piece if number == 0 else await anext(self._pieces)
            if following.last:
                await self._finished(following)  # which it isn't: raises INCOMPLETE
            await self._sums.take(following.buffers, following.size)
            async for data in drained(following.buffers):
                yield data

    # -- afterwards ---------------------------------------------------------------------------------------

    async def _compared(self, item: Item) -> Item:
        """What is stored is what was sent: Cloud Storage refuses it otherwise, not so an emulator."""
        if item.crc32c in {"", self._sums.crc32c} and item.size == self._sums.size:
            return item
        generation = {"ifGenerationMatch": str(item.generation)}
        await self._tidied("DELETE", self._api.objects(self._target.name), generation)
        message = f"'{self._key}' arrived damaged in {self._api.bucket}; nothing was kept."
        raise self._api.faults.error(Kind.CORRUPT, self._op, self._key, message, Retry.SOON)

    async def _with_digest(self, item: Item) -> Item:
        """The same object with its digest, kept with it if that can be: the object is whole all the same."""
        if self._target.metadata.get(DIGEST) == self._sums.digest:
            return item
        described = {"metadata": {**self._target.metadata, DIGEST: self._sums.digest}}
        query = {"ifGenerationMatch": str(item.generation), "fields": "generation"}
        url = self._api.objects(self._target.name)
        with suppress(StoreError):
            await self._api.ask(object, self._op, self._key, "PATCH", url, query, described)
        item.metadata = described["metadata"]
        return item

    async def _tidied(self, method: str, url: str, query: dict[str, str]) -> None:
        """Remove what isn't to be; what can't be removed in time expires by itself."""
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(CLEANUP):
                await self._api.ask(object, "abort", self._key, method, url, query)

    # -- requests with a body -----------------------------------------------------------------------------

    async def _sent(
        self, method: str, url: str, query: dict[str, str], headers: dict[str, str], body: Body
    ) -> Item:
        async with self._reply(method, url, query, headers, body) as reply:
            return await self._api.decoded(Item, self._op, self._key, reply)

    @asynccontextmanager
    async def _reply(
        self, method: str, url: str, query: dict[str, str], headers: dict[str, str], body: Body
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._api.reply(self._op, self._key, method, url, query, headers, body) as reply:
                yield reply
        except StoreError:
            if body.failure is not None:
                raise body.failure from None
            raise
        finally:
            await body.close()
