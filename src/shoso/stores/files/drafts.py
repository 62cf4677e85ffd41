"""Drafts: files set aside until they are whole, under names that nobody else knows.

A draft that its writer couldn't remove, because the connection was gone, is remembered and removed with the
next one made; what a killed process left is swept by age, once a day by each store that writes.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import INLINE, Source, complete, confirm
from shoso.core.types import Buffer
from shoso.errors import ShosoError
from shoso.stores.files.folders import Folders
from shoso.stores.files.names import DRAFTS
from shoso.stores.files.system import FileSystem, NewFile, Status

STALE_AFTER = 86400.0
"""Seconds after which a draft that nobody has touched is taken for left behind."""

PATIENCE = 5.0
"""Seconds that a failed or cancelled call waits for its draft to be removed."""

_log = logging.getLogger("shoso.store")


class Drafts:
    """The drafts of a store, and what has to be cleared away in the background."""

    def __init__(self, system: FileSystem, folders: Folders) -> None:
        self.system, self.folders = system, folders
        self._left: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, place: str) -> NewFile:
        """The new file there; what was left behind goes first, so that it can't get a name any more.

        Raises OSError.
        """
        if self._left:
            await _quietly(self._remove_left())
        try:
            return await self.system.create(place)
        except FileNotFoundError:
            await self.folders.make(DRAFTS)
            return await self.system.create(place)

    async def abandon(self, draft: Draft) -> None:
        """Remove the draft, in bounded time, even if the wait for that is cancelled."""
        await asyncio.shield(self.start(self._abandon(draft)))

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do this beside everything else; what fails is tried another time."""
        task = asyncio.get_running_loop().create_task(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def sweep(self) -> None:
        """Remove the drafts that are too old to be anybody's. Raises OSError."""
        for found in await self.system.entries(DRAFTS):
            if untouched_for(STALE_AFTER, found.status):
                with suppress(FileNotFoundError):  # another process sweeps too
                    await self.system.remove(f"{DRAFTS}/{found.name}")

    async def close(self) -> None:
        """Wait for the removals under way, for a moment, and end everything else."""
        if self._left:
            self.start(self._remove_left())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        for task in self._tasks:
            task.cancel()

    async def _abandon(self, draft: Draft) -> None:
        self._left.add(draft.place)
        async with asyncio.timeout(PATIENCE):
            await draft.discard()
        self._left.discard(draft.place)

    async def _remove_left(self) -> None:
        for place in list(self._left):
            with suppress(FileNotFoundError):
                await self.system.remove(place)
            self._left.discard(place)


class Draft:
    """One file on its way in: filled, digested, sealed, named."""

    def __init__(self, drafts: Drafts, key: Key, source: Source) -> None:
        self.place = f"{DRAFTS}/{secrets.token_hex(16)}"
        self._drafts = drafts
        self._key, self._source = key, source
        self._digester = Digester()
        self._file: NewFile | None = None
        self._touched = False
        self._digesting: asyncio.Future[None] | None = None

    async def append(self, group: Sequence[Buffer]) -> None:
        """Write and digest the next bytes. Raises OSError.

        Many are digested in a thread, while they are written and the next ones come.
        """
        file = self._file or await self._created()
        await self._digested()
        if sum(map(len, group)) > INLINE:
            self._digesting = asyncio.ensure_future(asyncio.to_thread(self._digest, group))
        else:
            self._digest(group)
        await file.append(group)

    @property
    def digest(self) -> str:
        """The digest of the bytes so far."""
        return self._digester.hex()

    async def seal(self) -> Status:
        """Compare size and digest with what the sender announced, and sync. Raises CORRUPT, INCOMPLETE."""
        await self._digested()
        complete(self._key, self._source, self._digester.size)
        confirm(self._key, self._source, self.digest)
        file = self._file or await self._created()
        return await file.seal(self.digest)

    async def join(self, places: Sequence[str]) -> Status:
        """Fill and seal it with these files, on the server. Raises OSError."""
        self._touched = True
        try:
            return await self._drafts.system.join(places, self.place)
        except FileNotFoundError:
            await self._drafts.folders.make(DRAFTS)
            return await self._drafts.system.join(places, self.place)

    async def move(self, target: str, replace: bool) -> None:
        """Give it its name, making the folders on the way. Raises OSError."""
        await self._drafts.folders.move(self.place, target, replace)
        self._touched = False

    async def move_into(self, target: str) -> None:
        """Give it a name in a folder that must be there. Raises ENOENT."""
        await self._drafts.system.rename(self.place, target, replace=True)
        self._touched = False

    async def discard(self) -> None:
        """Remove it, unless it has got its name or never was. Raises OSError."""
        if not self._touched:
            return
        with suppress(FileNotFoundError):
            if self._file is not None:
                await self._file.discard()
            else:
                await self._drafts.system.remove(self.place)

    async def _created(self) -> NewFile:
        self._touched = True
        self._file = await self._drafts.create(self.place)
        return self._file

    async def _digested(self) -> None:
        """What is being digested is."""
        digesting, self._digesting = self._digesting, None
        if digesting is not None:
            await digesting

    def _digest(self, group: Sequence[Buffer]) -> None:
        for data in group:
            self._digester.update(data)


def untouched_for(seconds: float, status: Status) -> bool:
    """Whether it is as old; what the server tells no time of (0) may be somebody's of this moment."""
    return 0 < status.modified < time.time() - seconds


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (OSError, ShosoError) as error:
        _log.debug("not cleared away yet: %s", error)
