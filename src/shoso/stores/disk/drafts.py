"""Bytes on their way into a file: digested as they pass, compared with what the sender announced.

A thread can't be interrupted: when a call is cancelled, one may still be writing. So a file is closed only
when no thread is at it; were it closed before, the thread would go on with whatever file has its number next.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from shoso.core.digest import Digester
from shoso.core.keys import Key
from shoso.core.streams import Source, complete, confirm
from shoso.core.types import Buffer
from shoso.errors import Kind, store_error

WINDOW = 32 * 1024 * 1024
"""Bytes of a draft that may wait in memory before the disk is told to begin."""

BACKLOG = 512 * 1024 * 1024
"""Bytes of a draft that may wait in all: more would make the sync at its end longer than anybody waits."""


class Berth(Protocol):
    """Where a draft lies: opened with its first bytes. Its methods block and raise OSError, StoreError."""

    @property
    def room(self) -> int | None:
        """Bytes that it takes at most; None for as many as the disk does. Known once it's open."""
        ...

    def open(self, size: int | None) -> tuple[int, int]:
        """A file open for writing, and the offset of the draft in it; `size` is how much will come."""
        ...

    def leave(self) -> None:
        """Remove what has got no name; the file is closed already. May be called again."""
        ...


class Draft:
    """Bytes that nobody sees yet. Every method blocks, and waits for the one at work in another thread.

    One that is going to be synced (`durable`) is written to the disk while it comes.
    """

    def __init__(self, key: Key, source: Source, berth: Berth, durable: bool = False) -> None:
        self._key, self._source, self._berth = key, source, berth
        self._durable = durable
        self._written_back = self._synced = 0
        self._digester = Digester()
        self._lock = threading.Lock()
        self._file, self._start = -1, 0
        self._abandoned = False

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write and digest the next bytes. Raises OSError, also at once where the whole can't fit."""
        with self.at_work() as file:
            for data in buffers:
                self._require_room(len(data))
                write_at(file, data, self._start + self._digester.size)
                self._digester.update(data)
            if self._durable:
                self._write_back(file)

    def seal(self) -> tuple[int, str]:
        """Size and digest, as the sender announced them. Raises CORRUPT, INCOMPLETE."""
        with self.at_work():
            complete(self._key, self._source, self._digester.size)
            confirm(self._key, self._source, digest := self._digester.hex())
        return self._digester.size, digest

    def close(self) -> None:
        """Let go of the file, which has got its name; no work comes any more."""
        with self._lock:
            self._abandoned = True
            self._close()

    def refuse(self) -> None:
        """Take no further work: what a thread is at now is its last. The one method that doesn't block."""
        self._abandoned = True

    def discard(self) -> None:
        """Remove it, if it never got its name, and refuse all further work; may be called again."""
        self.refuse()
        with self._lock, suppress(OSError):
            try:
                self._close()
            finally:
                self._berth.leave()

    @contextmanager
    def at_work(self) -> Iterator[int]:
        """The file, opened if it isn't. Raises OSError, ECANCELED when the draft was given up."""
        with self._lock:
            if self._abandoned:
                raise OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))
            if self._file < 0:
                self._file, self._start = self._berth.open(self._source.size)
            yield self._file

    def _write_back(self, file: int) -> None:
        """Start writing the last window to the disk: the sync at the end then has little left to do.

        For a dirty page the advice means no more than that; see docs/decisions/0004-local-files.md.
        """
        size = self._digester.size
        if size - self._written_back >= WINDOW:
            place, window = self._start + self._written_back, size - self._written_back
            os.posix_fadvise(file, place, window, os.POSIX_FADV_DONTNEED)
            self._written_back = size
        if size - self._synced >= BACKLOG:
            os.fdatasync(file)
            self._synced = size

    def _require_room(self, more: int) -> None:
        room = self._berth.room
        if room is not None and self._digester.size + more > room:
            what = f"A part of '{self._key}' has more than the {room} bytes that were announced for each."
            raise store_error(Kind.INVALID, what, op="put", key=self._key)

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def write_at(file: int, data: Buffer, position: int) -> None:
    """Write all of `data` at `position`."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, position)
        rest, position = rest[written:], position + written


def stamped(file: int) -> os.stat_result:
    """The file's status, its time set to the nanosecond.

    The kernel's own clock ticks every few milliseconds: two versions of one size in one tick, the second on
    the inode that the first gave up, would have the same etag.
    """
    now = time.time_ns()
    with suppress(OSError):  # some mounts take no times
        os.utime(file, ns=(now, now))
    return os.fstat(file)
