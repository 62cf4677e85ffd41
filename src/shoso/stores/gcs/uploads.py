"""Uploads in parts: each part a hidden object, composed when the upload is finished.

.shoso/uploads/<id>             empty; its metadata say the key and the type
.shoso/uploads/<id>/<number>    a part; its MD5 is its tag, as a signed PUT of it returns it
.shoso/uploads/<id>/join-<n>    up to 32 parts in one, while more than 32 are composed

The object that comes of it bears the id in its metadata: so `finish` may be repeated when all else is gone.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import repeat
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.streams import BytesSource, Source
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.files.names import UPLOADS
from shoso.stores.gcs.api import DIGEST, FIELDS, Item
from shoso.stores.gcs.sending import Target, send

if TYPE_CHECKING:
    from shoso.stores.gcs.store import GcsStore

_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"\d{5}")
_KEY, _UPLOAD = "shoso-key", "shoso-upload"

SOURCES = 32
"""Objects that can be composed at once."""


class GcsUploads:
    """The Uploads verbs of a GcsStore."""

    def __init__(self, store: GcsStore) -> None:
        self._store = store

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        self._store.name("begin", key)
        ref = UploadRef(key, secrets.token_hex(16))
        target = Target(self._place(ref), 0, content_type, {_KEY: quote(key, safe="/")})
        await send(self._store.api, "begin", key, target, BytesSource(b""), None)
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads; a part that was sent while the upload ended goes with it."""
        await self._about("put", ref)
        target = Target(self.part_name(ref, number))
        item = await send(self._store.api, "put", ref.key, target, source, self._store.upload_chunk)
        try:
            await self._about("put", ref)
        except NotFound:
            await self._store.remove("put", ref.key, item.name)
            raise
        return _part(number, item)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._about("parts", ref)
        there = await self._there("parts", ref)
        return [_part(number, there[number]) for number in sorted(there)]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. Two at once are fine: whoever finds the parts gone finds the object there."""
        try:
            about = await self._about("finish", ref)
            named = self._named(ref, parts, await self._there("finish", ref))
            item = await self._joined(ref, named, about.content_type, digest)
        except StoreError:
            if (done := await self._done(ref)) is None:
                raise
            item = done
        await self._forget("finish", ref)
        return item.meta(ref.key)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._about("abort", ref)
        await self._forget("abort", ref)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        folder = self._store.own(f"{UPLOADS}/")
        async for page in self._store.pages("pending", ROOT, {"prefix": folder, "delimiter": "/"}):
            for item in page.items:
                key = Key(unquote(item.metadata.get(_KEY, "")))
                if key and keys.contains(prefix, key):
                    yield UploadRef(key, item.name.removeprefix(folder), item.time_created.timestamp())

    def part_name(self, ref: UploadRef, number: int) -> str:
        """The name of the object that is a part."""
        return f"{self._place(ref)}/{number:05d}"

    def _place(self, ref: UploadRef) -> str:
        return self._store.own(f"{UPLOADS}/{ref.id}")

    async def _about(self, op: str, ref: UploadRef) -> Item:
        """What was said at the beginning. Raises NOT_FOUND."""
        if _ID.fullmatch(ref.id):
            with suppress(NotFound):
                item = await self._store.item(op, ref.key, self._place(ref))
                if item.metadata.get(_KEY) == quote(ref.key, safe="/"):
                    return item
        raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")

    async def _done(self, ref: UploadRef) -> Item | None:
        """The object, if it comes of this upload."""
        with suppress(NotFound):
            item = await self._store.item("finish", ref.key)
            return item if item.metadata.get(_UPLOAD) == ref.id else None
        return None

    async def _all(self, op: str, ref: UploadRef) -> list[Item]:
        pages = self._store.pages(op, ref.key, {"prefix": self._place(ref) + "/"})
        return [item async for page in pages for item in page.items]

    async def _there(self, op: str, ref: UploadRef) -> dict[int, Item]:
        """The parts by their numbers."""
        named = {item.name.rpartition("/")[2]: item for item in await self._all(op, ref)}
        return {int(name): item for name, item in named.items() if _PART.fullmatch(name)}

    def _named(self, ref: UploadRef, parts: Sequence[Part], there: dict[int, Item]) -> list[Item]:
        for part in parts:
            item = there.get(part.number)
            if item is None or _tag(item) != part.etag.strip('"'):
                what = f"has no part {part.number} like that"
                raise self._store.error(Kind.INVALID, "finish", ref.key, what)
        return [there[part.number] for part in parts]

    async def _joined(
        self, ref: UploadRef, parts: Sequence[Item], content_type: str | None, digest: str | None
    ) -> Item:
        """The object of these parts; ever 32 become one, until 32 are left. The empty ones add nothing."""
        sources = [item for item in parts if item.size]
        metadata = {_UPLOAD: ref.id, **({DIGEST: digest} if digest else {})}
        target = Target(self._store.name("finish", ref.key), None, content_type, metadata)
        if not sources:
            return await send(self._store.api, "finish", ref.key, target, BytesSource(b""), None)
        while len(sources) > SOURCES:
            groups = [sources[start : start + SOURCES] for start in range(0, len(sources), SOURCES)]
            joins = [Target(f"{self._place(ref)}/join-{secrets.token_hex(8)}") for _ in groups]
            sources = await asyncio.gather(*map(self._compose, repeat(ref), groups, joins))
        return await self._compose(ref, sources, target)

    async def _compose(self, ref: UploadRef, sources: Sequence[Item], target: Target) -> Item:
        body = {
            "sourceObjects": [
                {"name": item.name, "objectPreconditions": {"ifGenerationMatch": str(item.generation)}}
                for item in sources
            ],
            "destination": target.resource(),
        }
        url = self._store.api.objects(target.name, "compose")
        async with self._store.turns:
            return await self._store.api.ask(Item, "finish", ref.key, "POST", url, {"fields": FIELDS}, body)

    async def _forget(self, op: str, ref: UploadRef) -> None:
        """The upload is no more; then its parts go."""
        await self._store.remove(op, ref.key, self._place(ref))
        names = [item.name for item in await self._all(op, ref)]
        await asyncio.gather(*(self._store.remove(op, ref.key, name) for name in names))


def _tag(item: Item) -> str:
    """The MD5 in hex, as the XML API has it for an ETag; joined objects have none."""
    return base64.b64decode(item.md5_hash).hex() or str(item.generation)


def _part(number: int, item: Item) -> Part:
    return Part(number, item.size, _tag(item), item.metadata.get(DIGEST), item.time_created.timestamp())
