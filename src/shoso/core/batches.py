"""Many small objects on any store: at once where it takes batches, else one by one, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import Kind, StoreError, store_error

SMALL = 1024 * 1024
"""Bytes of an object that is read whole among others; a larger one has to be read by itself."""

AT_ONCE = 32

Asked = TypeVar("Asked")
Got = TypeVar("Got")


async def write_many(store: Store, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
    """What became of each object, in order; see Batches."""
    if store.batches is not None:
        return await store.batches.write(objects)

    async def write(each: SmallObject) -> ObjectMeta:
        source = BytesSource(each.data, each.meta.digest)
        return await store.write(each.meta.key, source, content_type=each.meta.content_type)

    return await _each(write, objects)


async def read_many(store: Store, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
    """The objects, in the order of `keys`, or why one couldn't be read; see Batches."""
    if store.batches is not None:
        return await store.batches.read(keys)

    async def read(key: Key) -> SmallObject:
        async with await store.read(key) as reading:
            require_small(reading.meta)
            return SmallObject(reading.meta, b"".join([bytes(data) async for data in reading.body]))

    return await _each(read, keys)


def require_small(meta: ObjectMeta) -> None:
    """Raise TOO_LARGE for an object that would take the memory of many."""
    if meta.size > SMALL:
        message = f"'{meta.key}' has {meta.size} bytes, over {SMALL}: read it by itself."
        raise store_error(Kind.TOO_LARGE, message, op="read", key=meta.key)


async def _each(do: Callable[[Asked], Awaitable[Got]], asked: Sequence[Asked]) -> list[Got | StoreError]:
    """The outcomes of a call for each, `AT_ONCE` at a time."""
    permits = asyncio.Semaphore(AT_ONCE)

    async def one(each: Asked) -> Got | StoreError:
        async with permits:
            try:
                return await do(each)
            except StoreError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(each)) for each in asked]
    return [task.result() for task in tasks]
