"""Files on their way, with many blocks in flight: one at a time would wait a round trip for each."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar, cast

import asyncssh

from shoso.core.types import Buffer
from shoso.stores.files.system import Status
from shoso.stores.sftp.connection import Session
from shoso.stores.sftp.versions import stamp, status_of

WRITING = 4 * 1024 * 1024
"""Bytes of a write in flight; OpenSSH takes 2 MiB at a time on a channel, and each is held twice here."""

READING = 8 * 1024 * 1024
"""Bytes of a read in flight."""

BLOCK = 1024 * 1024
"""Bytes in a block at most, whatever the server would take: OpenSSH takes 255 KiB, others say no limit."""

File = asyncssh.SFTPClientFile
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that closing a file may take before it's left to the server."""


class Handle:
    """An open file, and the session that it's open on."""

    def __init__(self, session: Session, file: File, path: str) -> None:
        self.session, self.file, self.path = session, file, path
        self.flying: deque[asyncio.Task[bytes]] = deque()
        self._closed = False

    async def run(self, work: Awaitable[T]) -> T:
        """A call on the file. Raises OSError."""
        async with self.session.calling(self.path):
            return await work

    async def close(self) -> None:
        """Let go of it, without waiting for the server; may be called again, raises nothing."""
        if self._closed:
            return
        self._closed = True
        for task in self.flying:
            self.session.over = True
            task.cancel()
        await asyncio.gather(*self.flying, return_exceptions=True)
        self.session.finish(self._close())

    async def _close(self) -> None:
        with suppress(OSError, asyncssh.Error):
            async with asyncio.timeout(PATIENCE):
                await self.file.close()
        self.session.leave()


class Incoming:
    """A file being read."""

    def __init__(self, handle: Handle, status: Status) -> None:
        self._handle, self.status = handle, status
        self.close = handle.close

    async def read(self, start: int, stop: int) -> AsyncIterator[Buffer]:
        """See OpenFile; fewer bytes where the file has become shorter."""
        handle = self._handle
        block = min(BLOCK, handle.session.client.limits.max_read_len)
        offsets = iter(range(start, stop, block))
        most = max(1, READING // block)
        while True:
            for offset in itertools.islice(offsets, most - len(handle.flying)):
                reading = self._block(offset, min(block, stop - offset))
                handle.flying.append(asyncio.ensure_future(reading))
            if not handle.flying:
                return
            data = await handle.run(asyncio.shield(handle.flying[0]))
            handle.flying.popleft()
            yield data

    async def _block(self, offset: int, size: int) -> bytes:
        """The bytes there; a server may send fewer than asked for."""
        data = b""
        while len(data) < size:
            more = cast("bytes", await self._handle.file.read(size - len(data), offset + len(data)))
            if not more:
                break
            data = data + more if data else more
        return data


class Outgoing:
    """A new file being written."""

    def __init__(self, handle: Handle, remove: Callable[[str], Awaitable[None]]) -> None:
        self._handle, self._remove = handle, remove
        self.close = handle.close
        self._size = 0

    @property
    def session(self) -> Session:
        """Where it's open."""
        return self._handle.session

    async def copy(self, source: File) -> None:
        """Take in all of another file that is open on this session, copied by the server; closes it."""
        client = self.session.client
        try:
            size = (await source.stat()).size or 0
            await client.remote_copy(source, self._handle.file, 0, 0, self._size)
        except asyncssh.SFTPError:
            self.session.over = True  # and the file ends with it
            raise
        self._size += size
        await tried(source.close())

    async def append(self, buffers: Sequence[Buffer]) -> None:
        """See NewFile."""
        handle = self._handle
        block = min(BLOCK, handle.session.client.limits.max_write_len)
        data = memoryview(buffers[0] if len(buffers) == 1 else b"".join(buffers))
        for start in range(0, len(data), block):
            while len(handle.flying) * block >= WRITING:
                await handle.run(asyncio.shield(handle.flying[0]))
                handle.flying.popleft()
            piece = data[start : start + block]
            handle.flying.append(asyncio.ensure_future(self._block(piece, self._size)))
            self._size += len(piece)

    async def seal(self, digest: str) -> Status:
        """See NewFile. SFTP has no place for a digest; the requests go out together, and stay in order."""
        handle, file = self._handle, self._handle.file
        written = asyncio.gather(*handle.flying)
        rest = asyncio.gather(
            tried(file.setstat(stamp())), file.stat(), tried(file.fsync()), tried(file.close())
        )
        await handle.run(written)
        _, attrs, synced, _ = await handle.run(rest)
        handle.flying.clear()
        if synced is not None and not isinstance(synced, asyncssh.SFTPOpUnsupported):
            await handle.run(_raising(synced))
        await handle.close()
        return status_of(attrs)

    async def discard(self) -> None:
        """See NewFile."""
        await self._handle.close()
        await self._remove(self._handle.path)

    async def _block(self, data: memoryview, offset: int) -> bytes:
        await self._handle.file.write(cast("bytes", data), offset)  # any buffer will do
        return b""


async def tried(call: Awaitable[None]) -> asyncssh.SFTPError | None:
    """How the call failed, if it did."""
    try:
        await call
    except asyncssh.SFTPError as error:
        return error
    return None


async def _raising(error: Exception) -> None:
    raise error
