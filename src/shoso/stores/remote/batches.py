"""Many small objects in one request: a tar goes out, each object with its digest; a tar comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shoso.core.batches import SMALL
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.types import Buffer, ObjectMeta, SmallObject
from shoso.errors import Kind, StoreError
from shoso.stores.remote.entries import known
from shoso.wire import objects as wire
from shoso.wire import tar
from shoso.wire.entities import encode
from shoso.wire.faults import kind_of

if TYPE_CHECKING:
    from shoso.stores.remote.store import RemoteStore

PIECE = 256 * 1024
"""Bytes of the tar that are put together and sent at once."""

_JSON = {"content-type": "application/json"}
_TAR = {"content-type": wire.TAR_TYPE}


class RemoteBatches:
    """The Batches verbs over HTTP; every Shoso server answers them, whatever storage is behind it."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """See Batches."""
        if not objects:
            return []
        op, first = "write_many", objects[0].meta.key
        async with self._store.request(
            op, first, "POST", "objects", headers=_TAR, body=_tar(objects)
        ) as reply:
            outcomes = (await self._store.decoded(op, first, reply, wire.Outcomes)).outcomes
        if len(outcomes) != len(objects):
            raise self._foreign(op, first, f"{len(objects)} objects were sent, and {len(outcomes)} answered")
        return [self._outcome(one.meta.key, outcome) for one, outcome in zip(objects, outcomes, strict=True)]

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        if not keys:
            return []
        op, body = "read_many", encode(wire.ReadObjects([*keys]))
        async with self._store.request(op, keys[0], "POST", "read", headers=_JSON, body=body) as reply:
            reader = tar.Reader(self._store.body(op, keys[0], reply))
            try:
                found = [await self._next(reader, key) for key in keys]
                await reader.next()  # the end, so that the connection can be used again
            except StoreError as error:
                raise error if error.store else self._foreign(op, keys[0], error.message) from error
        return found

    def _outcome(self, key: Key, outcome: wire.OutcomeEntry) -> ObjectMeta | StoreError:
        if (failure := outcome.failure) is not None:
            return self._store.told(kind_of(0, failure.kind), "write_many", key, failure.message)
        if (entry := outcome.written) is None or entry.size is None or entry.key != key:
            raise self._foreign("write_many", key, "it answered for another object")
        return known(entry, entry.size)

    async def _next(self, reader: tar.Reader, key: Key) -> SmallObject | StoreError:
        found = await reader.next()
        if isinstance(found, StoreError):
            return self._store.told(found.kind, "read_many", key, found.message)
        if found is None or found.key != key or found.size > SMALL:
            raise self._foreign("read_many", key, "it sent another object")
        return SmallObject(found, await reader.whole())

    def _foreign(self, op: str, key: Key, what: str) -> StoreError:
        message = f"{self._store.info.name} is no Shoso server ({what})."
        return self._store.error(Kind.UNEXPECTED, op, key, message)


async def _tar(objects: Sequence[SmallObject]) -> AsyncIterator[bytes]:
    """The objects as a tar, in pieces; digested where they weren't."""
    pieces: list[Buffer] = []
    held = 0
    for each in objects:
        size, claimed = len(each.data), each.meta.digest or digest(each.data)
        pieces += (
            tar.head(replace(each.meta, size=size, etag=None, digest=claimed)),
            each.data,
            tar.tail(size),
        )
        held += size
        if held >= PIECE:
            yield b"".join(pieces)
            pieces, held = [], 0
    yield b"".join([*pieces, tar.END])
