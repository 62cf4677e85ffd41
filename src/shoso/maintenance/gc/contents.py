"""What is at a location, summed up so that any change of it shows, in the same memory for any number."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from msgspec.structs import replace

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import NotFound, ShosoError, StoreError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.shelves import place_of
from shoso.maintenance.plans import Item

FEW = 500
"""Objects of one location that are listed together with those of others."""

PARALLEL = 16
"""Locations that are listed at once, where each is listed by itself."""

_WIDTH = 1 << 128


@dataclass(slots=True)
class Contents:
    """Objects, their bytes, and when the newest was written, in seconds; `keys` of the first of them.

    `longest` is the bytes of the longest key. Without `compared`, it is left out with the sum: digests take
    longer than all the rest.
    """

    objects: int = 0
    bytes: int = 0
    newest: float = 0.0
    sum: int = 0
    longest: int = 0
    keys: list[Key] = field(default_factory=list)
    compared: bool = True

    @property
    def fingerprint(self) -> str:
        """Another one for other objects, or other versions of them; whatever the order they came in."""
        return f"{self.sum:032x}"

    def add(self, place: Place, meta: ObjectMeta) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += meta.size
        self.newest = max(self.newest, meta.modified)
        if self.compared:
            self._compare(place, meta)

    def count(self, metas: Sequence[ObjectMeta]) -> None:
        """Count these, and compare nothing."""
        self.objects += len(metas)
        self.bytes += sum([meta.size for meta in metas])
        self.newest = max([self.newest, *(meta.modified for meta in metas)])

    def _compare(self, place: Place, meta: ObjectMeta) -> None:
        self.longest = max(self.longest, len(meta.key.encode()))
        path = keys.below(meta.key, place.key) if meta.key != place.key else ""
        version = f"{path}\0{meta.size}\0{meta.etag or repr(meta.modified)}"
        self.sum = (self.sum + int(digest(version.encode())[:32], 16)) % _WIDTH


async def contents(place: Place, remembered: int = 0, *, compared: bool = True) -> Contents:
    """All that is below the place; the keys of so many of them. Raises StoreError."""
    found = Contents(compared=compared)
    async with closing(objects(place)) as metas:
        async for meta in metas:
            found.add(place, meta)
            if len(found.keys) < remembered:
                found.keys.append(meta.key)
    return found


async def look(
    estate: Estate, items: Sequence[Item], remembered: int = 0, *, compared: bool = True
) -> list[tuple[Place, Contents] | ShosoError]:
    """Where each of these is and what is there, or the error of it; the keys of so many objects of each."""
    found: dict[str, tuple[Place, Contents] | ShosoError] = {}
    asked: dict[Store, list[tuple[Item, Place]]] = defaultdict(list)
    for item in items:
        try:
            place = await place_of(estate, item)
        except ShosoError as error:
            found[item.id] = error
        else:
            asked[place.store].append((item, place))
    for outcomes in await asyncio.gather(
        *(_look_in(store, some, remembered, compared) for store, some in asked.items())
    ):
        found |= outcomes
    return [found[item.id] for item in items]


async def _look_in(
    store: Store, some: Sequence[tuple[Item, Place]], remembered: int, compared: bool
) -> dict[str, tuple[Place, Contents] | ShosoError]:
    """In one store: what it tells of many folders at once, then one by one what it doesn't tell so."""
    found: dict[str, tuple[Place, Contents] | ShosoError] = {}
    for (item, place), metas in zip(some, await _listed(store, [place for _, place in some]), strict=True):
        if metas:
            found[item.id] = place, _summed_up(place, metas, remembered, compared)
    left = [(item, place) for item, place in some if item.id not in found]
    permits = asyncio.Semaphore(PARALLEL)

    async def one(place: Place) -> tuple[Place, Contents] | ShosoError:
        async with permits:
            try:
                return place, await contents(place, remembered, compared=compared)
            except ShosoError as error:
                return error

    outcomes = await asyncio.gather(*(one(place) for _, place in left))
    return found | {item.id: outcome for (item, _), outcome in zip(left, outcomes, strict=True)}


async def _listed(store: Store, places: Sequence[Place]) -> list[Sequence[ObjectMeta]]:
    """What lies in each, where the store lists many folders at once and finds a few objects in it."""
    if store.listings is None or not all(place.key for place in places):
        return [()] * len(places)
    try:
        found = await store.listings.of([place.key for place in places], FEW)
    except StoreError:  # each has its own answer
        return [()] * len(places)
    return [() if one is None or isinstance(one, StoreError) else one for one in found]


def _summed_up(place: Place, metas: Sequence[ObjectMeta], remembered: int, compared: bool) -> Contents:
    found = Contents(keys=[meta.key for meta in metas[:remembered]], compared=compared)
    if compared:
        for meta in metas:
            found.add(place, meta)
    else:
        found.count(metas)
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


def summed(item: Item, found: Contents) -> Item:
    """The item with what is there."""
    return replace(
        item, objects=found.objects, bytes=found.bytes, newest=found.newest, contents=found.fingerprint
    )


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
