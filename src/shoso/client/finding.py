"""Reading what a URI names, with as few requests as it takes.

What a run has not may be the logged model of that name (`Places.find`). To ask that beforehand would cost a
request each time, so it's asked when there was nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from shoso.client.entities import FileInfo
from shoso.client.places import Place, Places
from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import Store, read_bytes
from shoso.core.types import Entry, ObjectMeta, Prefix
from shoso.errors import NotFound

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """An artifact at its place."""

    store: Store
    key: Key
    meta: ObjectMeta


async def use(places: Places, uri: str, get: Callable[[Place], Awaitable[T]]) -> T:
    """What `get` returns of the place. Raises StoreError(NOT_FOUND) where there is nothing."""
    place = await places.open(uri)
    try:
        return await get(place)
    except NotFound:
        other = await places.find(uri)
        if other == place:
            raise
        return await get(other)


async def find(places: Places, uri: str) -> Found:
    """The artifact. Raises StoreError(NOT_FOUND)."""

    async def stat(place: Place) -> Found:
        return Found(place.store, place.key, await place.store.stat(place.key))

    return await use(places, uri, stat)


async def read(places: Places, uri: str) -> bytes:
    """The bytes of an artifact, verified. Raises StoreError(NOT_FOUND)."""
    return await use(places, uri, lambda place: read_bytes(place.store, place.key))


async def entries(places: Places, uri: str, *, deep: bool = False) -> tuple[Key, list[Entry]]:
    """What is in a folder, and the folder's key; nothing where it is none."""
    place = await places.open(uri)
    if not (found := await _listed(place, deep=deep)):
        place = await places.find(uri)
        found = await _listed(place, deep=deep)
    return place.key, found


def info(entry: Entry, root: Key, folder: Key) -> FileInfo:
    """What is listed below the key `root`, with its path as seen from where `root` is `folder`."""
    path = keys.join(folder, keys.below(entry.key, root))
    return FileInfo(path, True) if isinstance(entry, Prefix) else FileInfo(path, False, entry.size)


async def _listed(place: Place, *, deep: bool) -> list[Entry]:
    return [entry async for entry in place.store.list(place.key, deep)]
