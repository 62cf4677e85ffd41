"""How much memory a server holds: now, and at most while something happens."""

from __future__ import annotations

import threading
from typing import Self

import psutil


def resident(server) -> int:
    """Bytes of memory of the server's processes."""
    return _held(_processes(server))


def _processes(server) -> list[psutil.Process]:
    """Looked for once in a while: who looks for children looks at every process of the machine."""
    parent = psutil.Process(server.pid)
    return [parent, *parent.children(recursive=True)]


def _held(processes: list[psutil.Process]) -> int:
    return sum(process.memory_info().rss for process in processes)


class Watch:
    """The largest resident memory of a server within a with block."""

    def __init__(self, server) -> None:
        self.server, self.peak, self.over = server, 0, threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        processes = _processes(self.server)
        while not self.over.wait(0.02):
            self.peak = max(self.peak, _held(processes))

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
