"""Threads that wait for a disk or a server, and that nobody must wait for.

A thread in a system call, or in a library's, can't be interrupted. At a mount whose server is gone it may
hang for ever; the interpreter would wait for the threads of an ordinary pool before it ends. Those of this
one are daemons.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most `most` threads, started as they are needed: each has an arena of memory of its own.

    `_idle` counts the pieces of work done for which no new one has come: while there are any, a thread is
    free, or about to be. It is counted before anybody hears of the result and brings the next piece: work in
    a row stays in one thread.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it as soon as a thread is free; after closing, in a thread of its own."""
        future: Future[T] = Future()

        def carry_out() -> None:
            if not future.set_running_or_notify_cancel():
                self._idle.release()
                return
            try:
                result = work(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (it is for whoever waits)
                self._idle.release()
                future.set_exception(error)
            else:
                self._idle.release()
                future.set_result(result)

        with self._lock:
            if self._closed:
                self._start(carry_out)
            else:
                self._queue.put(carry_out)
                if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
                    self._threads.append(self._start(self._serve))
        return future

    def close(self, seconds: float) -> None:
        """Let the threads end once the work is done, and wait so long for that; what hangs is left behind."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        thread.start()
        return thread

    def _serve(self) -> None:
        while (task := self._queue.get()) is not None:
            task()
            del task  # and with it what it holds
