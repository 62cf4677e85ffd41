"""What is at a location, summed up so that any change of it shows, in the same memory for any number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import NotFound
from shoso.maintenance.plans import Item

_WIDTH = 1 << 128


@dataclass(slots=True)
class Contents:
    """Objects, their bytes, and when the newest was written, in seconds; `keys` of the first of them.

    `longest` is the bytes of the longest key.
    """

    objects: int = 0
    bytes: int = 0
    newest: float = 0.0
    sum: int = 0
    longest: int = 0
    keys: list[Key] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Another one for other objects, or other versions of them; whatever the order they came in."""
        return f"{self.sum:032x}"

    def add(self, place: Place, meta: ObjectMeta) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += meta.size
        self.newest = max(self.newest, meta.modified)
        self.longest = max(self.longest, len(meta.key.encode()))
        path = keys.below(meta.key, place.key) if meta.key != place.key else ""
        version = f"{path}\0{meta.size}\0{meta.etag or repr(meta.modified)}"
        self.sum = (self.sum + int(digest(version.encode())[:32], 16)) % _WIDTH


async def contents(place: Place, remembered: int = 0) -> Contents:
    """All that is below the place; the keys of so many of them. Raises StoreError."""
    found = Contents()
    async with closing(objects(place)) as metas:
        async for meta in metas:
            found.add(place, meta)
            if len(found.keys) < remembered:
                found.keys.append(meta.key)
    return found


async def objects(place: Place) -> AsyncIterator[ObjectMeta]:
    """Every object below the place; if there is none, the one that it is itself. Raises StoreError."""
    found = False
    async with closing(place.store.list(place.key, deep=True)) as entries:
        async for entry in entries:
            if isinstance(entry, ObjectMeta):
                found = True
                yield entry
    if not found and place.key:
        with suppress(NotFound):
            yield await place.store.stat(place.key)


def changed(item: Item, found: Contents, begun: bool) -> bool:
    """Whether there is something that the plan doesn't know; what was begun may have lost some of it."""
    if not begun:
        return (found.objects, found.bytes, found.fingerprint) != (item.objects, item.bytes, item.contents)
    return found.objects > item.objects or found.bytes > item.bytes or found.newest > item.newest


async def newer(place: Place, seconds: float) -> str:
    """The path of an object that was written later; "" where there is none. Raises StoreError."""
    async with closing(objects(place)) as metas:
        async for meta in metas:
            if meta.modified > seconds:
                return keys.below(meta.key, place.key)
    return ""
