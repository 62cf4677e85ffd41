"""A folder of this machine as a `FileSystem`: what stores over a remote one share, without the network.

`broken` says which call fails, and how: the verb and the path are given, what comes back is raised. `silent`
is a verb that gets no answer; `most` is how many calls there were at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from shoso.core.streams import CHUNK
from shoso.core.types import Buffer
from shoso.stores.files.system import Found, Status, Traits


def whole(verb: str, path: str) -> Exception | None:
    """Nothing is broken."""


class Disk:
    """Blocks the loop; a test's files are small."""

    def __init__(self, root: Path, traits: Traits | None = None) -> None:
        self.root = root
        self.traits = traits or Traits(exclusive=True)
        self.calls: list[tuple[str, str]] = []
        self.broken: Callable[[str, str], Exception | None] = whole
        self.silent: str | None = None
        self.most = self._under_way = 0

    async def call(self, verb: str, path: str) -> Path:
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        try:
            await asyncio.sleep(3600 if verb == self.silent else 0)  # a network lets others have a turn
        finally:
            self._under_way -= 1
        self.calls.append((verb, path))
        if (error := self.broken(verb, path)) is not None:
            raise error
        return self.root / path

    async def status(self, path: str) -> Status:
        return _status((await self.call("status", path)).lstat())

    async def open(self, path: str) -> DiskFile:
        place = await self.call("open", path)
        if place.is_dir():
            raise FileNotFoundError(errno.ENOENT, "a folder", path)
        return DiskFile(self, path, os.open(place, os.O_RDONLY))

    async def create(self, path: str) -> DiskDraft:
        place = await self.call("create", path)
        return DiskDraft(self, path, os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL))

    async def rename(self, source: str, target: str, replace: bool) -> None:
        await self.call("rename", target)
        if replace:
            (self.root / source).replace(self.root / target)
        else:
            (self.root / target).hardlink_to(self.root / source)
            (self.root / source).unlink()

    async def remove(self, path: str) -> None:
        (await self.call("remove", path)).unlink()

    async def mkdir(self, path: str) -> None:
        (await self.call("mkdir", path)).mkdir(parents=not path)

    async def rmdir(self, path: str) -> None:
        (await self.call("rmdir", path)).rmdir()

    async def entries(self, path: str) -> list[Found]:
        return [Found(e.name, _status(e.stat())) for e in os.scandir(await self.call("entries", path))]

    async def join(self, sources: Sequence[str], target: str) -> Status:
        place = await self.call("join", target)
        place.write_bytes(b"".join((self.root / source).read_bytes() for source in sources))
        return _status(place.stat())

    async def close(self) -> None:
        await self.call("close", "")


class DiskFile:
    def __init__(self, disk: Disk, path: str, file: int) -> None:
        self._disk, self._path, self._file = disk, path, file
        self.status = _status(os.fstat(file))

    async def read(self, start: int, stop: int) -> AsyncIterator[Buffer]:
        while data := os.pread(self._file, min(CHUNK, stop - start), start):
            await self._disk.call("read", self._path)
            start += len(data)
            yield data

    async def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


class DiskDraft:
    def __init__(self, disk: Disk, path: str, file: int) -> None:
        self._disk, self._path, self._file = disk, path, file

    async def append(self, buffers: Sequence[Buffer]) -> None:
        await self._disk.call("append", self._path)
        for data in buffers:
            os.write(self._file, data)

    async def seal(self, digest: str) -> Status:
        await self._disk.call("seal", self._path)
        return _status(os.fstat(self._file))

    async def discard(self) -> None:
        os.close(self._file)
        await self._disk.remove(self._path)


def _status(found: os.stat_result) -> Status:
    folder = stat.S_ISDIR(found.st_mode)
    return Status(
        folder, found.st_size, found.st_mtime, None if folder else f"{found.st_ino:x}-{found.st_mtime_ns:x}"
    )
