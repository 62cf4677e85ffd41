"""Files of the user's, who goes on changing them: what changed while it was read is an error."""

from __future__ import annotations

import errno
import os

from shoso.core.batches import require_small
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, SmallObject
from shoso.stores.disk.reading import OpenFile, etag_of
from shoso.stores.folder.tree import Tree
from shoso.stores.folder.walk import meta_of, version_of


class SourceFile(OpenFile):
    """A file being read, whose last bytes come only if it's still what it was."""

    def read(self, position: int) -> bytes:
        """See OpenFile. Raises ESTALE."""
        data = super().read(position)
        if position + len(data) >= self.stop:
            require_unchanged(self._file, self.meta)
        return data


def read_whole(tree: Tree, key: Key) -> SmallObject:
    """A small file. Raises OSError, ESTALE where it changed meanwhile."""
    file = tree.open_file(key)
    try:
        meta = meta_of(key, os.fstat(file))
        require_small(meta)
        data = os.pread(file, meta.size, 0)
        require_unchanged(file, meta)
    finally:
        os.close(file)
    return SmallObject(meta, data)


def require_unchanged(file: int, meta: ObjectMeta) -> None:
    """Raise ESTALE where an open file isn't any more what it was; one that has lost its name still is."""
    status = os.fstat(file)
    same = meta.etag == version_of(status)
    if not same and (status.st_nlink or not f"{meta.etag}".startswith(f"{etag_of(status)}-")):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), meta.key)
