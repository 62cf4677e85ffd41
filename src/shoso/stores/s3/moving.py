"""A copy inside the storage, for a move: in one request, or in parts where the object is too large for one.

S3 moves nothing itself. What it copies has another etag than an object in parts had, so that the digest that
a tag binds to the etag becomes metadata.
"""

from __future__ import annotations

from collections.abc import Iterator

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, Part
from shoso.errors import NotFound
from shoso.stores.s3 import documents
from shoso.stores.s3.body import MIB, Piece
from shoso.stores.s3.connection import Connection
from shoso.stores.s3.documents import bare
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.reading import meta_of
from shoso.stores.s3.signing import Headers, encoded_path
from shoso.stores.s3.tags import DIGEST, Tags
from shoso.stores.s3.uploads import S3Uploads, Stat
from shoso.stores.s3.writing import PARTS_MAX, Window

WHOLE = 5 * 1024 * MIB
"""Bytes that S3 copies in one request (API reference, "CopyObject")."""

PART = 512 * MIB

_PROPERTIES = (
    "content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires",
)  # fmt: skip
_CLASS = "x-amz-storage-class"


class Copier:
    """Copies objects."""

    def __init__(self, connection: Connection, uploads: S3Uploads, tags: Tags, stat: Stat) -> None:
        self._connection, self._uploads, self._tags, self._stat = connection, uploads, tags, stat

    async def copied(self, key: Key, target: Key) -> bool:
        """Copy the object; False where it has been moved before. Raises NOT_FOUND, CHANGED."""
        try:
            return await self._copied(key, target)
        except NotFound as missing:
            try:
                await self._stat(target)
            except NotFound:
                raise missing from None
        return False

    async def _copied(self, key: Key, target: Key) -> bool:
        async with await self._connection.send("move", key, "HeadObject", "HEAD") as reply:
            headers = {name.lower(): value for name, value in reply.headers.items()}
        meta = await self._tags.with_digest(meta_of(key, headers))
        described = {**_described(meta, headers), **_only(headers, _CLASS)}
        if meta.size > WHOLE:
            await self._in_parts(meta, target, described)
        elif meta.digest and f"x-amz-meta-{DIGEST}" not in headers:
            await self._at_once(meta, target, {"x-amz-metadata-directive": "REPLACE", **described})
        else:
            await self._at_once(meta, target, _only(headers, _CLASS))
            return True
        if int(headers.get("x-amz-tagging-count", "0")):
            await self._tags.follow(key, target)  # which Ceph 16 loses with the rest
        return True

    async def _at_once(self, meta: ObjectMeta, target: Key, headers: Headers) -> None:
        sent = {**headers, **self._source(meta)}
        data, _ = await self._connection.fetch("move", target, "CopyObject", "PUT", headers=sent)
        self._require(target, data)

    async def _in_parts(self, meta: ObjectMeta, target: Key, described: Headers) -> None:
        upload = await self._uploads.create("move", target, None, described)
        try:
            parts = await self._parts(meta, target, upload)
            await self._uploads.complete("move", target, upload, parts, {})
        except BaseException:
            await self._uploads.leave(target, upload)
            raise

    async def _parts(self, meta: ObjectMeta, target: Key, upload: str) -> list[Part]:
        window = Window()
        try:
            for number, (start, stop) in enumerate(_spans(meta.size), 1):
                await window.room(0)
                window.start(self._part(meta, target, upload, number, start, stop), Piece())
            return sorted(await window.all(), key=lambda part: part.number)
        finally:
            await window.close()

    async def _part(
        self, meta: ObjectMeta, target: Key, upload: str, number: int, start: int, stop: int
    ) -> Part:
        headers = {**self._source(meta), "x-amz-copy-source-range": f"bytes={start}-{stop - 1}"}
        query = {"partNumber": str(number), "uploadId": upload}
        data, _ = await self._connection.fetch(
            "move", target, "UploadPartCopy", "PUT", query=query, headers=headers
        )
        return Part(number, stop - start, self._require(target, data))

    def _source(self, meta: ObjectMeta) -> Headers:
        """What is copied: that version of it."""
        name = f"/{self._connection.options.bucket}/{self._connection.name(meta.key)}"
        condition = {"x-amz-copy-source-if-match": f'"{meta.etag}"'} if meta.etag else {}
        return {"x-amz-copy-source": encoded_path(name), **condition}

    def _require(self, target: Key, data: bytes) -> str:
        """The etag of what was copied. S3 says 200 first, and then how it went."""
        document = documents.Document(data)
        if document.name == "Error":
            asked = Asked("move", target, self._connection.options)
            raise asked.replied(500, documents.fault(data), {})
        return bare(document.text("ETag"))


def _described(meta: ObjectMeta, headers: Headers) -> Headers:
    """What a new object must be told of the old one, its digest with it."""
    known = {f"x-amz-meta-{DIGEST}": meta.digest} if meta.digest else {}
    users = {name: value for name, value in headers.items() if name.startswith("x-amz-meta-")}
    return {**_only(headers, *_PROPERTIES), **users, **known}


def _only(headers: Headers, *names: str) -> Headers:
    return {name: headers[name] for name in names if name in headers}


def _spans(size: int) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends: 10,000 of them hold the largest object."""
    step = max(PART, -(-size // (PARTS_MAX * MIB)) * MIB)
    return ((start, min(start + step, size)) for start in range(0, size, step))
