"""A file being read, and what tells its versions apart.

A thread can't be interrupted: when a call is cancelled, one may still be reading. So a file is closed only
when no thread is at it; were it closed before, the thread would go on with whatever file has its number next.
"""

from __future__ import annotations

import os
from concurrent.futures import Future

from shoso.core.streams import CHUNK
from shoso.core.types import ObjectMeta


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
    return "%x-%x-%x" % (status.st_ino, status.st_mtime_ns, status.st_size)  # noqa: UP031  (twice as fast)
