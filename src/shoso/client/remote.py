"""Artifacts below a location that a server has recorded: what MLflow's plugin does with one."""

from __future__ import annotations

from pathlib import Path

from shoso.client.entities import FileInfo
from shoso.client.link import Link
from shoso.client.places import Place
from shoso.client.policy import policy
from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.store import Store, delete_tree
from shoso.core.types import Entry, ObjectMeta
from shoso.errors import Kind, store_error
from shoso.layers import standard
from shoso.stores.folder import open_folder
from shoso.transfer import Selection, copy


async def uploaded(link: Link, source: str, location: str, path: str) -> None:
    """Copy a file, or what is in a folder, to `path` below the location. Raises StoreError, CopyError."""
    here, there = _local(Path(source)), await _at(link, location, path)
    try:
        await copy(here.store, there.store, Selection(here.key, there.key), policy(link.settings, here.store))
    finally:
        await here.store.close()


async def downloaded(link: Link, location: str, path: str, target: Path) -> None:
    """Copy what is at `path` below the location to `target`. Raises StoreError, CopyError."""
    there = await _at(link, location, path)
    store = standard(open_folder(target.parent))
    try:
        selection = Selection(there.key, keys.parse(target.name))
        await copy(there.store, store, selection, policy(link.settings, there.store))
    finally:
        await store.close()


async def listed(link: Link, location: str, path: str) -> list[FileInfo]:
    """What is directly in the folder `path`, named from the location, in order."""
    place = await _at(link, location, path)
    found = [_info(entry, keys.parse(path.strip("/"))) async for entry in place.store.list(place.key)]
    return sorted(found, key=lambda info: info.path)


async def deleted(link: Link, location: str, path: str) -> None:
    """Delete what is at `path` below the location, an object or a folder."""
    place = await _at(link, location, path)
    await delete_tree(place.store, place.key)


async def _at(link: Link, location: str, path: str) -> Place:
    place = await link.places.recorded(location)
    return Place(place.store, keys.join(place.key, keys.parse(path.strip("/"))))


def _local(source: Path) -> Place:
    """A file in its folder, or a folder as a store of its own: an empty one has nothing to copy."""
    real = source.resolve()
    if not real.exists():
        raise store_error(Kind.NOT_FOUND, f"There is no file or folder '{source}' to log.")
    if real.is_dir():
        return Place(_opened(real), ROOT)
    return Place(_opened(source.absolute().parent), keys.parse(source.name))


def _opened(folder: Path) -> Store:
    return standard(open_folder(folder))


def _info(entry: Entry, folder: Key) -> FileInfo:
    path = keys.join(folder, keys.name(entry.key))
    return FileInfo(path, False, entry.size) if isinstance(entry, ObjectMeta) else FileInfo(path, True)
