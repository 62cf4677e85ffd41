"""What lies in a folder, as MLflow's server lists it: one level, sizes, no times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import order
from shoso.core.types import Entry, ObjectMeta, Prefix
from shoso.errors import NotFound
from shoso.stores.mlflow import names
from shoso.stores.mlflow.calls import Calls
from shoso.wire.entities import FileInfo
from shoso.wire.replies import ArtifactList


class Listing:
    """The folders of one server. Raises StoreError."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def level(self, folder: Key) -> list[Entry]:
        """What is in it, in the order of keys; nothing where it isn't there."""
        found = ((names.joined(folder, file.path), file) for file in await self._files(folder))
        return sorted((_entry(key, file) for key, file in found if key is not None), key=order)

    async def entry(self, key: Key) -> Entry | None:
        """What stands under that name."""
        return next((entry for entry in await self.level(keys.parent(key)) if entry.key == key), None)

    async def objects_among(self, wanted: Sequence[Key]) -> list[Key]:
        """Those that are objects, by one listing of each folder."""
        folders = {keys.parent(key) for key in wanted}
        levels = await asyncio.gather(*(self.level(folder) for folder in folders))
        there = {entry.key for level in levels for entry in level if isinstance(entry, ObjectMeta)}
        return [key for key in dict.fromkeys(wanted) if key in there]

    async def file_above(self, key: Key) -> Key | None:
        """The object that stands where a folder of the key would be."""
        above = keys.parent(key)
        while above:
            if isinstance(await self.entry(above), ObjectMeta):
                return above
            above = keys.parent(above)
        return None

    async def _files(self, folder: Key) -> Sequence[FileInfo]:
        self._calls.require("list", folder)
        query = {"path": folder} if folder else None
        try:
            async with self._calls.done("list", folder, "GET", names.ROOT, query=query) as reply:
                said = await self._calls.read(reply, "list", folder)
        except NotFound:
            return ()
        try:
            return msgspec.json.decode(said, type=ArtifactList, strict=False).files
        except msgspec.MsgspecError as error:
            raise self._calls.foreign(error, "list", folder) from error


def _entry(key: Key, file: FileInfo) -> Entry:
    return Prefix(key) if file.is_dir else ObjectMeta(key, file.file_size or 0, 0.0)
