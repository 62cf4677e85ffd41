"""Large objects: in parts, several at once, whose whole is compared before it appears."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from shoso.core.digest import Digester
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.errors import StoreError
from shoso.transfer.plan import Item, part_size, spans
from shoso.transfer.progress import Meter, Silent
from shoso.transfer.route import Route
from shoso.transfer.streams import ObjectSource, compare
from shoso.transfer.window import crew

PATIENCE = 10.0
"""Seconds for clearing away an upload of which nothing becomes."""


async def copy_in_parts(route: Route, item: Item) -> ObjectMeta:
    """The object as the destination has it now. Raises CHANGED, and what either store raises."""
    meta = await route.src.stat(item.meta.key)
    part = part_size(route.policy.part_size, meta.size, route.dst.capabilities)
    ref = await route.dst.uploads.begin(item.to, meta.size, meta.content_type, part)
    upload = _Upload(route, meta, ref)
    try:
        written = await upload.send(part)
    except BaseException:
        await upload.drop()
        raise
    compare(meta, written)
    return written


class _Upload:
    """An object on its way, part by part."""

    def __init__(self, route: Route, meta: ObjectMeta, ref: UploadRef) -> None:
        self._route, self._meta, self._ref = route, meta, ref
        self._parts: dict[int, Part] = {}
        self._meters: list[Meter] = []

    async def send(self, part: int) -> ObjectMeta:
        """Send what is missing, and put it together."""
        async with crew() as group:
            claim = group.create_task(self._claim())
            for number, start, stop in spans(self._meta.size, part):
                await self._route.window.take(stop - start)
                group.create_task(self._put(number, start, stop))
        parts = [self._parts[number] for number in sorted(self._parts)]
        return await self._route.dst.uploads.finish(self._ref, parts, claim.result())

    async def drop(self) -> None:
        """Leave nothing of it behind."""
        for meter in self._meters:
            meter.undo()
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._route.dst.uploads.abort(self._ref)

    async def _put(self, number: int, start: int, stop: int) -> None:
        """Send a part, and give its room in the window back."""
        try:
            source = ObjectSource(self._route, self._meta, self._meter(), start, stop)
            self._parts[number] = await self._route.dst.uploads.put(self._ref, number, source)
            self._route.tally.sent += stop - start
        finally:
            self._route.window.give(stop - start)

    def _meter(self) -> Meter:
        meter = Meter(self._route.policy.progress)
        self._meters.append(meter)
        return meter

    async def _claim(self) -> str | None:
        """The digest of the whole: the source's, or read beside the parts where that costs little."""
        if self._meta.digest is not None or not self._route.near:
            return self._meta.digest
        return await digest_of(self._route, self._meta)


async def digest_of(route: Route, meta: ObjectMeta) -> str:
    """The digest of that version of an object, read from end to end. Raises CHANGED."""
    digester = Digester()
    async for data in ObjectSource(route, meta, Meter(Silent())).open():
        await asyncio.to_thread(digester.update, data)
    return digester.hex()
