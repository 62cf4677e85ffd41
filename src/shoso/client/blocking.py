"""Coroutines made plain: one event loop in a thread of its own, for all callers of this process.

A caller waits in its own thread, so that it may be in any thread, and inside an event loop of its own too.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ENDING = 5.0
"""Seconds that what is still under way gets to clean up when the process ends."""

HEARING = 0.2
"""Seconds until a signal is heard that the system gave to another thread: that doesn't wake this one."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises; it runs in the caller's context.

    Ctrl-C cancels it, and is raised when it has cleaned up; a second one doesn't wait for that.
    """
    try:
        thread = _thread()
    except BaseException:
        coroutine.close()
        raise
    job = _Job(coroutine)
    try:
        thread.loop.call_soon_threadsafe(job.start)
        return job.result()
    except BaseException:
        if not job.outcome.done():
            thread.loop.call_soon_threadsafe(job.cancel)
            with suppress(CancelledError, Exception):
                job.result()
        raise


def iterate(iterator: AsyncIterator[T]) -> Iterator[T]:
    """The items of an async iterator, one at a time; it is closed when nobody wants more of them."""
    try:
        while (item := run(_next(iterator))) is not _END:
            yield item
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None and not _ended:
            run(close())


class _End:
    """Behind the last item."""


_END: Final = _End()


async def _next(iterator: AsyncIterator[T]) -> Any:
    return await anext(iterator, _END)


class _Job(Generic[T]):
    """A coroutine on its way through the loop."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.outcome: Future[T] = Future()
        self._coroutine = coroutine
        self._context = copy_context()
        self._task: asyncio.Task[T] | None = None

    def result(self) -> T:
        """What came of it, for the caller's thread; wait for that."""
        while True:
            try:
                return self.outcome.result(HEARING)
            except TimeoutError:
                if self.outcome.done():
                    return self.outcome.result()

    def start(self) -> None:
        """On the loop."""
        if not self.outcome.done():
            self._task = asyncio.get_running_loop().create_task(self._coroutine, context=self._context)
            self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """On the loop; the interrupt may have come before `start`."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._coroutine.close()
            self.outcome.set_exception(CancelledError())

    def _done(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


class _LoopThread:
    """An event loop that runs until the process ends."""

    def __init__(self) -> None:
        import uvloop  # its look-ups of hosts need no Python thread, which there is none of at the end

        self.loop = uvloop.new_event_loop()
        self.loop.set_default_executor(_Pool())
        self._thread = threading.Thread(target=self._run, name="shoso", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this very thread."""
        return threading.current_thread() is self._thread

    def end(self) -> None:
        """Cancel what is under way, let it clean up, and end the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(ENDING)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.run_until_complete(_cleaned_up())
        self.loop.close()


class _Pool(ThreadPoolExecutor):
    """Threads for what blocks; when the process ends, and Python gives no more of them, it's done at once."""

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See concurrent.futures.Executor."""
        try:
            return super().submit(work, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
            try:
                done.set_result(work(*args, **kwargs))
            except Exception as error:  # noqa: BLE001  (it is for whoever waits)
                done.set_exception(error)
            return done


async def _cleaned_up() -> None:
    """All tasks but this one are cancelled, and async generators closed."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=ENDING)
    await asyncio.get_running_loop().shutdown_asyncgens()


_lock = threading.Lock()
_running: _LoopThread | None = None
_ended = False
_left_behind: list[_LoopThread] = []


def _thread() -> _LoopThread:
    """The thread of this process, started when it's first needed."""
    global _running  # noqa: PLW0603  # one for the process is the point
    with _lock:
        if _ended:
            raise RuntimeError("Shoso can't be called any more: the process is ending.")
        if _running is None:
            _running = _LoopThread()
    if _running.is_current:
        raise RuntimeError(
            "This was called by Shoso itself, in a callback that it waits for; call it from another thread."
        )
    return _running


def _end() -> None:
    global _ended
    with _lock:
        thread, _ended = _running, True
    if thread is not None:
        thread.end()


def _forget() -> None:
    """In a child: the thread stayed with the parent, and so does the loop; closing it here would end that."""
    global _lock, _running  # noqa: PLW0603
    _lock = threading.Lock()
    if _running is not None:
        _left_behind.append(_running)
        _running = None


os.register_at_fork(after_in_child=_forget)
atexit.register(_end)
