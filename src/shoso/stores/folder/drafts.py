"""Where a file lies until it's whole: beside its target."""

from __future__ import annotations

import os
from contextlib import suppress

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import CHUNK
from shoso.stores.folder import names
from shoso.stores.folder.tree import Tree, name_draft


class Beside:
    """A berth in the folder of the target `key`; see disk.drafts.Berth."""

    room = None

    def __init__(self, tree: Tree, key: Key) -> None:
        self._tree, self.key = tree, key
        self._name = keys.name(key)
        self._draft = ""
        self._folder = -1

    def open(self, size: int | None) -> tuple[int, int]:
        """See Berth; a large file takes its room at once."""
        draft = names.temporary(self._name)
        try:
            self._folder, file = self._tree.draft(self.key, draft, size if (size or 0) > CHUNK else None)
        except OSError:
            self._tree.prune(keys.parent(self.key))
            raise
        self._draft = draft
        return file, 0

    def move(self, replace: bool) -> None:
        """Give the draft its name."""
        name_draft(self._folder, self._draft, self._name, replace)
        self._draft = ""
        self._close()

    def leave(self) -> None:
        """See Berth; the folders made on the way go too."""
        if self._draft:
            with suppress(OSError):
                os.unlink(self._draft, dir_fd=self._folder)
            self._draft = ""
            self._close()
            self._tree.prune(keys.parent(self.key))

    def _close(self) -> None:
        folder, self._folder = self._folder, -1
        os.close(folder)
