"""How far a transfer is: a bar on a terminal, else a line now and then; to standard error."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from shoso.cli.words import count, duration, size
from shoso.core.keys import Key
from shoso.errors import StoreError

LINES = 10.0
"""Seconds between two lines."""

FRAMES = 0.1
"""Seconds between two pictures of the bar."""

MEMORY = 15.0
"""Seconds by which the rate is measured."""


class Meter:
    """Counts what a transfer tells; whoever shows it reads from another thread.

    `started` and `now` are seconds of a clock that never goes back. `total` is what there is in all,
    artifacts and bytes, once somebody has listed it.
    """

    def __init__(self, started: float) -> None:
        self.total: tuple[int, int] | None = None
        self._objects = self._ended = self._size = self._skipped = self._moved = 0
        self._marks = deque([(started, 0)])

    def planned(self, key: Key, size: int) -> None:
        """See transfer.Progress."""
        self._objects += 1
        self._size += size

    def skipped(self, key: Key, size: int) -> None:
        """See transfer.Progress."""
        self._ended += 1
        self._skipped += size

    def moved(self, size: int) -> None:
        """See transfer.Progress."""
        self._moved += size

    def finished(self, key: Key, size: int) -> None:
        """See transfer.Progress."""
        self._ended += 1

    def failed(self, key: Key, error: StoreError) -> None:
        """See transfer.Progress."""
        self._ended += 1

    @property
    def position(self) -> tuple[int, int | None]:
        """Where the bar is: bytes that are done, and bytes in all where that is known."""
        return self._moved + self._skipped, self.total and max(self.total[1], self._size)

    def words(self, now: float) -> str:
        """12 of 40 objects, 1.2 GiB of 3.4 GiB, 85.0 MiB/s, 25 s left."""
        done, whole = self.position
        rate = self._rate(now)
        speed = f", {size(rate)}/s" if rate > 0 else ""
        if self.total is None or whole is None:
            return f"{count(self._ended, 'artifact')}, {size(done)}{speed}"
        objects = count(max(self.total[0], self._objects), "artifact")
        left = f", {duration(max(whole - done, 0) / rate)} left" if rate > 0 else ""
        return f"{self._ended:,} of {objects}, {size(done)} of {size(whole)}{speed}{left}"

    def _rate(self, now: float) -> float:
        """Bytes a second, of late."""
        self._marks.append((now, self._moved))
        while self._marks[0][0] < now - MEMORY:
            self._marks.popleft()
        then, moved = self._marks[0]
        return (self._moved - moved) / (now - then) if now > then else 0.0


class Counter(Meter):
    """Counts artifacts only: of what is deleted no byte passes, and nobody knows how much there still is."""

    def words(self, now: float) -> str:
        """12 artifacts."""
        return count(self._ended, "artifact")


@contextmanager
def shown(meter: Meter) -> Iterator[None]:
    """Show the meter as long as this lasts."""
    with _bar(meter) if _is_terminal() else _ticking(LINES, lambda: _say(meter)):
        yield


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _say(meter: Meter) -> None:
    click.echo(meter.words(time.monotonic()), err=True)


@contextmanager
def _bar(meter: Meter) -> Iterator[None]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    columns = BarColumn(None, table_column=Column(ratio=1)), TextColumn("{task.description}", markup=False)
    bar = Progress(
        *columns, console=Console(stderr=True), auto_refresh=False, transient=True, expand=True,
        redirect_stdout=False,
    )  # fmt: skip
    task = bar.add_task("", total=None)

    def draw() -> None:
        done, whole = meter.position
        words = meter.words(time.monotonic())
        bar.update(task, completed=done, total=whole, description=words, refresh=True)

    with bar, _ticking(FRAMES, draw):
        yield


@contextmanager
def _ticking(every: float, tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` every so many seconds, in a thread of its own."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(every):
            tick()

    thread = threading.Thread(target=run, name="shoso-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
