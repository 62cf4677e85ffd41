"""Objects read from end to end, for their digests only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from shoso.core.batches import read_many
from shoso.core.digest import Digester, digest
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.errors import StoreError
from shoso.transfer.plan import SMALL
from shoso.transfer.progress import Meter, Progress, Silent


@dataclass(frozen=True, slots=True)
class Digested:
    """The digest of the bytes that were read, and the one that the store keeps of them."""

    actual: str
    kept: str | None


async def read_digests(
    store: Store, metas: Sequence[ObjectMeta], progress: Progress | None = None
) -> list[Digested | StoreError]:
    """Of each object, or why it couldn't be read; several small ones are read at once."""
    told = progress or Silent()
    if len(metas) > 1 and all(meta.size <= SMALL for meta in metas):
        try:
            return await _at_once(store, metas, told)
        except StoreError:
            pass  # it is about all of them: ask one by one, whose it is
    return [await _one(store, meta, told) for meta in metas]


async def _at_once(
    store: Store, metas: Sequence[ObjectMeta], progress: Progress
) -> list[Digested | StoreError]:
    found = await read_many(store, [meta.key for meta in metas])
    progress.moved(sum(meta.size for meta in metas))
    return [
        one if isinstance(one, StoreError) else Digested(digest(one.data), one.meta.digest) for one in found
    ]


async def _one(store: Store, meta: ObjectMeta, progress: Progress) -> Digested | StoreError:
    digester, meter = Digester(), Meter(progress)
    try:
        async with await store.read(meta.key) as reading:
            async for data in reading.body:
                await asyncio.to_thread(digester.update, data)
                meter.at(digester.size)
    except StoreError as error:
        meter.undo()
        return error
    return Digested(digester.hex(), reading.meta.digest)
