"""Files that get other names: renamed one by one, then made durable a folder at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.types import Move
from shoso.errors import StoreError
from shoso.stores.local.tree import again

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore


class Moving:
    """The moves of a LocalStore. Every method blocks."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tree, self._calls = store.tree, store.calls

    def all(self, moves: Sequence[Move]) -> list[StoreError]:
        """Make them; the failures. Folders that are left empty go, those of a move that broke off too."""
        with self._tree.commit_lock(exclusive=False):
            outcomes = [self._move(key, target) for key, target in moves]
        folders = {keys.parent(target) for _, target in moves}
        outcomes += [self._calls.attempt("move", folder, self._sync, folder) for folder in folders]
        for key in {keys.parent(key): key for key, _ in moves}.values():
            self._tree.prune(key)
        return [outcome for outcome in outcomes if outcome is not None]

    def _move(self, key: Key, target: Key) -> StoreError | None:
        waiting = self._calls.attempt("move", key, self._waits, key, target)
        if isinstance(waiting, StoreError):
            return waiting
        return self._calls.attempt("move", target, self._rename, key, target) if waiting else None

    def _waits(self, key: Key, target: Key) -> bool:
        """Whether the file is still to be moved; not so where it has been. Raises FileNotFoundError."""
        self._store.refuse("move", target)
        if self._tree.holds(key):
            return True
        if self._tree.holds(target):
            return False
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)

    def _rename(self, key: Key, target: Key) -> None:
        try:
            self._tree.move(keys.name(key), target, replace=True, among=keys.parent(key), durable=False)
        except FileNotFoundError:  # somebody else may have moved it meanwhile
            if not self._tree.holds(target):
                raise

    @again
    def _sync(self, folder: Key) -> None:
        with suppress(FileNotFoundError, NotADirectoryError), self._tree.folder(folder) as descriptor:
            self._tree.mount.settle(descriptor)
