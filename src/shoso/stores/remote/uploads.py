"""Objects in parts over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.stores.remote.body import DigestedBody
from shoso.stores.remote.entries import seen
from shoso.wire import objects

if TYPE_CHECKING:
    from shoso.stores.remote.store import RemoteStore


class RemoteUploads:
    """The Uploads verbs over HTTP."""

    def __init__(self, store: RemoteStore) -> None:
        self._store = store

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        asked = objects.BeginUpload(key, size_hint, content_type, part_size)
        begun = await self._store.ask("begin", key, "POST", "uploads", objects.UploadEntry, asked)
        return UploadRef(key, begun.id)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads; straight to the storage, where that can be reached."""
        if (part := await self._store.direct.put(ref, number, source)) is not None:
            return part
        body = DigestedBody(ref.key, source)
        path = f"{_upload(ref)}/{number}"
        query = {"key": ref.key}
        async with self._store.request(
            "put", ref.key, "PUT", path, query=query, headers=body.headers(), body=body
        ) as reply:
            return _part(await self._store.decoded("put", ref.key, reply, objects.PartEntry))

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        query = {"key": ref.key}
        there = await self._store.ask("parts", ref.key, "GET", _upload(ref), objects.PartList, query=query)
        return [_part(part) for part in there.parts]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads."""
        named = [objects.PartEntry(part.number, part.size, part.etag, part.digest) for part in parts]
        asked = objects.FinishUpload(ref.id, ref.key, named, digest)
        entry = await self._store.ask("finish", ref.key, "POST", _upload(ref), objects.ObjectEntry, asked)
        meta = seen(entry)
        assert isinstance(meta, ObjectMeta)  # noqa: S101  (a finished upload is no folder)
        return meta

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        query = {"key": ref.key}
        await self._store.ask("abort", ref.key, "DELETE", _upload(ref), dict[str, Any], query=query)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        query = {"prefix": prefix}
        found = await self._store.ask("pending", prefix, "GET", "uploads", objects.UploadList, query=query)
        for upload in found.uploads:
            yield UploadRef(Key(upload.key), upload.id, upload.begun)


def _upload(ref: UploadRef) -> str:
    return f"uploads/{quote(ref.id, safe='') or '-'}"  # no id is an unknown one, and no other route


def _part(part: objects.PartEntry) -> Part:
    return Part(part.number, part.size, part.etag, part.digest, part.modified)
