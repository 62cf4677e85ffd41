"""How much memory a server holds: now, and at most while something happens."""

from __future__ import annotations

import threading
from typing import Self

import psutil


def resident(server) -> int:
    """Bytes of memory of the server's processes."""
    parent = psutil.Process(server.pid)
    return sum(process.memory_info().rss for process in [parent, *parent.children(recursive=True)])


class Watch:
    """The largest resident memory of a server within a with block."""

    def __init__(self, server) -> None:
        self.server, self.peak, self.over = server, 0, threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self.over.wait(0.02):
            self.peak = max(self.peak, resident(self.server))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
