"""An artifact as a binary file: read by ranges, at once where it's read in order, cheaply where it isn't.

A jump fetches little. Where reads go on in order, the next block is fetched while this one is used, and each
is twice as long as the last, up to `BLOCK`. All of it is of one version: a changed artifact is an error.
"""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

from shoso.client import blocking
from shoso.client.finding import Found
from shoso.core.types import ALL, FromTo, ObjectMeta
from shoso.errors import Kind, store_error

BLOCK = 8 * 1024 * 1024
"""Bytes of the largest block; two are held."""

JUMP = 64 * 1024
"""Bytes fetched after a jump, enough for the table of contents of most files."""

BUFFER = 128 * 1024
"""Bytes that small reads are served from."""

Opener = Callable[[], Coroutine[Any, Any, Found]]
"""Finds the artifact, once for each process that reads it."""


class ArtifactFile(io.BufferedReader):
    """An open artifact; `size` in bytes."""

    def __init__(self, raw: io.RawIOBase, buffer: int, size: int) -> None:
        super().__init__(raw, buffer)
        self.size = size


def open_artifact(find: Opener) -> ArtifactFile:
    """An artifact as a file. Raises StoreError(NOT_FOUND) where there is none."""
    found = blocking.run(find())
    raw = RangeReader(find, found) if found.store.capabilities.ranges else _fetched(found)
    return ArtifactFile(raw, BUFFER, found.meta.size)


def _fetched(found: Found) -> io.RawIOBase:
    """All of it, in a file without a name: such a store gives nothing but whole artifacts."""
    file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  the caller closes it
    try:
        blocking.run(_fetch(found, file))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    raw: io.RawIOBase = file
    return raw


async def _fetch(found: Found, file: io.RawIOBase) -> None:
    writer = io.BufferedWriter(file)
    async with await found.store.read(found.key) as reading:
        async for data in reading.body:
            await asyncio.to_thread(writer.write, data)
    writer.detach()


class RangeReader(io.RawIOBase):
    """The bytes of an artifact, a block at a time. For one thread at once, as `io.BufferedReader` sees to."""

    def __init__(self, find: Opener, found: Found) -> None:
        super().__init__()
        self._find = find
        self._meta = found.meta
        self._blocks = _Blocks(found)
        self._process = os.getpid()
        self._position = 0

    @property
    def size(self) -> int:
        """Bytes of the artifact."""
        return self._meta.size

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there; nothing is fetched yet."""
        self._require_open()
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill as much of the buffer as the block at hand has. Raises StoreError(CHANGED)."""
        self._require_open()
        view = memoryview(buffer).cast("B")
        if self._position >= self.size or not len(view):
            return 0
        block, start = self._block(len(view))
        data = memoryview(block)[self._position - start :][: len(view)]
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def readall(self) -> bytes:
        """The rest, in one call to the store. Raises StoreError(CHANGED)."""
        self._require_open()
        if self._position >= self.size:
            return b""
        rest = blocking.run(self._own_blocks().fetch(self._position, self.size))
        self._position = self.size
        return rest

    def close(self) -> None:
        """Drop what was fetched ahead."""
        if self._process == os.getpid():
            self._blocks.drop()
        super().close()

    def _block(self, wanted: int) -> tuple[bytes, int]:
        blocks = self._own_blocks()
        held, start = blocks.held, blocks.start
        if start <= self._position < start + len(held):
            return held, start
        return blocking.run(blocks.at(self._position, wanted))

    def _own_blocks(self) -> _Blocks:
        """The blocks; a child process asks for its own connection, and still for the same version."""
        if self._process != os.getpid():
            self._blocks = _Blocks(replace(blocking.run(self._find()), meta=self._meta))
            self._process = os.getpid()
        return self._blocks

    def _require_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")


class _Blocks:
    """The block at hand, and the one that is fetched behind it; lives on the loop."""

    def __init__(self, found: Found) -> None:
        self.held = b""
        self.start = 0
        self._found = found
        self._ahead: asyncio.Task[bytes] | None = None

    async def at(self, position: int, wanted: int) -> tuple[bytes, int]:
        """The block that begins at `position`, and where that is."""
        if self.held and position == self.start + len(self.held):
            self.held, self.start = await self._following(position, wanted), position
            self._look_ahead()
        else:
            self.drop()
            self.held = await self.fetch(position, position + min(BLOCK, max(JUMP, wanted)))
            self.start = position
        return self.held, self.start

    async def _following(self, position: int, wanted: int) -> bytes:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return await ahead
        return await self.fetch(position, position + min(BLOCK, max(2 * len(self.held), wanted)))

    def _look_ahead(self) -> None:
        start = self.start + len(self.held)
        if start < self._found.meta.size:
            stop = start + min(BLOCK, 2 * len(self.held))
            self._ahead = asyncio.get_running_loop().create_task(self.fetch(start, stop))
            self._ahead.add_done_callback(_note)

    async def fetch(self, start: int, stop: int) -> bytes:
        """The bytes from start to stop, as far as there are any. Raises StoreError."""
        store, key, meta = self._found.store, self._found.key, self._found.meta
        stop = min(stop, meta.size)
        wanted = ALL if (start, stop) == (0, meta.size) else FromTo(start, stop)
        async with await store.read(key, wanted, meta.etag) as reading:
            self._require_same(reading.meta)
            data = b"".join([bytes(each) async for each in reading.body])
        if len(data) != stop - start:
            raise store_error(Kind.INCOMPLETE, f"'{key}' ended early: read it again.", op="read", key=key)
        return data

    def _require_same(self, now: ObjectMeta) -> None:
        """A store without etags shows a change by size and time only."""
        meta = self._found.meta
        if now.size != meta.size or (meta.etag is None and now.modified != meta.modified):
            message = f"'{meta.key}' has changed since it was opened: open it again."
            raise store_error(Kind.CHANGED, message, op="read", key=meta.key)

    def drop(self) -> None:
        """Fetch nothing further; may be called from any thread, and never waits."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            with suppress(RuntimeError):  # the loop has ended, and the task with it
                ahead.get_loop().call_soon_threadsafe(ahead.cancel)


def _note(task: asyncio.Task[bytes]) -> None:
    """A block that nobody wants any more may have failed."""
    if not task.cancelled():
        task.exception()
