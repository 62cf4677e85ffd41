"""A process that dies at its nth step on the disk: what it does after that doesn't happen either."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

STEPS = (
    "open",
    "pwrite",
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "utime",
    "setxattr",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
)


class Died(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


class Dying:
    """Counts the steps; dies at number `at`, before it is done or after. Its files are closed."""

    def __init__(self, at: int, after: bool) -> None:
        self._at, self._after = at, after
        self._lock = threading.Lock()
        self._steps = 0
        self.dead = False

    def around(self, real):
        def step(*args, **kwargs):
            with self._lock:
                self._steps += 1
                dies = self._steps == self._at
                if self.dead or (dies and not self._after):
                    self.dead = True
                    raise Died
            try:
                result = real(*args, **kwargs)
            finally:
                self.dead = self.dead or dies
            if dies:
                if real is _open:
                    os.close(result)
                raise Died
            return result

        return step


_open = os.open


@contextmanager
def dying(patch: pytest.MonkeyPatch, at: int, after: bool) -> Iterator[Dying]:
    """Whatever this process does on the disk within the block may be its last."""
    process = Dying(at, after)
    with patch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, process.around(getattr(os, name)))
        yield process
