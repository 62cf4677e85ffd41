"""How far a transfer is: a bar on a terminal, else a line now and then; to standard error."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from shoso.client import blocking
from shoso.client.settings import ClientSettings
from shoso.core.amounts import count, duration, size
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.errors import StoreError
from shoso.transfer import Progress, Selection, Silent
from shoso.transfer.contents import contents

T = TypeVar("T")

LINES = 10.0
"""Seconds between two lines."""

FRAMES = 0.1
"""Seconds between two pictures of the bar."""

MEMORY = 15.0
"""Seconds by which the rate is measured."""

PATIENCE = 1.0
"""Seconds of a transfer after which it's worth a listing to know how long the rest will take."""

SOON = 0.5
"""Seconds of a script's transfer before it has a bar: a training that logs a small file draws none."""


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


@asynccontextmanager
async def foreseen(told: Progress, store: Store, selection: Selection) -> AsyncIterator[None]:
    """Meanwhile, find out how much there is in all; a transfer is soon over, or worth the listing."""
    if not isinstance(told, Meter):
        yield
        return
    counting = asyncio.create_task(_count(told, store, selection))
    try:
        yield
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


async def _count(meter: Meter, store: Store, selection: Selection) -> None:
    await asyncio.sleep(PATIENCE)
    objects = size = 0
    async with closing(contents(store, selection)) as found:
        async for _, meta in found:
            objects += 1
            size += meta.size
    meter.total = objects, size


# -- shown ------------------------------------------------------------------------------------------------


@contextmanager
def shown(meter: Meter) -> Iterator[None]:
    """Show the meter as long as this lasts."""
    show = _draw if _is_terminal() else _tell
    with _alongside(lambda over: show(meter, over)):
        yield


_drawing = threading.Lock()
"""There is one bar at a time: two would write over each other."""


def watched(settings: ClientSettings, work: Callable[[Progress], Coroutine[Any, Any, T]]) -> T:
    """What the work of a script returns; a bar tells its user how far it is, on a terminal and nowhere else.

    What another thread of the script moves meanwhile has none.
    """
    if not (settings.progress_bar and _is_terminal() and _drawing.acquire(blocking=False)):
        return blocking.run(work(Silent()))
    try:
        meter = Meter(time.monotonic())
        with _alongside(lambda over: _draw_later(meter, over)):
            return blocking.run(work(meter))
    finally:
        _drawing.release()


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _tell(meter: Meter, over: threading.Event) -> None:
    while not over.wait(LINES):
        sys.stderr.write(f"{meter.words(time.monotonic())}\n")


def _draw_later(meter: Meter, over: threading.Event) -> None:
    if not over.wait(SOON):
        _draw(meter, over)


def _draw(meter: Meter, over: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    columns = BarColumn(None, table_column=Column(ratio=1)), TextColumn("{task.description}", markup=False)
    bar = Bar(
        *columns, console=Console(stderr=True), auto_refresh=False, transient=True, expand=True,
        redirect_stdout=False,
    )  # fmt: skip
    task = bar.add_task("", total=None)
    with bar:
        while not over.wait(FRAMES):
            done, whole = meter.position
            words = meter.words(time.monotonic())
            bar.update(task, completed=done, total=whole, description=words, refresh=True)


@contextmanager
def _alongside(show: Callable[[threading.Event], object]) -> Iterator[None]:
    """Show something from a thread of its own, until the event tells it that this is over."""
    over = threading.Event()
    thread = threading.Thread(target=show, args=(over,), name="shoso-progress", daemon=True)
    with suppress(RuntimeError):  # a process that is ending gets no more threads
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()


def _forget() -> None:
    """In a child: the bar stayed with the parent."""
    global _drawing  # noqa: PLW0603
    _drawing = threading.Lock()


os.register_at_fork(after_in_child=_forget)
