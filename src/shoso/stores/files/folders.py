"""Folders come and go with what is in them: made where a name needs one, removed when the last name goes.

Nobody asks first: a folder is made when its absence has been felt, so that the usual write pays no round trip
for it. Another process may remove one as fast as it is made; the few tries here outlast that.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterable

from shoso.stores.files.system import FileSystem

_RACES = 10
_LEVELS = 100
_KEPT = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}


class Folders:
    """The folders of a file system."""

    def __init__(self, system: FileSystem, at_once: asyncio.Semaphore) -> None:
        self._system, self._at_once = system, at_once

    async def move(self, source: str, target: str, replace: bool) -> None:
        """Rename, making the folders of `target` where they are missing.

        Where that fails, no folder is left that was made on the way. Raises OSError.
        """
        made = False
        for _ in range(_RACES):
            try:
                return await self._move(source, target, replace, make=made)
            except FileNotFoundError:
                made = True
            except OSError:
                if made:
                    await self.prune([above(target)])
                raise
        raise FileNotFoundError(errno.ENOENT, "its folder is removed as fast as it is made", target)

    async def _move(self, source: str, target: str, replace: bool, make: bool) -> None:
        if make:
            await self.make(above(target))
        await self._system.rename(source, target, replace)

    async def make(self, path: str) -> None:
        """Make the folder and those above it; one that is there is fine. Raises ENOTDIR for a file."""
        for _ in range(_RACES):
            try:
                return await self._system.mkdir(path)
            except FileExistsError:
                if not (await self._system.status(path)).folder:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
                return None
            except FileNotFoundError:
                if not path:
                    raise
                await self.make(above(path))
        raise FileNotFoundError(errno.ENOENT, "the folder is removed as fast as it is made", path)

    async def prune(self, folders: Iterable[str]) -> None:
        """Remove these folders and those above them, as far as they hold nothing. Raises ConnectionError."""
        waiting = set(folders) - {""}
        while waiting:
            deepest = max(path.count("/") for path in waiting)
            level = [path for path in waiting if path.count("/") == deepest]
            gone = await asyncio.gather(*(self.gone(path) for path in level))
            waiting.difference_update(level)
            waiting.update(above(path) for path, went in zip(level, gone, strict=True) if went)
            waiting.discard("")

    async def gone(self, path: str) -> bool:
        """Whether the folder is no more, removed or missing; one that can't be removed stays."""
        try:
            async with self._at_once:
                await self._system.rmdir(path)
        except FileNotFoundError:
            return True
        except (ConnectionError, TimeoutError):
            raise
        except OSError:
            return False
        return True

    async def remove_hollow(self, path: str, levels: int = _LEVELS) -> None:
        """Remove a folder that holds nothing but (so many levels of) empty folders; leave any other."""
        try:
            for found in await self._system.entries(path):
                if found.status.folder and levels:
                    await self.remove_hollow(f"{path}/{found.name}", levels - 1)
            await self._system.rmdir(path)
        except OSError as error:
            if error.errno not in _KEPT:
                raise


def above(path: str) -> str:
    """The folder that holds it."""
    return path.rpartition("/")[0]
