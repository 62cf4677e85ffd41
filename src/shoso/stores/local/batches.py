"""Many small objects at once: a few hops to threads and a few syncs for a hundred of them."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.batches import require_small
from shoso.core.keys import ROOT, Key
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import Kind, StoreError
from shoso.stores.local.files import digest_of, meta_of
from shoso.stores.local.group import Group, Place
from shoso.stores.local.tree import again

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore

GROUP = 128
"""Objects whose files are open at once."""

GROUPS = 4
"""Groups under way: so many that the disk has work, and few enough for the limit of open files."""

SYNCS = 16
"""Threads that sync a group's files side by side; see docs/decisions/0013-batches.md."""


class LocalBatches:
    """The Batches verbs of a LocalStore."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tree, self._calls = store.tree, store.calls
        self._groups = asyncio.Semaphore(GROUPS)

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """See Batches."""
        outcomes: list[ObjectMeta | StoreError] = []
        for start in range(0, len(objects), GROUP):
            async with self._groups:
                outcomes += await self._write(objects[start : start + GROUP])
        return outcomes

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        return await self._calls.run("read_many", ROOT, self._read, keys)

    async def _write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        group = Group(self._tree, self._calls, objects)
        try:
            await self._sync(group, await self._calls.run("write_many", ROOT, group.write))
            await self._sync(group, await self._calls.run("write_many", ROOT, group.name))
        finally:
            await self._calls.abandon(group)
        return group.outcomes

    async def _sync(self, group: Group, places: Sequence[Place]) -> None:
        """Sync them all, in several threads: the disk is asked to write out its cache by all at once."""
        shares = [places[start::SYNCS] for start in range(min(SYNCS, len(places)))]
        await asyncio.gather(*(self._calls.run("write_many", ROOT, group.sync, share) for share in shares))

    # -- in threads ---------------------------------------------------------------------------------------

    def _read(self, wanted: Sequence[Key]) -> list[SmallObject | StoreError]:
        found: list[SmallObject | StoreError] = []
        for folder, inside in groupby(wanted, keys.parent):
            found += self._read_folder(folder, [*inside])
        return found

    def _read_folder(self, folder: Key, wanted: Sequence[Key]) -> list[SmallObject | StoreError]:
        """Read what lies in one folder, which is opened once."""
        try:
            with self._tree.folder(folder) as descriptor:
                return [self._calls.attempt("read", key, self._read_in, descriptor, key) for key in wanted]
        except OSError:  # no such folder: each says so itself
            return [self._calls.attempt("read", key, self._read_by_name, key) for key in wanted]

    def _read_in(self, folder: int, key: Key) -> SmallObject:
        try:
            return self._whole(key, self._tree.open_inside(folder, keys.name(key)))
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        return self._read_by_name(key)

    @again
    def _read_by_name(self, key: Key) -> SmallObject:
        return self._whole(key, self._tree.open_file(key))

    def _whole(self, key: Key, file: int) -> SmallObject:
        try:
            meta = meta_of(key, os.fstat(file), digest_of(file))
            require_small(meta)
            data = os.pread(file, meta.size, 0)
            while 0 < len(data) < meta.size and (more := os.pread(file, meta.size - len(data), len(data))):
                data += more
        finally:
            os.close(file)
        if len(data) < meta.size:
            raise self._store.error(Kind.CHANGED, "read", key, "was cut short while it was read")
        return SmallObject(meta, data)
