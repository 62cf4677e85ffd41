"""A folder and all below it, in the order of keys: folders ahead are listed while earlier ones are shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from shoso.core.keys import Key
from shoso.core.store import order
from shoso.core.types import Entry, ObjectMeta, Prefix

AHEAD = 64
"""Folders whose listings may be held, or under way, before their turn."""

ListFolder = Callable[[Key], Awaitable[list[Entry]]]


class Walk:
    """The objects below a folder; `list_folder` gives one level of one, in the order of keys.

    Use it once. `close` it when it is left early.
    """

    def __init__(self, list_folder: ListFolder, after: str | None) -> None:
        self._list_folder = list_folder
        self._after = after
        self._begun: dict[Key, asyncio.Task[list[Entry]]] = {}

    async def objects(self, folder: Key) -> AsyncIterator[ObjectMeta]:
        """All objects below it that are behind `after`."""
        for entry in await self._entries(folder):
            if isinstance(entry, ObjectMeta):
                if self._after is None or entry.key > self._after:
                    yield entry
            elif not self._is_before(entry):
                async for found in self.objects(entry.key):
                    yield found

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    async def _entries(self, folder: Key) -> list[Entry]:
        if (task := self._begun.pop(folder, None)) is not None:
            return await task
        return await self._listed(folder)

    async def _listed(self, folder: Key) -> list[Entry]:
        """The level, and a start on the folders in it."""
        entries = await self._list_folder(folder)
        for entry in entries:
            if len(self._begun) >= AHEAD:
                break
            if isinstance(entry, Prefix) and not self._is_before(entry):
                self._begun[entry.key] = asyncio.ensure_future(self._listed(entry.key))
        return entries

    def _is_before(self, folder: Prefix) -> bool:
        """Whether nothing in it can be behind `after`."""
        start = order(folder)
        return self._after is not None and start < self._after and not self._after.startswith(start)
