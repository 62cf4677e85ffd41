"""A file on its way in (set aside, digested, synced, then named), and what a file tells of itself."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.stores.disk.drafts import Draft, stamped
from shoso.stores.disk.reading import etag_of
from shoso.stores.disk.space import require_room
from shoso.stores.local.tree import Tree

ATTRIBUTE = "user.shoso.digest"
"""Holds "blake3 <hex> <size> <mtime in ns>"."""

_ATTRIBUTE_TEXT = re.compile(rb"blake3 ([0-9a-f]{64}) (\d+) (\d+)")
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EDQUOT}


class Aside:
    """A berth in `.shoso/drafts`; see disk.drafts.Berth."""

    room = None

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._name = ""

    def open(self, size: int | None) -> tuple[int, int]:
        """See Berth; what can't fit is refused now: a client that sends 100 GB learns it at once."""
        self._name, file = self._tree.draft()
        try:
            require_room(file, size or 0)
        except OSError:
            os.close(file)
            raise
        return file, 0

    def move(self, key: Key | str, replace: bool) -> None:
        """Give it its name, durably."""
        self._tree.move(self._name, key, replace)
        self._name = ""

    def leave(self) -> None:
        """See Berth."""
        if self._name:
            self._tree.discard(self._name)
            self._name = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A file whose bytes are on the disk."""

    status: os.stat_result
    digest: str

    def meta(self, key: Key) -> ObjectMeta:
        """What it is under that name."""
        return meta_of(key, self.status, self.digest)


def seal(draft: Draft) -> Sealed:
    """The draft, compared with what the sender announced, and synced. Raises CORRUPT, INCOMPLETE."""
    _, digest = draft.seal()
    with draft.at_work() as file:
        return sync(file, digest)


def sync(file: int, digest: str) -> Sealed:
    """Sync an open file, its digest with it."""
    status = marked(file, digest)
    os.fsync(file)
    return Sealed(status, digest)


def marked(file: int, digest: str) -> os.stat_result:
    """The status of an open file, its digest kept with it; both are still to be synced."""
    status = stamped(file)
    _keep_digest(file, digest, status)
    return status


def meta_of(key: Key, status: os.stat_result, digest: str | None = None) -> ObjectMeta:
    """What a file tells of itself."""
    return ObjectMeta(key, status.st_size, status.st_mtime, etag_of(status), digest)


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
    """Whether the file system of this folder keeps extended attributes; asked without writing any."""
    try:
        os.getxattr(folder, ATTRIBUTE)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def _keep_digest(file: int, digest: str, status: os.stat_result) -> None:
    text = f"blake3 {digest} {status.st_size} {status.st_mtime_ns}"
    try:
        os.setxattr(file, ATTRIBUTE, text.encode())
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
