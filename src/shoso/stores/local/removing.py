"""Files that go, a folder at a time."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import StoreError
from shoso.stores.files.names import reserved

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore


class Removing:
    """The deletions of a LocalStore. Every method blocks."""

    def __init__(self, store: LocalStore) -> None:
        self._tree, self._calls = store.tree, store.calls

    def all(self, found: Sequence[Key]) -> list[StoreError]:
        """Remove them; the failures. Folders that are left empty go, too."""
        folders: dict[str, list[Key]] = defaultdict(list)
        for key in found:
            folders[key.rpartition("/")[0]].append(key)
        with self._tree.commit_lock(exclusive=False):
            outcomes = [one for folder, inside in folders.items() for one in self._remove(folder, inside)]
        return [outcome for outcome in outcomes if outcome is not None]

    def _remove(self, folder: str, inside: Sequence[Key]) -> list[StoreError | None]:
        """Remove these of one folder, which is opened once; what fails has its own answer."""
        try:
            with self._tree.folder(folder) as descriptor:
                left = [key for key in inside if not self._is_unlinked(descriptor, key)]
        except OSError:
            left = [*inside]
        else:
            self._tree.prune(inside[0])
        return [self._calls.attempt("delete", key, self._tree.remove, key) for key in left]

    def _is_unlinked(self, folder: int, key: Key) -> bool:
        """Whether it is gone as plain files go, nearly all of them."""
        if reserved(key) or (name := keys.name(key)) in {"", ".", ".."}:
            return False
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True
