"""Many folders in one hop to a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from shoso.core.keys import ROOT, Key
from shoso.core.store import Within
from shoso.core.types import ObjectMeta
from shoso.stores.disk.calls import Calls


class LocalListings:
    """The Listings verb of a LocalStore, whose `walk` finds all files below a folder."""

    def __init__(self, calls: Calls, walk: Callable[[Key], Iterator[ObjectMeta]]) -> None:
        self._calls, self._walk = calls, walk

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        """See Listings."""
        return await self._calls.run("list_many", ROOT, self._all, folders, most)

    def _all(self, folders: Sequence[Key], most: int) -> list[Within]:
        return [self._calls.attempt("list_many", folder, self._one, folder, most) for folder in folders]

    def _one(self, folder: Key, most: int) -> list[ObjectMeta] | None:
        found = [*islice(self._walk(folder), most + 1)]
        return found if len(found) <= most else None
