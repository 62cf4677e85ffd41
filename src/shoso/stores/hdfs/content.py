"""A file of HDFS being read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from shoso.core.streams import CHUNK
from shoso.core.types import Buffer
from shoso.stores.files.system import Status

if TYPE_CHECKING:
    from hdfs_native._internal import RawFileReader

    from shoso.stores.hdfs.system import HdfsFiles

RANGE, AHEAD = CHUNK // 2, 4
"""Bytes in a range, and ranges under way at once: as fast as two of 2 MiB, which take twice the memory, and
with half the processor time of the library's stream, whose packets of 64 KiB each take a step."""


class Content:
    """The blocks of one version: those of a file that was replaced go with it, and then the read fails."""

    def __init__(self, system: HdfsFiles, path: str, reader: RawFileReader, status: Status) -> None:
        self._system, self._path = system, path
        self._reader = reader
        self.status = status
        self._under_way: deque[asyncio.Future[bytes]] = deque()

    async def read(self, start: int, stop: int) -> AsyncIterator[Buffer]:
        """See OpenFile."""
        try:
            while start < stop or self._under_way:
                while start < stop and len(self._under_way) < AHEAD:
                    length = min(RANGE, stop - start)
                    call = self._system.start(self._reader.read_range, start, length)
                    self._under_way.append(asyncio.wrap_future(call))
                    start += length
                yield await self._next()
        finally:
            await self.close()

    async def _next(self) -> bytes:
        try:
            data = await self._under_way[0]
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise self._system.translated(error, self._path) from error
        self._under_way.popleft()
        return data

    async def close(self) -> None:
        """See OpenFile."""
        waiting = [*self._under_way]
        self._under_way.clear()
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
