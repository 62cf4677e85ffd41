"""A file of HDFS being written."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from shoso.core.types import Buffer
from shoso.errors import Kind, Retry, store_error
from shoso.stores.files.system import Status

if TYPE_CHECKING:
    from hdfs_native._internal import RawFileWriter

    from shoso.stores.hdfs.system import HdfsFiles

T = TypeVar("T")

TOUCH_AFTER = 3600.0
"""Seconds after which a file that is being written is marked as such: HDFS gives it no later time than that
of its making, and a file that nobody has touched for a day is swept."""

FIRST, LONGEST = 0.005, 0.25
"""Seconds between two looks at a file that is being closed."""


class HdfsDraft:
    """Bytes go to the DataNodes in packets, at most 200 of them unconfirmed; closing it syncs every block."""

    def __init__(self, system: HdfsFiles, path: str, writer: RawFileWriter) -> None:
        self._system, self._path = system, path
        self._writer = writer
        self._under_way: Future[int] | Future[None] | None = None
        self._size = 0
        self._closed = False
        self._touched = time.monotonic()

    async def append(self, buffers: Sequence[Buffer]) -> None:
        """See NewFile."""
        data = buffers[0] if len(buffers) == 1 else b"".join(buffers)
        if isinstance(data, memoryview):
            data = bytes(data)  # the library takes a view byte by byte: 57 MiB/s
        self._size += len(data)
        self._under_way = self._system.start(self._writer.write, data)
        await self._outcome(asyncio.wrap_future(self._under_way))
        if time.monotonic() - self._touched > TOUCH_AFTER:
            self._touched = time.monotonic()
            await self._system.touch(self._path)

    async def seal(self, digest: str) -> Status:
        """See NewFile."""
        await self._close()
        self._closed = True
        status = await self._system.mark(self._path, digest)
        if status.size != self._size:
            message = f"'{self._path}' has {status.size} bytes where {self._size} were written."
            raise store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON)
        return status

    async def discard(self) -> None:
        """See NewFile. A writer that isn't closed would keep its connection for ever, so it is, in vain.

        Nobody waits for that: what was given up may still be sending, for as long as a DataNode lets it.
        """
        if not self._closed:
            self._closed = True
            if self._under_way is None:
                self._system.start(self._writer.close)
            else:
                self._under_way.add_done_callback(lambda _: self._system.start(self._writer.close))
        with suppress(FileNotFoundError):
            await self._system.remove(self._path)

    async def _close(self) -> None:
        """Close it, without the library's half second where the NameNode hears late of the last block.

        The library asks whether the file is complete, and if it isn't, sleeps 0.5 s. From then on the size
        that others see is the whole one, and the NameNode can be asked again by recovering the lease.
        """
        self._under_way = self._system.start(self._writer.close)
        closing = asyncio.wrap_future(self._under_way)
        try:
            pause = FIRST
            while not await _done(closing, pause):
                if await self._committed() and not await _done(closing, FIRST):
                    return await self._complete()
                pause = min(2 * pause, LONGEST)
            return await self._outcome(closing)
        finally:
            closing.cancel()

    async def _committed(self) -> bool:
        return (await self._system.status(self._path)).size == self._size

    async def _complete(self) -> None:
        pause = FIRST
        while True:
            with suppress(FileExistsError):  # the last block isn't reported yet
                if await self._system.call(self._path, lambda api, place: api.recover_lease(place)):
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST)

    async def _outcome(self, call: asyncio.Future[T]) -> T:
        try:
            return await call
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            raise self._failure(error) from error

    def _failure(self, error: BaseException) -> BaseException:
        failure = self._system.translated(error, self._path)
        if isinstance(failure, OSError) and failure.errno == errno.EIO:
            why = f"see that they run and have space: {failure.strerror}"
            message = f"No DataNode takes the blocks of '{self._path}'; {why}"
            return store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON)
        return failure


async def _done(task: asyncio.Future[None], seconds: float) -> bool:
    return bool((await asyncio.wait({task}, timeout=seconds))[0])
