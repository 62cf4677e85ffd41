"""Whether an object is there already: by digests, where these cost less than to send it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shoso.core.digest import Digester
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import Digests, ObjectMeta
from shoso.errors import NotFound, StoreError
from shoso.transfer.plan import Item
from shoso.transfer.progress import Meter, Silent
from shoso.transfer.source import ObjectSource

_NEAR = {"file", "folder", "memory"}


def near(store: Store) -> bool:
    """Whether to read an object there costs little, beside moving it."""
    return store.info.scheme in _NEAR


async def compared(src: Store, dst: Store, item: Item) -> Item:
    """The object with both digests, where the destination has one of its size and both can be had."""
    if item.there is None:
        return item
    meta = await _described(src, item.meta)
    if meta.digest is None and not near(src):
        return replace(item, meta=meta, there=None)
    there = await _identified(dst, item.there)
    return replace(item, meta=await _digested(src, meta) if there else meta, there=there)


async def _identified(dst: Store, there: ObjectMeta) -> ObjectMeta | None:
    """What is there, with its digest; None where that can't be told: then it's sent again."""
    try:
        found = await _described(dst, there)
        return await _digested(dst, found) if found.digest is not None or near(dst) else None
    except StoreError:
        return None


async def _described(store: Store, meta: ObjectMeta) -> ObjectMeta:
    """What is known, with the digest if the store keeps it: a listing may be without."""
    if meta.digest is not None or store.capabilities.digests is Digests.NONE:
        return meta
    try:
        return await store.stat(meta.key)
    except NotFound:
        return meta  # whoever reads it will say so


async def _digested(store: Store, meta: ObjectMeta) -> ObjectMeta:
    return meta if meta.digest is not None else replace(meta, digest=await digest_of(store, meta))


async def digest_of(store: Store, meta: ObjectMeta) -> str:
    """The digest of that version of an object, read from end to end. Raises CHANGED."""
    digester = Digester()
    async with closing(ObjectSource(store, meta, Meter(Silent())).open()) as buffers:
        async for data in buffers:
            await asyncio.to_thread(digester.update, data)
    return digester.hex()
