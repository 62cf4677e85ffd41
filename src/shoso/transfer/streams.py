"""An object in one stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shoso.core.types import ObjectMeta
from shoso.transfer.plan import Item
from shoso.transfer.progress import Meter
from shoso.transfer.route import Route
from shoso.transfer.source import ObjectSource


async def copy_whole(route: Route, item: Item) -> None:
    """Copy the object as it is now. Raises CHANGED, and what either store raises."""
    meter = Meter(route.policy.progress)
    try:
        async with _opened(route, item, meter) as (meta, source):
            written = await route.dst.write(item.to, source, content_type=meta.content_type)
    except BaseException:
        meter.undo()
        raise
    route.tally.sent += meta.size
    route.finish(item, meta, written)


@asynccontextmanager
async def _opened(route: Route, item: Item, meter: Meter) -> AsyncIterator[tuple[ObjectMeta, ObjectSource]]:
    """The object as it is now: its type must be known before it is written."""
    async with await route.src.read(item.meta.key) as reading:
        source = ObjectSource(route.src, reading.meta, meter)
        source.resume(reading)
        yield reading.meta, source
