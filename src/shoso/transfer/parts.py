"""Large objects: in parts, several at once; an upload that broke off goes on with the parts it lacks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from shoso.core.digest import MEND
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError, store_error
from shoso.transfer.comparison import digest_of, near
from shoso.transfer.journal import Begin, End, Upload
from shoso.transfer.plan import Item, part_size, spans, version
from shoso.transfer.progress import Meter
from shoso.transfer.route import Route
from shoso.transfer.source import ObjectSource, changed
from shoso.transfer.window import crew

PATIENCE = 5.0
"""Seconds for clearing away an upload of which nothing will become."""

PROMPT = 0.05
"""Seconds within which a begin was answered that was made once: a retry pauses longer."""

_SPOILT = {Kind.CHANGED, Kind.INCOMPLETE, Kind.CORRUPT, Kind.INVALID, Kind.RANGE, Kind.NOT_FOUND}
"""Errors behind which the parts that are there are of no use."""


async def copy_in_parts(route: Route, item: Item) -> None:
    """Copy the object as it is now. Raises CHANGED, and what either store raises.

    An upload that breaks off stays for the next copy, if a journal knows of it; else it is aborted.
    """
    meta = await _described(route, item)
    sending = await _resumed(route, item, meta) or await _begun(route, item, meta)
    others = await _others(route, sending.ref) if item.path in route.journal.begun else None
    try:
        written = await sending.finish()
    except BaseException as error:
        if not route.journal.kept or (isinstance(error, StoreError) and error.kind in _SPOILT):
            await _end_lost(route, item.path, others)
            await sending.drop()
        raise
    await _end_lost(route, item.path, others)
    _ended(route, item.path)
    route.finish(item, meta, written)


async def _described(route: Route, item: Item) -> ObjectMeta:
    """The object as it is now, with its digest if that is known already."""
    meta = await route.src.stat(item.meta.key)
    same = version(meta) == version(item.meta)
    return replace(meta, digest=item.meta.digest) if same and meta.digest is None else meta


async def _begun(route: Route, item: Item, meta: ObjectMeta) -> _Sending:
    """A new upload, which the journal knows of before it can be left behind.

    So it does of one that may have been begun beside it: by an earlier copy, or by a begin that was made
    twice since the reply to the first was lost.
    """
    lost = item.path in route.journal.begun
    part = part_size(route.policy.part_size, meta.size, route.dst.capabilities)
    route.journal.note(Begin(item.path))
    route.journal.flush()
    asked = time.monotonic()
    ref = await route.dst.uploads.begin(item.to, meta.size, meta.content_type, part)
    lost |= time.monotonic() - asked >= PROMPT
    upload = Upload(item.path, version(meta), ref.id, part)
    route.journal.note(upload, *([Begin(item.path)] if lost else []))
    route.journal.flush()
    return _Sending(route, meta, item.to, upload, [])


async def _resumed(route: Route, item: Item, meta: ObjectMeta) -> _Sending | None:
    """The upload that an earlier copy has begun, if it's of this version and still known."""
    upload = route.journal.uploads.get(item.path)
    if upload is None:
        return None
    if upload.source != version(meta):
        await _abort(route, item.to, upload)
        return None
    try:
        parts = await route.dst.uploads.parts(UploadRef(item.to, upload.id))
    except NotFound:
        _ended(route, item.path)
        return None
    return _Sending(route, meta, item.to, upload, parts)


async def clear(route: Route, target: Callable[[str], Key]) -> None:
    """Abort what earlier copies have begun and this one, which got everything done, had no use for."""
    for path, upload in [*route.journal.uploads.items()]:
        await _abort(route, target(path), upload)
    for path in route.journal.begun - route.journal.uploads.keys():
        await _end_lost(route, path, await _others(route, UploadRef(target(path), "")))


async def _abort(route: Route, to: Key, upload: Upload) -> None:
    """Leave nothing of an upload behind; one that can't be cleared away now is, by the next copy."""
    with suppress(StoreError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            with suppress(NotFound):
                await route.dst.uploads.abort(UploadRef(to, upload.id))
        _ended(route, upload.path)


def _ended(route: Route, path: str) -> None:
    """Note that an upload is no more; others that were begun for its path may still be."""
    lost = [Begin(path)] if path in route.journal.begun else []
    route.journal.note(End(path), *lost)


async def _others(route: Route, own: UploadRef) -> list[UploadRef] | None:
    """What else was begun for a key: by others, or by us, its id lost with a reply; None: nobody knows."""
    with suppress(StoreError):
        async with closing(route.dst.uploads.pending(own.key)) as found:
            return [ref async for ref in found if ref.key == own.key and ref != own]
    return None


async def _end_lost(route: Route, path: str, others: list[UploadRef] | None) -> None:
    """Abort those that have no part. As long as that can't be done, the journal knows that there may be some.

    Who else sends something there has had the time to send a part, or begins again.
    """
    if others is None:
        return
    with suppress(StoreError):
        for ref in others:
            with suppress(NotFound):
                if not await route.dst.uploads.parts(ref):
                    await route.dst.uploads.abort(ref)
        route.journal.note(End(path))


class _Sending:
    """An object on its way, part by part; `parts` are there already."""

    def __init__(self, route: Route, meta: ObjectMeta, to: Key, upload: Upload, parts: list[Part]) -> None:
        self._route, self._meta, self._upload = route, meta, upload
        self.ref = UploadRef(to, upload.id)
        self._meters: list[Meter] = []
        self._spans = {number: (start, stop) for number, start, stop in spans(meta.size, upload.part_size)}
        self._parts = {part.number: part for part in parts if self._fits(part)}

    async def finish(self) -> ObjectMeta:
        """Send what is missing, and put it together. Raises CHANGED where somebody has aborted it."""
        try:
            claim = await self._send()
            parts = [self._parts[number] for number in self._spans]
            return await self._joined(parts, claim)
        except NotFound as error:
            if error.op in {"put", "finish"}:
                raise changed(self._meta.key) from error
            raise

    async def _joined(self, parts: list[Part], claim: str | None) -> ObjectMeta:
        """Put it together; where the whole isn't what was claimed, the error names the source."""
        try:
            return await self._route.dst.uploads.finish(self.ref, parts, claim)
        except StoreError as error:
            if error.kind is not Kind.CORRUPT or claim is None:
                raise
            raise _damaged(self._route.src, self._meta.key, claim) from error

    async def drop(self) -> None:
        """Leave nothing of it behind."""
        for meter in self._meters:
            meter.undo()
        await _abort(self._route, self.ref.key, self._upload)

    async def _send(self) -> str | None:
        """Send the missing parts; the digest of the whole meanwhile."""
        async with crew() as group:
            claim = group.create_task(self._claim())
            for number, (start, stop) in self._spans.items():
                meter = self._meter()
                if number in self._parts:
                    meter.at(stop - start)
                else:
                    source = ObjectSource(self._route.src, self._meta, meter, start, stop)
                    await self._route.window.start(group, source.size, self._put(number, source))
        return claim.result()

    async def _put(self, number: int, source: ObjectSource) -> None:
        self._parts[number] = await self._route.dst.uploads.put(self.ref, number, source)
        self._route.tally.sent += source.size

    def _fits(self, part: Part) -> bool:
        start, stop = self._spans.get(part.number, (0, -1))
        return part.size == stop - start

    def _meter(self) -> Meter:
        meter = Meter(self._route.policy.progress)
        self._meters.append(meter)
        return meter

    async def _claim(self) -> str | None:
        """The digest of the whole: the source's, or read beside the parts where that costs little."""
        if self._meta.digest is not None or not near(self._route.src):
            return self._meta.digest
        return await digest_of(self._route.src, self._meta)


def _damaged(src: Store, key: Key, expected: str) -> StoreError:
    name = src.info.name
    message = (
        f"The bytes that came from '{key}' in {name} don't match their digest {expected}. Nothing was kept;"
        f" {MEND}."
    )
    return store_error(Kind.CORRUPT, message, op="copy", key=key, store=name)
