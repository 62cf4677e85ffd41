"""Whether an object is there already: by digest, where that costs less than to send it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from shoso.core.digest import Digester
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import Digests, ObjectMeta
from shoso.errors import NotFound
from shoso.transfer.plan import Item
from shoso.transfer.progress import Meter, Silent
from shoso.transfer.route import Route
from shoso.transfer.streams import ObjectSource


async def compared(route: Route, item: Item) -> Item:
    """The object with both digests, where the destination has one of its size and a digest of that."""
    there = item.there and await _described(route.dst, item.there)
    if there is None or there.digest is None:
        return replace(item, there=None)
    meta = await _described(route.src, item.meta)
    if meta is not None and meta.digest is None and route.near:
        meta = replace(meta, digest=await digest_of(route, meta))
    return replace(item, meta=meta or item.meta, there=there)


async def _described(store: Store, meta: ObjectMeta) -> ObjectMeta | None:
    """What is known, with the digest if the store keeps it: a listing may be without. None: it has gone."""
    if meta.digest is not None or store.capabilities.digests is Digests.NONE:
        return meta
    try:
        return await store.stat(meta.key)
    except NotFound:
        return None


async def digest_of(route: Route, meta: ObjectMeta) -> str:
    """The digest of that version of an object, read from end to end. Raises CHANGED."""
    digester = Digester()
    async with closing(ObjectSource(route, meta, Meter(Silent())).open()) as buffers:
        async for data in buffers:
            await asyncio.to_thread(digester.update, data)
    return digester.hex()
