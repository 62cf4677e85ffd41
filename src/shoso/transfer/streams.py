"""An object in one stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shoso.core.store import Store, find
from shoso.core.types import CREATE, OVERWRITE, IfMatch, ObjectMeta, WriteMode
from shoso.errors import Exists, Kind, store_error
from shoso.transfer.plan import Item, version
from shoso.transfer.progress import Meter
from shoso.transfer.route import Route
from shoso.transfer.source import ObjectSource


async def copy_whole(route: Route, item: Item, mode: WriteMode = OVERWRITE) -> None:
    """Copy the object as it is now. Raises CHANGED, and what either store raises."""
    meter = Meter(route.policy.progress)
    try:
        async with _opened(route, item, meter) as (meta, source):
            written = await route.dst.write(item.to, source, mode, meta.content_type)
    except BaseException:
        meter.undo()
        raise
    route.tally.sent += meta.size
    route.finish(item, meta, written)


async def copy_over(route: Route, item: Item) -> None:
    """Copy the object, unless somebody else has written it there since it was looked at.

    That holds to the last moment where the store takes conditions. Raises as `copy_whole`.
    """
    there = await find(route.dst, item.to)
    if there is not None and version(there) != item.over:
        route.keep(item, there)
        return
    try:
        await copy_whole(route, item, _mode(route.dst, there))
    except Exists as error:
        message = f"'{item.to}' was written by somebody else just now."
        raise store_error(Kind.CHANGED, message, op="copy", key=item.to) from error


def _mode(dst: Store, there: ObjectMeta | None) -> WriteMode:
    if there is None:
        return CREATE if dst.capabilities.create else OVERWRITE
    return IfMatch(there.etag) if there.etag and dst.capabilities.if_match else OVERWRITE


@asynccontextmanager
async def _opened(route: Route, item: Item, meter: Meter) -> AsyncIterator[tuple[ObjectMeta, ObjectSource]]:
    """The object as it is now: its type must be known before it is written."""
    async with await route.src.read(item.meta.key) as reading:
        source = ObjectSource(route.src, reading.meta, meter)
        source.resume(reading)
        yield reading.meta, source
