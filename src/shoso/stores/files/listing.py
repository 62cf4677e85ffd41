"""Deep listings in the order of keys, with the folders ahead fetched while the ones before are shown.

Only a few folders are in memory at a time: the ones on the way down, and at each level the next `AHEAD`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from shoso.core.keys import Key
from shoso.core.store import order
from shoso.core.streams import closing
from shoso.core.types import Entry, ObjectMeta, Prefix

Level = list[Entry]
"""What one folder shows, in the order of keys."""

Look = Callable[[Key], Awaitable[Level]]

AHEAD = 4
"""Sibling folders that are fetched ahead."""


async def walk(look: Look, folder: Key, after: str | None) -> AsyncIterator[ObjectMeta]:
    """All objects below the folder, in order, behind `after`."""
    async with closing(_walk(look, await look(folder), after)) as found:
        async for meta in found:
            yield meta


def behind(entries: Level, after: str | None) -> Iterator[Entry]:
    """The entries of one level that a shallow listing shows behind `after`."""
    return (entry for entry in entries if after is None or order(entry) > after)


async def _walk(look: Look, entries: Level, after: str | None) -> AsyncIterator[ObjectMeta]:
    relevant = [entry for entry in entries if _leads_behind(entry, after)]
    ahead = _Ahead(look, [entry.key for entry in relevant if isinstance(entry, Prefix)])
    try:
        for entry in relevant:
            if isinstance(entry, ObjectMeta):
                yield entry
                continue
            async with closing(_walk(look, await ahead.next(), after)) as inner:
                async for meta in inner:
                    yield meta
    finally:
        await ahead.close()


def _leads_behind(entry: Entry, after: str | None) -> bool:
    """Whether the entry, or something in the folder, comes behind."""
    place = order(entry)
    return after is None or place > after or (isinstance(entry, Prefix) and after.startswith(place))


class _Ahead:
    """The levels of these folders, one after another, the next few being fetched already."""

    def __init__(self, look: Look, folders: list[Key]) -> None:
        self._look = look
        self._folders = iter(folders)
        self._coming: deque[asyncio.Future[Level]] = deque()

    async def next(self) -> Level:
        """The next folder's level."""
        while len(self._coming) <= AHEAD and (folder := next(self._folders, None)) is not None:
            self._coming.append(asyncio.ensure_future(self._look(folder)))
        try:
            return await self._coming[0]
        finally:
            self._coming.popleft()

    async def close(self) -> None:
        """Let go of what isn't wanted any more."""
        for coming in self._coming:
            coming.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)
