"""A write: small objects in one request, large ones in parts that are sent at once, within a window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from itertools import count, repeat
from typing import Any

from shoso.core.keys import Key
from shoso.core.streams import Source, closing
from shoso.core.types import CREATE, IfMatch, ObjectMeta, Part, WriteMode
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.s3.body import MIB, Piece, Pieces
from shoso.stores.s3.connection import Connection
from shoso.stores.s3.documents import bare, http_moment
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.signing import Headers
from shoso.stores.s3.tags import DIGEST, Tags
from shoso.stores.s3.uploads import S3Uploads, Stat, joined

SINGLE = 8 * MIB
PART = 5 * MIB
WINDOW = 3 * PART
"""Bytes that wait to be sent, of one object: what a server can hold many times."""

AT_ONCE = 12

PARTS_MAX = 10_000
EVEN = 16 * MIB
_GROWTH = 1000


def sizes(size: int | None, even: bool = False) -> Iterator[int]:
    """Bytes of each part, so that 10,000 of them hold the object.

    Where its size isn't known the parts double every thousand, up to 4.8 TiB in all;
    `even`, as R2 wants it, they have 16 MiB, up to 156 GiB.
    """
    if size is None and even:
        return repeat(EVEN)
    if size is None:
        return (PART << (number // _GROWTH) for number in count())
    if size <= SINGLE:
        return repeat(SINGLE)
    return repeat(max(PART, -(-size // (PARTS_MAX * MIB)) * MIB))


class Writer:
    """Writes whole objects."""

    def __init__(self, connection: Connection, uploads: S3Uploads, tags: Tags, stat: Stat) -> None:
        self._connection, self._uploads, self._tags, self._stat = connection, uploads, tags, stat

    async def write(self, key: Key, source: Source, mode: WriteMode, content_type: str | None) -> ObjectMeta:
        """See Store."""
        pieces = Pieces(key, source, sizes(source.size, self._connection.account.r2))
        async with closing(pieces.flow()) as flow:
            first = await anext(flow, None)
            second = await anext(flow, None) if first is not None else None
            try:
                if first is None or second is None:
                    return await self._whole(key, first or Piece(), pieces.digest, mode, content_type)
                parts = _before(flow, first, second)
                del first, second
                return await self._parts(key, parts, pieces, source, mode, content_type)
            except StoreError as error:
                raise await self._refused(key, mode, error) from None

    async def _whole(
        self, key: Key, piece: Piece, summed: str, mode: WriteMode, content_type: str | None
    ) -> ObjectMeta:
        typed = {"content-type": content_type} if content_type else {}
        headers = {f"x-amz-meta-{DIGEST}": summed, **typed, **self._condition(mode)}
        _, answered = await self._connection.fetch(
            "write", key, "PutObject", "PUT", headers=headers, body=piece
        )
        return ObjectMeta(
            key, piece.size, _moment(answered), bare(answered.get("etag", "")) or None, summed, content_type
        )

    async def _parts(
        self, key: Key, parts: AsyncIterator[Piece], pieces: Pieces, source: Source, mode: WriteMode,
        content_type: str | None,
    ) -> ObjectMeta:  # fmt: skip
        await self._require(key, mode)
        claimed = source.expected()
        known = {f"x-amz-meta-{DIGEST}": claimed} if claimed else {}
        upload = await self._uploads.create("write", key, content_type, known)
        try:
            sent = await self._sent(key, upload, parts)
            await self._require(key, mode)
            etag, answered = await self._uploads.complete("write", key, upload, sent, self._condition(mode))
            etag = etag or joined(sent) or ""  # Ceph 16 leaves it out
        except BaseException:
            await self._uploads.leave(key, upload)
            raise
        if claimed is None:
            await self._tags.keep(key, pieces.digest, etag)
        else:
            await self._tags.repeat(key)
        return ObjectMeta(key, pieces.size, _moment(answered), etag, pieces.digest, content_type)

    async def _sent(self, key: Key, upload: str, parts: AsyncIterator[Piece]) -> list[Part]:
        window = Window()
        try:
            number = 0
            async for piece in parts:
                number += 1
                await window.room(piece.size)
                window.start(self._uploads.send("write", key, upload, number, piece), piece)
                del piece
            return sorted(await window.all(), key=lambda part: part.number)
        finally:
            await window.close()

    async def _require(self, key: Key, mode: WriteMode) -> None:
        """Raise where the condition doesn't hold; storages that know none on a completion need it."""
        if not isinstance(mode, IfMatch) and mode is not CREATE:
            return
        try:
            there = await self._stat(key)
        except NotFound:
            there = None
        if mode is CREATE and there is not None:
            raise self._error(Kind.EXISTS, key, "is there already")
        if isinstance(mode, IfMatch) and (there is None or there.etag != mode.etag):
            raise self._error(Kind.CHANGED, key, "has changed since")

    async def _refused(self, key: Key, mode: WriteMode, error: StoreError) -> StoreError:
        """The error of a condition that didn't hold, in the contract's words; Ceph may say 500 (a race)."""
        if error.kind is Kind.UNAVAILABLE:
            await self._require(key, mode)
        if mode is CREATE and error.kind is Kind.CHANGED:
            return self._error(Kind.EXISTS, key, "is there already")
        if isinstance(mode, IfMatch) and error.kind is Kind.NOT_FOUND:
            return self._error(Kind.CHANGED, key, "has changed since")
        return error

    def _condition(self, mode: WriteMode) -> Headers:
        """With the etag in quotes, as HTTP has it; of storages of one's own, Ceph takes a bare one only."""
        if isinstance(mode, IfMatch):
            account = self._connection.account
            return {"if-match": f'"{mode.etag}"' if account.aws or account.r2 else mode.etag}
        return {"if-none-match": "*"} if mode is CREATE else {}

    def _error(self, kind: Kind, key: Key, what: str) -> StoreError:
        return Asked("write", key, self._connection.options).error(kind, what)


class Window:
    """Parts on their way at once: up to WINDOW bytes that are still to be sent, and AT_ONCE parts.

    A part that only waits for its answer takes no memory, so that it doesn't count.
    """

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Part]] = set()
        self._done: list[Part] = []
        self._unsent = 0
        self._moved = asyncio.Event()

    async def room(self, size: int) -> None:
        """Wait until so many bytes may follow; raises what an earlier part failed with."""
        while self._under_way and (self._unsent + size > WINDOW or len(self._under_way) >= AT_ONCE):
            await self._wait()

    def start(self, sending: Coroutine[Any, Any, Part], piece: Piece) -> None:
        """Send one more."""
        self._unsent += piece.size
        piece.sent = self._sent
        task = asyncio.ensure_future(sending)
        task.add_done_callback(lambda _: self._moved.set())
        self._under_way.add(task)

    def _sent(self, size: int) -> None:
        self._unsent -= size
        self._moved.set()

    async def all(self) -> list[Part]:
        """Wait for all."""
        while self._under_way:
            await self._wait()
        return self._done

    async def _wait(self) -> None:
        await self._moved.wait()
        self._moved.clear()
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.remove(task)
            self._done.append(task.result())

    async def close(self) -> None:
        """Stop those that are still on their way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)


async def _before(flow: AsyncIterator[Piece], *first: Piece) -> AsyncIterator[Piece]:
    held = list(first)
    del first
    while held:
        yield held.pop(0)
    async for piece in flow:
        yield piece


def _moment(headers: Headers) -> float:
    """When the storage answered: the time that the object will show, to the second."""
    return http_moment(headers["date"]) if "date" in headers else time.time()
