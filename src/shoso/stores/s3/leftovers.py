"""What a failed write may leave behind: its upload, dropped now or as soon as the storage answers again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from shoso.core.keys import Key
from shoso.errors import NotFound, StoreError
from shoso.stores.s3 import documents
from shoso.stores.s3.connection import Connection

SECONDS = 5.0
"""How long a failed write waits for its upload to be gone, before that goes on behind its back."""

PAUSES = (1, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
KNOWN = 10_000


class Leftovers:
    """Drops uploads behind the back of the writes that failed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: deque[str] = deque(maxlen=KNOWN)
        self._beginning: Counter[Key] = Counter()

    @asynccontextmanager
    async def beginning(self, key: Key) -> AsyncIterator[Callable[[str], None]]:
        """Around the call that begins an upload, which may have begun though its answer is lost."""
        start = time.monotonic()
        self._beginning[key] += 1
        try:
            yield self._begun.append
        except (StoreError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) or error.retry.value == "soon":
                end = time.monotonic()
                self._start(lambda: self._sweep(key, start, end), delay=True)
            raise
        finally:
            self._beginning[key] -= 1
            if not self._beginning[key]:
                del self._beginning[key]

    async def drop(self, op: str, key: Key, name: str) -> None:
        """Drop an upload and its parts. Raises NOT_FOUND where it's none."""
        query = {"uploadId": name}
        await self._connection.fetch(op, key, "AbortMultipartUpload", "DELETE", query=query)

    async def leave(self, key: Key, name: str) -> None:
        """Drop an upload, as soon as may be; come back after SECONDS at the latest."""

        async def dropped() -> None:
            with suppress(NotFound):
                await self.drop("write", key, name)

        await asyncio.wait({self._start(dropped)}, timeout=SECONDS)

    def _start(self, attempt: Callable[[], Awaitable[None]], delay: bool = False) -> asyncio.Task[None]:
        task = asyncio.create_task(_insist(attempt, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sweep(self, key: Key, start: float, end: float) -> None:
        """Drop what was begun at this key then, by nobody known, and has no part: its answer got lost.

        Another process that begins an upload of the same key while this one waited for its answer, or a
        second later, may lose it before its first part.
        """
        name = self._connection.name(key)
        data, headers = await self._connection.fetch(
            "write", key, "ListMultipartUploads", "GET", bucket=True,
            query={"uploads": "", "encoding-type": "url", "prefix": name},
        )  # fmt: skip
        ago = documents.http_moment(headers["date"]) - time.monotonic()
        found = [
            upload
            for upload in documents.uploads(data)[0]
            if upload.key == name and start - 1 <= upload.begun - ago <= end + 1
        ]
        if key in self._beginning:
            raise TimeoutError  # one of those found may be the one that is beginning: look again later
        for upload in found:
            if upload.id not in self._begun and not await self._has_parts(key, upload.id):
                with suppress(NotFound):
                    await self.drop("write", key, upload.id)

    async def _has_parts(self, key: Key, name: str) -> bool:
        try:
            data, _ = await self._connection.fetch("write", key, "ListParts", "GET", query={"uploadId": name})
        except NotFound:
            return True
        return bool(documents.parts(data)[0])

    async def close(self) -> None:
        """Give what is still to be dropped a last moment."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SECONDS)
        for task in self._tasks:
            task.cancel()


async def _insist(attempt: Callable[[], Awaitable[None]], delay: bool) -> None:
    """Try until it works, with pauses that grow to minutes."""
    for pause in PAUSES:
        if delay:
            await asyncio.sleep(pause)
        delay = True
        with suppress(TimeoutError, StoreError):
            async with asyncio.timeout(SECONDS):
                return await attempt()
    return None
