"""One file on its way in (set aside, digested, synced, then named) or out, and what a file tells of itself.

A thread can't be interrupted: when a call is cancelled, one may still be at work on its file. So a file is
closed only when no thread is at it; were it closed before, the thread would go on with whatever file gets its
number next.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, Source, complete, confirm
from shoso.core.types import Buffer, ObjectMeta
from shoso.stores.local.tree import Tree

ATTRIBUTE = "user.shoso.digest"
"""Holds "blake3 <hex> <size> <mtime in ns>"."""

WINDOW = 32 * 1024 * 1024
"""Bytes of a draft that may wait in memory before the disk is told to begin."""

BACKLOG = 512 * 1024 * 1024
"""Bytes of a draft that may wait in all: more would make the sync at its end longer than anybody waits."""

_ATTRIBUTE_TEXT = re.compile(rb"blake3 ([0-9a-f]{64}) (\d+) (\d+)")
_NO_ATTRIBUTES = {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.EDQUOT}


class Draft:
    """A file that has no name yet. Every method blocks, and waits for the one at work in another thread.

    `kept` says whether its digest is kept with it.
    """

    def __init__(self, tree: Tree, source: Source) -> None:
        self._tree = tree
        self._source = source
        self._digester = Digester()
        self._name: str | None = None
        self._file = -1
        self._lock = threading.Lock()
        self._abandoned = False
        self._written_back = 0
        self._synced = 0
        self.kept = False

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write and digest the next bytes. Raises OSError, also at once where the whole can't fit."""
        with self._at_work():
            if self._file < 0:
                self._name, self._file = self._tree.draft()
                self._require_space()
            for data in buffers:
                self._digester.update(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(self._file, rest) :]
            self._write_back()

    def seal(self, key: Key) -> tuple[os.stat_result, str]:
        """Compare size and digest with what the sender announced, and sync. Raises CORRUPT, INCOMPLETE."""
        with self._at_work():
            digest = self._digester.hex()
            complete(key, self._source, self._digester.size)
            confirm(key, self._source, digest)
            status = _stamped(self._file)
            self.kept = _keep_digest(self._file, digest, status)
            os.fsync(self._file)
        return status, digest

    def move(self, key: Key | str, replace: bool) -> None:
        """Give it its name, durably."""
        with self._at_work():
            if self._name is not None:
                self._tree.move(self._name, key, replace)
                self._name = None
            self._close()

    def refuse(self) -> None:
        """Take no further work: what a thread is at now is its last. The one method that doesn't block."""
        self._abandoned = True

    def discard(self) -> None:
        """Remove it, if it never got its name, and refuse all further work; may be called again."""
        self.refuse()
        with self._lock:
            with suppress(OSError):  # over NFS, closing may report a full disk once more
                self._close()
            if self._name is not None:
                self._tree.discard(self._name)
                self._name = None

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        with self._lock:
            if self._abandoned:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            yield

    def _write_back(self) -> None:
        """Start writing the last window to the disk: the sync at the end then has little left to do.

        For a dirty page the advice means no more than that; see docs/decisions/0004-local-files.md.
        """
        size = self._digester.size
        if size - self._written_back >= WINDOW:
            window = size - self._written_back
            os.posix_fadvise(self._file, self._written_back, window, os.POSIX_FADV_DONTNEED)
            self._written_back = size
        if size - self._synced >= BACKLOG:
            os.fdatasync(self._file)
            self._synced = size

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _require_space(self) -> None:
        """Refuse before the first byte what can't fit: a client that sends 100 GB learns it now."""
        volume = os.fstatvfs(self._file)
        if (self._source.size or 0) > volume.f_bavail * volume.f_frsize:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class OpenFile:
    """A file being read; its first bytes come with opening it."""

    def __init__(self, file: int, meta: ObjectMeta, start: int, stop: int) -> None:
        self._file = file
        self.meta, self.start, self.stop = meta, start, stop
        self.first = self.read(start)
        self.coming: Future[bytes] | None = None

    def read(self, position: int) -> bytes:
        """The next bytes at `position`; none past the end. Blocks."""
        return os.pread(self._file, min(CHUNK, self.stop - position), position)

    def close(self) -> None:
        """Let go of the file, as soon as no thread reads it; may be called again."""
        file, self._file = self._file, -1
        if file < 0:
            return
        if self.coming is None:
            os.close(file)
        else:
            self.coming.cancel()
            self.coming.add_done_callback(lambda _: os.close(file))


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
    """Whether the file system of this folder keeps extended attributes; asked without writing any."""
    try:
        os.getxattr(folder, ATTRIBUTE)
    except OSError as error:
        return error.errno == errno.ENODATA
    return True


def _stamped(file: int) -> os.stat_result:
    """The file's status, its time set to the nanosecond.

    The kernel's own clock ticks every few milliseconds: two versions of one size in one tick, the second on
    the inode that the first gave up, would have the same etag.
    """
    now = time.time_ns()
    with suppress(OSError):  # some mounts take no times
        os.utime(file, ns=(now, now))
    return os.fstat(file)


def _keep_digest(file: int, digest: str, status: os.stat_result) -> bool:
    text = f"blake3 {digest} {status.st_size} {status.st_mtime_ns}"
    try:
        os.setxattr(file, ATTRIBUTE, text.encode())
    except OSError as error:
        if error.errno not in _NO_ATTRIBUTES:
            raise
        return False
    return True
