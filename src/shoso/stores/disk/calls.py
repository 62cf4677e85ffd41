"""A store's calls: carried out in threads, given up when nobody waits for them, their errors translated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from typing import ParamSpec, Protocol, TypeVar

from shoso.core.keys import Key
from shoso.core.store import StoreInfo
from shoso.core.streams import Source, closing, regroup
from shoso.core.threads import Threads
from shoso.core.types import Buffer, Reading
from shoso.errors import Kind, StoreError, store_error
from shoso.stores.disk.drafts import Draft
from shoso.stores.disk.reading import OpenFile
from shoso.stores.files.errors import sign

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for threads that clean up; one at a mount whose server is gone may never end."""


class Rules(Protocol):
    """What a store says of its keys and errors."""

    def refuse(self, op: str, key: Key) -> None:
        """Raise StoreError where no call may be about that key."""
        ...

    def translate(self, error: OSError, op: str, key: Key) -> StoreError:
        """The error in the store's words."""
        ...


class Unnamed(Protocol):
    """What is on its way to a name, and can be given up; see disk.drafts.Draft."""

    def refuse(self) -> None: ...
    def discard(self) -> None: ...


class Calls:
    """At most so many threads at work for one store."""

    def __init__(self, store: StoreInfo, threads: int, rules: Rules) -> None:
        self._name, self._rules = store.name, rules
        self._threads = Threads(threads, f"shoso-{store.scheme}")
        self._closed = False

    async def run(self, op: str, key: Key, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work` in a thread; its OSErrors come back as the store's errors."""
        return await self.outcome(op, key, self.start(op, key, work, *args, **kwargs))

    def start(self, op: str, key: Key, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """`work` begun in a thread. Raises StoreError where the store is closed or won't have the key."""
        self._rules.refuse(op, key)
        if self._closed:
            message = f"'{key}' can't be reached: the store is closed."
            raise store_error(Kind.UNAVAILABLE, message, op=op, key=key, store=self._name)
        return self._threads.submit(work, *args, **kwargs)

    async def outcome(self, op: str, key: Key, working: Future[T]) -> T:
        """What came of it."""
        try:
            return await asyncio.wrap_future(working)
        except StoreError as error:
            sign(error, op, key, self._name)
            raise
        except OSError as error:
            raise self._rules.translate(error, op, key) from error

    def attempt(
        self, op: str, key: Key, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | StoreError:
        """One of many pieces of work in a thread: what came of it, or its error. Blocks."""
        try:
            self._rules.refuse(op, key)
            return work(*args, **kwargs)
        except StoreError as error:
            sign(error, op, key, self._name)
            return error
        except OSError as error:
            return self._rules.translate(error, op, key)

    async def take(self, op: str, key: Key, source: Source, draft: Draft) -> list[Buffer]:
        """Append the source to the draft but for its last buffers, which are returned.

        So a small object takes one hop to a thread, and of a large one the next buffers come while the last
        ones are written.
        """
        held: list[Buffer] = []
        appending: Future[None] | None = None
        async with closing(regroup(source.open())) as groups:
            async for group in groups:
                if appending is not None:
                    await self.outcome(op, key, appending)
                if held:
                    appending = self.start(op, key, draft.append, held)
                held = group
        if appending is not None:
            await self.outcome(op, key, appending)
        return held

    async def abandon(self, draft: Unnamed) -> None:
        """Remove the draft as soon as no thread is at it; even if nobody waits for that any more.

        It's refused at once: a disk that wakes up late must not give its name to what has failed, over what
        was written since.
        """
        draft.refuse()
        await asyncio.wait([asyncio.wrap_future(self._threads.submit(draft.discard))], timeout=PATIENCE)

    async def opened(self, op: str, key: Key, opening: Callable[[], OpenFile]) -> Reading:
        """The file that `opening` opens, as a reading."""
        begun = self.start(op, key, opening)
        try:
            file = await self.outcome(op, key, begun)
        except asyncio.CancelledError:
            begun.add_done_callback(_let_go)
            raise
        return Reading(file.meta, file.start, file.stop, self._body(op, file), _closer(file))

    async def close(self) -> None:
        """Take no more; may be called again."""
        self._closed = True
        await asyncio.to_thread(self._threads.close, PATIENCE)

    async def _body(self, op: str, file: OpenFile) -> AsyncIterator[Buffer]:
        """The file's bytes, the next buffer being read while the last one is used."""
        key, data, position = file.meta.key, file.first, file.start
        while data:
            position += len(data)
            if position < file.stop:
                file.coming = self.start(op, key, file.read, position)
            yield data
            data = await self.outcome(op, key, file.coming) if position < file.stop and file.coming else b""
        if position < file.stop:
            message = f"'{key}' was cut short while it was read."
            raise store_error(Kind.CHANGED, message, op=op, key=key, store=self._name)


def _closer(file: OpenFile) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        file.close()

    return close


def _let_go(opening: Future[OpenFile]) -> None:
    """Close what a thread has opened for a caller who is gone."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
