"""Stores made to order for the tests of layers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

from shoso.core.keys import Key
from shoso.core.store import Store, Uploads
from shoso.core.streams import BytesSource
from shoso.core.types import Buffer, Capabilities, ObjectMeta, Reading
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.stores.memory import MemoryStore

KEY = Key("folder/object")


def _verbs(contract: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(contract, inspect.isfunction) if not name.startswith("_")]


VERBS, UPLOAD_VERBS = _verbs(Store), _verbs(Uploads)


def dropped(retry: Retry = Retry.SOON, after: float | None = None) -> StoreError:
    """A lost connection."""
    return store_error(Kind.UNAVAILABLE, "The connection was lost.", retry=retry, retry_after=after)


async def filled(store: MemoryStore, **objects: bytes) -> MemoryStore:
    """The store with these objects; `__` in a name stands for a slash."""
    for name, data in objects.items():
        await store.write(Key(name.replace("__", "/")), BytesSource(data))
    return store


class Limited(MemoryStore):
    """A store that can do less."""

    def __init__(self, **capabilities) -> None:
        super().__init__()
        self.capabilities = replace(Capabilities(move=True), **capabilities)


class Recorder(Limited):
    """Notes every call on the store and its uploads: (verb, arguments)."""

    def __init__(self, **capabilities) -> None:
        super().__init__(**capabilities)
        self.calls: list[tuple[str, tuple]] = []
        for target, verbs in ((self, VERBS), (self._uploads, UPLOAD_VERBS)):
            for verb in verbs:
                setattr(target, verb, self._noting(verb, getattr(target, verb)))

    def _noting(self, verb: str, method: Callable) -> Callable:
        def noted(*args):
            self.calls.append((verb, args))
            return method(*args)

        return noted

    def of(self, verb: str) -> list[tuple]:
        """The arguments of each call of that verb."""
        return [args for name, args in self.calls if name == verb]


class Breaking(Recorder):
    """Its bodies come in buffers of `step` bytes, and break off where `breaks` says so.

    `breaks` holds for each read how many bytes come before the connection is lost; None for a whole body.
    """

    def __init__(self, data: bytes, breaks: Iterator[int | None], step: int = 3, **capabilities) -> None:
        super().__init__(**capabilities)
        self._data, self._breaks, self._step = data, breaks, step
        self.closed = 0
        self._read, self.read = self.read, self._broken

    async def _broken(self, key, wanted, if_match=None) -> Reading:
        reading = await self._read(key, wanted, if_match)
        body = self._body(self._data[reading.start : reading.stop], next(self._breaks, None))
        return replace(reading, body=body, close=self._close)

    async def _body(self, data: bytes, left: int | None) -> AsyncIterator[Buffer]:
        for place in range(0, len(data) if left is None else left, self._step):
            yield data[place : min(place + self._step, len(data) if left is None else left)]
        if left is not None:
            raise dropped()

    async def _close(self) -> None:
        self.closed += 1


class Gated(Limited):
    """Every stat, buffer and read of "slow" waits for `go`; counts who waits, and the most that ever did."""

    def __init__(self, **capabilities) -> None:
        super().__init__(**capabilities)
        self.go = asyncio.Event()
        self.inside = self.most = 0
        self.arrived = asyncio.Condition()

    async def _wait(self) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        async with self.arrived:
            self.arrived.notify_all()
        try:
            await self.go.wait()
        finally:
            self.inside -= 1

    async def until(self, number: int) -> None:
        """Wait until that many are inside."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: self.inside == number)

    async def stat(self, key):
        await self._wait()
        return await super().stat(key)

    async def read(self, key, wanted, if_match=None):
        if key == "slow":
            await self._wait()
        reading = await super().read(key, wanted, if_match)
        return replace(reading, body=self._slow(reading))

    async def _slow(self, reading) -> AsyncIterator[Buffer]:
        async for data in reading.body:
            await self._wait()
            yield data


class Notes:
    """A book in memory, and what it was asked."""

    def __init__(self) -> None:
        self.rows: dict[Key, ObjectMeta] = {}
        self.recorded: list[int] = []
        self.asked: list[int] = []

    def record(self, metas):
        self.recorded.append(len(metas))
        self.rows |= {meta.key: meta for meta in metas if meta.digest}

    async def known(self, metas):
        self.asked.append(len(metas))
        rows = [self.rows.get(meta.key) for meta in metas]
        pairs = zip(rows, metas, strict=True)
        return [row.digest if row and row.etag == meta.etag else None for row, meta in pairs]

    async def follow(self, moves):
        for key, target in moves:
            if row := self.rows.pop(key, None):
                self.rows[target] = replace(row, key=target)

    def forget(self, keys):
        for key in keys:
            self.rows.pop(key, None)
