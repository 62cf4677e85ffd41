"""Many small files in one hop to a thread; each stands or falls by itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Protocol, Self

from shoso.core import digest, keys
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import StoreError
from shoso.stores.disk.calls import Calls
from shoso.stores.disk.drafts import stamped, write_at
from shoso.stores.folder import names
from shoso.stores.folder.reading import read_whole
from shoso.stores.folder.tree import Tree, create, name_draft
from shoso.stores.folder.walk import meta_of


class Parent(Protocol):
    """The store whose batches they are."""

    @property
    def tree(self) -> Tree: ...
    @property
    def calls(self) -> Calls: ...


class FolderBatches:
    """The Batches verbs of a folder."""

    def __init__(self, store: Parent) -> None:
        self._tree, self._calls = store.tree, store.calls

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """See Batches."""
        return await self._calls.run("write_many", keys.ROOT, self._write, objects)

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        return await self._calls.run("read_many", Key(""), self._read, keys)

    def _write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        with _Nearby(self._tree) as nearby:
            return [self._calls.attempt("write", each.meta.key, _written, nearby, each) for each in objects]

    def _read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        return [self._calls.attempt("read", key, read_whole, self._tree, key) for key in keys]


class _Nearby:
    """The folder that was written to last, kept open: the next object is mostly for the same."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._stack = tree, ExitStack()
        self._above: Key | None = None
        self._folder = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def folder(self, key: Key) -> int:
        above = keys.parent(key)
        if above != self._above:
            self.forget()
            self._folder = self._stack.enter_context(self._tree.target(key))
            self._above = above
        return self._folder

    def forget(self) -> None:
        self._stack.close()
        self._above = None


def _written(nearby: _Nearby, each: SmallObject) -> ObjectMeta:
    key, expected = each.meta.key, each.meta.digest
    if expected is not None and (actual := digest.digest(each.data)) != expected:
        raise digest.mismatch(key, expected, actual)
    try:
        return _placed(nearby.folder(key), key, each)
    except FileNotFoundError:  # others emptied the folder and removed it
        nearby.forget()
        return _placed(nearby.folder(key), key, each)


def _placed(folder: int, key: Key, each: SmallObject) -> ObjectMeta:
    name = keys.name(key)
    draft = names.temporary(name)
    file = create(folder, draft)
    try:
        write_at(file, each.data, 0)
        stamped(file)
        name_draft(folder, draft, name, replace=True)
        status = os.fstat(file)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise
    finally:
        os.close(file)
    return meta_of(key, status, each.meta.digest)
