"""Artifacts below a location that a server has recorded: what MLflow's plugin does with one."""

from __future__ import annotations

from pathlib import Path

from shoso.client.entities import FileInfo
from shoso.client.finding import info
from shoso.client.link import Link
from shoso.client.places import Place
from shoso.client.transfers import SILENT, download, upload
from shoso.core import keys
from shoso.core.store import delete_tree
from shoso.transfer import Progress


async def uploaded(link: Link, source: str, location: str, path: str, told: Progress) -> None:
    """Copy a file, or what is in a folder, to `path` below the location. Raises StoreError, CopyError."""
    await upload(link.settings, Path(source), await _at(link, location, path), told)


async def downloaded(link: Link, location: str, path: str, target: Path, told: Progress = SILENT) -> None:
    """Copy what is at `path` below the location to `target`. Raises StoreError, CopyError."""
    await download(link.settings, await _at(link, location, path), target, told)


async def listed(link: Link, location: str, path: str) -> list[FileInfo]:
    """What is directly in the folder `path`, named from the location, in order."""
    place = await _at(link, location, path)
    folder = keys.parse(path.strip("/"))
    found = [info(entry, place.key, folder) async for entry in place.store.list(place.key)]
    return sorted(found, key=lambda each: each.path)


async def deleted(link: Link, location: str, path: str) -> None:
    """Delete what is at `path` below the location, an object or a folder."""
    place = await _at(link, location, path)
    await delete_tree(place.store, place.key)


async def _at(link: Link, location: str, path: str) -> Place:
    place = await link.places.recorded(location)
    return Place(place.store, keys.join(place.key, keys.parse(path.strip("/"))))
