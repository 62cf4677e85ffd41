"""One file on its way in: written aside, digested, synced, then named; and what a file tells of itself."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import Source, complete, confirm
from shoso.core.types import Buffer
from shoso.stores.local.tree import Tree

ATTRIBUTE = "user.shoso.digest"
"""Holds "blake3 <hex> <size> <mtime in ns>"."""

_ATTRIBUTE_TEXT = re.compile(rb"blake3 ([0-9a-f]{64}) (\d+) (\d+)")
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EDQUOT}


class Draft:
    """A file that has no name yet. Every method blocks."""

    def __init__(self, tree: Tree, source: Source) -> None:
        self._tree = tree
        self._source = source
        self._digester = Digester()
        self._name: str | None = None
        self._file = -1

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write and digest the next bytes. Raises OSError, also at once where the whole can't fit."""
        if self._file < 0:
            self._name, self._file = self._tree.draft()
            self._require_space()
        for data in buffers:
            self._digester.update(data)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def seal(self, key: Key) -> tuple[os.stat_result, str]:
        """Compare size and digest with what the sender announced, and sync. Raises CORRUPT, INCOMPLETE."""
        complete(key, self._source, self._digester.size)
        digest = self._digester.hex()
        confirm(key, self._source, digest)
        status = os.fstat(self._file)
        _keep_digest(self._file, digest, status)
        os.fsync(self._file)
        return status, digest

    def move(self, key: Key, replace: bool) -> None:
        """Give it its name, durably."""
        if self._name is not None:
            self._tree.move(self._name, key, replace)
        self._close()
        self._name = None

    def discard(self) -> None:
        """Remove it, if it never got its name; may be called again."""
        self._close()
        if self._name is not None:
            self._tree.discard(self._name)
            self._name = None

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _require_space(self) -> None:
        """Refuse before the first byte what can't fit: a client that sends 100 GB learns it now."""
        volume = os.fstatvfs(self._file)
        if (self._source.size or 0) > volume.f_bavail * volume.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def etag_of(status: os.stat_result) -> str:
    """Changes with every write: each makes a new file (inode), with its own time and size."""
    return f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"


def digest_of(file: int) -> str | None:
    """The digest kept with an open file, if it was of the file as it is now."""
    try:
        kept = _ATTRIBUTE_TEXT.fullmatch(os.getxattr(file, ATTRIBUTE))
    except OSError:
        return None
    status = os.fstat(file)
    if kept is None or (int(kept[2]), int(kept[3])) != (status.st_size, status.st_mtime_ns):
        return None
    return kept[1].decode()


def attributes_work(folder: int) -> bool:
    """Whether the file system of this folder keeps extended attributes."""
    try:
        os.setxattr(folder, ATTRIBUTE, b"probe")
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return False
        raise
    return True


def _keep_digest(file: int, digest: str, status: os.stat_result) -> None:
    text = f"blake3 {digest} {status.st_size} {status.st_mtime_ns}"
    try:
        os.setxattr(file, ATTRIBUTE, text.encode())
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
