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
from shoso.stores.local.tree import segments

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore


class Removing:
    """The deletions of a LocalStore. Every method blocks."""

    def __init__(self, store: LocalStore) -> None:
        self._tree, self._calls = store.tree, store.calls

    def all(self, found: Sequence[Key]) -> list[StoreError]:
        """Remove them; the failures. Folders that are left empty go, too."""
        folders: dict[str, list[Key]] = defaultdict(list)
        refused = list[StoreError]()
        for key in found:
            if (why := self._refusal(key)) is None:
                folders[key.rpartition("/")[0]].append(key)
            else:
                refused.append(why)
        with self._tree.commit_lock(exclusive=False):
            outcomes = [one for folder, inside in folders.items() for one in self._remove(folder, inside)]
        return refused + [outcome for outcome in outcomes if outcome is not None]

    def _refusal(self, key: Key) -> StoreError | None:
        """Why no folder is even opened, or found empty and removed, for a key like that."""
        if keys.is_plain(key) or not (reserved(key) or not _CLIMBING.isdisjoint(key.split("/"))):
            return None
        outcome = self._calls.attempt("delete", key, segments, key)
        return outcome if isinstance(outcome, StoreError) else None

    def _remove(self, folder: str, inside: Sequence[Key]) -> list[StoreError | None]:
        """Remove these of one folder, which is opened once; what fails has its own answer."""
        try:
            with self._tree.folder(folder) as descriptor:
                left = [key for key in inside if not _is_unlinked(descriptor, keys.name(key))]
        except OSError:
            left = [*inside]
        else:
            self._tree.prune(inside[0])
        return [self._calls.attempt("delete", key, self._tree.remove, key) for key in left]


_CLIMBING = {"", ".", ".."}


def _is_unlinked(folder: int, name: str) -> bool:
    """Whether it is gone as plain files go, nearly all of them."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
