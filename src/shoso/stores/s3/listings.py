"""Many folders by few pages of a listing: those that lie side by side in the bucket share them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from posixpath import commonpath

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import Within
from shoso.core.types import ObjectMeta

FIRST, FEWEST, MOST = 200, 50, 1000
"""Objects that are asked for at once: more while most of them are wanted, fewer where others lie between."""

Fetch = Callable[[Key, str, int], Awaitable[tuple[Sequence[ObjectMeta], str | None]]]
"""Below a folder, behind a key, so many at most → the objects, and the last key where there are more."""


class S3Listings:
    """The Listings verb of a bucket, by pages of its listing."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch, self._size = fetch, FIRST

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        """See Listings."""
        found: dict[Key, Within] = {}
        left = sorted({*folders}, key=lambda folder: f"{folder}/")
        while left:
            outer = _outermost(left)
            found |= await self._scan(outer, most)
            left = [folder for folder in left if folder not in found]
        return [found[folder] for folder in folders]

    async def _scan(self, folders: Sequence[Key], most: int) -> dict[Key, Within]:
        """These, none of which lies in another one, in the order of the bucket."""
        above = Key(commonpath(folders))
        scan, behind = _Scan(folders, most), ""
        while not scan.over:
            page, last = await self._fetch(above, max(behind, scan.start), self._size)
            wanted = scan.take(page)
            if last is None:
                break
            behind, many = last, 2 * wanted >= len(page)
            self._size = min(MOST, 2 * self._size) if many else max(FEWEST, self._size // 2)
        return scan.found


class _Scan:
    """How far a scan is: all folders before `_at` are done."""

    def __init__(self, folders: Sequence[Key], most: int) -> None:
        self._folders, self._most, self._at = folders, most, 0
        self._lists: dict[Key, list[ObjectMeta]] = {folder: [] for folder in folders}
        self.found: dict[Key, Within] = dict(self._lists)

    @property
    def over(self) -> bool:
        return self._at == len(self._folders)

    @property
    def start(self) -> str:
        """Before what the next folder holds."""
        return f"{self._folders[self._at]}/"

    def take(self, page: Sequence[ObjectMeta]) -> int:
        """The next objects; how many of them lie in one of the folders."""
        wanted = 0
        for meta in page:
            while not self.over and meta.key > self.start and not meta.key.startswith(self.start):
                self._at += 1
            if self.over:
                break
            if meta.key.startswith(self.start):
                wanted += 1
                self._add(self._folders[self._at], meta)
        return wanted

    def _add(self, folder: Key, meta: ObjectMeta) -> None:
        self._lists[folder].append(meta)
        if len(self._lists[folder]) > self._most:
            self.found[folder] = None
            self._at += 1


def _outermost(folders: Sequence[Key]) -> list[Key]:
    """Of folders in order, those that lie in none of the others."""
    found: list[Key] = []
    for folder in folders:
        if not (found and keys.contains(found[-1], folder)):
            found.append(folder)
    return found
