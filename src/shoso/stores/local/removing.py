"""Files that go, a folder at a time."""

from __future__ import annotations

import errno
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import StoreError
from shoso.stores.local.tree import segments, unlink

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore


class Removing:
    """The deletions of a LocalStore. Every method blocks."""

    def __init__(self, store: LocalStore) -> None:
        self._tree, self._calls = store.tree, store.calls

    def all(self, found: Sequence[Key]) -> list[StoreError]:
        """Remove them; the failures. Folders that are left empty go, too."""
        folders: dict[Key, list[Key]] = defaultdict(list)
        failures = list[StoreError]()
        for key in found:
            refused = self._calls.attempt("delete", key, segments, key)  # before any folder of it is opened
            if isinstance(refused, StoreError):
                failures.append(refused)
            else:
                folders[keys.parent(key)].append(key)
        with self._tree.commit_lock(exclusive=False):
            outcomes = [one for folder, inside in folders.items() for one in self._remove(folder, inside)]
        return failures + [outcome for outcome in outcomes if outcome is not None]

    def _remove(self, folder: Key, inside: Sequence[Key]) -> list[StoreError | None]:
        """Remove these of one folder, which is opened once."""
        try:
            with self._tree.folder(folder) as descriptor:
                outcomes = [
                    self._calls.attempt("delete", key, self._unlink, descriptor, key) for key in inside
                ]
        except OSError:  # whatever it is, each key has its own answer
            return [self._calls.attempt("delete", key, self._tree.remove, key) for key in inside]
        self._tree.prune(inside[0])
        return outcomes

    def _unlink(self, folder: int, key: Key) -> None:
        try:
            with suppress(FileNotFoundError):
                unlink(folder, keys.name(key))
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
            self._tree.remove(key)
