"""Copies between a place and the caller's own files, as the client's settings have it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shoso.client.places import Place
from shoso.client.policy import policy
from shoso.client.progress import foreseen
from shoso.client.settings import ClientSettings
from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.store import Store
from shoso.errors import Kind, store_error
from shoso.layers import standard
from shoso.stores.folder import open_folder
from shoso.transfer import Progress, Selection, Silent, copy

SILENT = Silent()


async def upload(settings: ClientSettings, source: Path, there: Place, told: Progress = SILENT) -> None:
    """Copy a file, or what is in a folder, to a place. Raises StoreError, CopyError."""
    folder, key = _source(source)
    selection = Selection(key, there.key)
    async with _opened(folder) as here, foreseen(told, here, selection):
        await copy(here, there.store, selection, policy(settings, here, told))


async def download(settings: ClientSettings, there: Place, target: Path, told: Progress = SILENT) -> None:
    """Copy the artifact or folder at a place to a path. Raises StoreError, CopyError."""
    folder, key = _target(target)
    selection = Selection(there.key, key)
    async with _opened(folder) as here, foreseen(told, there.store, selection):
        await copy(there.store, here, selection, policy(settings, there.store, told))


def _source(path: Path) -> tuple[Path, Key]:
    """A folder to read from, and what to read of it: an empty folder is one with nothing to copy."""
    if not path.exists():
        raise store_error(Kind.NOT_FOUND, f"There is no file or folder '{path}' to log.", op="copy")
    return (path.resolve(), ROOT) if path.is_dir() else _within(path)


def _target(path: Path) -> tuple[Path, Key]:
    """A folder to write to, and the name there; what is a link to a folder is that folder."""
    return _within(path.resolve() if path.is_dir() else path)


def _within(path: Path) -> tuple[Path, Key]:
    return path.absolute().parent, keys.parse(path.name)


@asynccontextmanager
async def _opened(folder: Path) -> AsyncIterator[Store]:
    """A folder of the caller's, for as long as a copy takes: a script logs from thousands of them."""
    store = standard(open_folder(folder))
    try:
        yield store
    finally:
        await store.close()
