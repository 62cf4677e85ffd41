"""A source becomes a blob: in one request where it is small, else in blocks sent side by side.

Blocks are nobody's to see until Put Block List, which comes when the source has been read to its end, its
size and digest are right and every block has arrived. What is left of a write that failed is dropped by Azure
after a week, or with the next write of that name.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import INLINE, Source, closing, complete, confirm, regroup
from shoso.core.types import CREATE, Buffer, IfMatch, ObjectMeta, WriteMode
from shoso.stores.azure.client import Client
from shoso.stores.azure.replies import DIGEST, META, block_list, meta_of

BLOCK = 4 * 1024 * 1024
"""Bytes of a block, and of what goes in one request; see `_block_size`."""

WINDOW = 3
"""Blocks under way at once: with those being gathered, what a write holds in memory."""

_DOUBLED_EVERY = 8_000


async def write(
    client: Client,
    op: str,
    key: Key,
    name: str,
    source: Source,
    mode: WriteMode,
    content_type: str | None,
) -> ObjectMeta:
    """The source as the blob `name`, whole or not at all. Raises EXISTS, CHANGED, CORRUPT, INCOMPLETE."""
    digester = Digester()
    headers = written_headers(mode, content_type)
    async with closing(_groups(source)) as groups, window(WINDOW) as sending:
        blocks = Blocks(client, op, key, name)
        held: list[Buffer] = []
        async for group in groups:
            if held:
                await sending.add(blocks.put(held))
            held = group
            await _digested(digester, group)
        complete(key, source, digester.size)
        confirm(key, source, digester.hex())
        headers[META + DIGEST] = digester.hex()
        if not blocks.ids:
            return await put_blob(client, op, key, name, held, headers)
        await sending.add(blocks.put(held))
        await sending.empty()
        return await blocks.commit(headers, digester.size)


async def put_blob(
    client: Client, op: str, key: Key, name: str, body: list[Buffer], headers: Mapping[str, str]
) -> ObjectMeta:
    """The blob in one request."""
    checked = {**headers, "x-ms-blob-type": "BlockBlob", "content-md5": await _md5(body)}
    async with client.request(op, key, "PUT", client.url(name), headers=checked, body=body) as reply:
        written = {**headers, **_lower(reply.headers)}
    return _written(key, written, sum(map(len, body)))


class Blocks:
    """The blocks of a blob that is being written, in order; no other writer's ids are the same."""

    def __init__(self, client: Client, op: str, key: Key, name: str) -> None:
        self._client, self._op, self._key = client, op, key
        self._url = client.url(name)
        self._token = secrets.token_hex(20)
        self.ids: list[str] = []

    def put(self, body: list[Buffer]) -> Coroutine[Any, Any, None]:
        """Send the next block; its place is taken by the call, its bytes go when it is awaited."""
        return self._put(self._next(), body)

    def copy(self, source: str, start: int, stop: int, etag: str) -> Coroutine[Any, Any, None]:
        """Have Azure copy bytes of another blob into the next block, if that still has this etag."""
        headers = {
            "x-ms-copy-source": source,
            "x-ms-source-range": f"bytes={start}-{stop - 1}",
            "x-ms-source-if-match": f'"{etag}"',
        }
        return self._stage(self._next(), headers, [])

    async def commit(self, headers: Mapping[str, str], size: int) -> ObjectMeta:
        """Make a blob of them."""
        body: list[Buffer] = [block_list(self.ids)]
        sent = {**headers, "content-type": "application/xml", "content-md5": await _md5(body)}
        query = {"comp": "blocklist"}
        async with self._client.request(
            self._op, self._key, "PUT", self._url, query, sent, body
        ) as reply:  # fmt: skip
            written = {**headers, **_lower(reply.headers)}
        return _written(self._key, written, size)

    def _next(self) -> str:
        """Of 48 bytes, as Microsoft's own programs name theirs: those left at a name must be as long."""
        self.ids.append(base64.b64encode(f"{self._token}{len(self.ids):08d}".encode()).decode())
        return self.ids[-1]

    async def _put(self, block: str, body: list[Buffer]) -> None:
        await self._stage(block, {"content-md5": await _md5(body)}, body)

    async def _stage(self, block: str, headers: Mapping[str, str], body: list[Buffer]) -> None:
        query = {"comp": "block", "blockid": block}
        async with self._client.request(self._op, self._key, "PUT", self._url, query, headers, body):
            pass


class Window:
    """Coroutines under way, so many at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._tasks: set[asyncio.Task[None]] = set()

    async def add(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin another when there is room. Raises what an earlier one raised."""
        try:
            while len(self._tasks) >= self._size:
                await self._some()
        except BaseException:
            work.close()
            raise
        self._tasks.add(asyncio.create_task(work))

    async def empty(self) -> None:
        """Wait for all of them."""
        while self._tasks:
            await self._some()

    async def stop(self) -> None:
        """Give up those that are left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _some(self) -> None:
        done, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for failure in filter(None, [task.exception() for task in done]):
            raise failure


@asynccontextmanager
async def window(size: int) -> AsyncIterator[Window]:
    """A window that leaves nothing behind."""
    opened = Window(size)
    try:
        yield opened
    finally:
        await opened.stop()


def written_headers(mode: WriteMode, content_type: str | None) -> dict[str, str]:
    """The condition of a write, and what the blob is."""
    headers = {"x-ms-blob-content-type": content_type} if content_type else {}
    if mode is CREATE:
        headers["if-none-match"] = "*"
    elif isinstance(mode, IfMatch):
        headers["if-match"] = f'"{mode.etag}"'
    return headers


async def _groups(source: Source) -> AsyncIterator[list[Buffer]]:
    """The source in blocks; larger ones from where the number of blocks would run out."""
    number = 0
    async with closing(regroup(source.open(), BLOCK)) as groups:
        held: list[Buffer] = []
        async for group in groups:
            held += group
            if sum(map(len, held)) >= _block_size(number):
                yield held
                number, held = number + 1, []
        if held:
            yield held


def _block_size(number: int) -> int:
    """4 MiB up to 31 GiB, then twice as much every 8,000 blocks: 50,000 hold 2.5 TiB."""
    return BLOCK << (number // _DOUBLED_EVERY)


async def _digested(digester: Digester, group: list[Buffer]) -> None:
    def update() -> None:
        for data in group:
            digester.update(data)

    await _worked(update, group)


async def _md5(body: list[Buffer]) -> str:
    hasher = hashlib.md5(usedforsecurity=False)

    def update() -> None:
        for data in body:
            hasher.update(data)

    await _worked(update, body)
    return base64.b64encode(hasher.digest()).decode()


async def _worked(work: Callable[[], None], body: list[Buffer]) -> None:
    """In a thread where it takes longer than the way there."""
    if sum(map(len, body)) > INLINE:
        await asyncio.to_thread(work)
    else:
        work()


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _written(key: Key, headers: Mapping[str, str], size: int) -> ObjectMeta:
    kind = headers.get("x-ms-blob-content-type", "application/octet-stream")
    return meta_of(key, {**headers, "content-type": kind}, size)
