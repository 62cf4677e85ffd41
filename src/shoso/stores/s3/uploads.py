"""Uploads in parts: S3's own, by S3's own ids, so that any process and any tool can go on with them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from weakref import WeakValueDictionary

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.s3 import documents
from shoso.stores.s3.body import MIB, Piece, Stream, buffered
from shoso.stores.s3.connection import Connection
from shoso.stores.s3.documents import bare
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.leftovers import Leftovers
from shoso.stores.s3.signing import Headers
from shoso.stores.s3.tags import Tags

BUFFERED = 8 * MIB
"""A part up to this is held in memory; a larger one passes through."""

Stat = Callable[[Key], Awaitable[ObjectMeta]]

_PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,1024}")
_MD5 = re.compile(r"[0-9a-f]{32}")


class S3Uploads:
    """The Uploads verbs, and what a write in parts needs of them."""

    def __init__(self, connection: Connection, tags: Tags, stat: Stat) -> None:
        self._connection, self._tags, self._stat = connection, tags, stat
        self._finishing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._leftovers = Leftovers(connection)

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        return UploadRef(key, _shown(await self.create("begin", key, content_type, {})))

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        name = self.real("put", ref)
        locked = self._connection.extra.locked  # whose MD5 must be known before
        if source.size is not None and source.size > BUFFERED and not locked:
            return await self.send("put", ref.key, name, number, Stream(ref.key, source, source.size))
        most = source.size if source.size is not None else 4 * BUFFERED
        return await self.send("put", ref.key, name, number, await buffered(ref.key, source, most))

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        query, found = {"uploadId": self.real("parts", ref)}, []
        while True:
            data, _ = await self._connection.fetch("parts", ref.key, "ListParts", "GET", query=query)
            page, behind = documents.parts(data)
            found += page
            if behind is None:
                return found
            query["part-number-marker"] = behind

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads; Ceph takes one attempt at a time, so those of one process wait for each other."""
        name = self.real("finish", ref)
        async with self._finishing.setdefault(name, asyncio.Lock()):
            etag = await self._ended(ref, name, parts)
            if digest and etag:
                await self._tags.keep(ref.key, digest, etag)
            else:
                await self._tags.repeat(ref.key)
            meta = await self._stat(ref.key)
        return meta if meta.digest or meta.etag != etag else replace(meta, digest=digest)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._leftovers.drop("abort", ref.key, self.real("abort", ref))

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        top = self._connection.name(prefix)
        query = {"uploads": "", "encoding-type": "url", "prefix": top}
        while True:
            data, _ = await self._connection.fetch(
                "pending", prefix, "ListMultipartUploads", "GET", query=query, bucket=True
            )
            found, behind = documents.uploads(data)
            for upload in found:
                with suppress(StoreError):
                    key = keys.parse(keys.below(Key(upload.key), self._connection.options.folder))
                    if keys.contains(Key(top), upload.key):
                        yield UploadRef(key, _shown(upload.id), upload.begun)
            if behind is None:
                return
            query["key-marker"], query["upload-id-marker"] = behind

    # -- what they and a write in parts are made of ---------------------------------------------------------

    async def create(self, op: str, key: Key, content_type: str | None, headers: Mapping[str, str]) -> str:
        """Begin an upload; S3's id of it."""
        typed = {"content-type": content_type} if content_type else {}
        async with self._leftovers.beginning(key) as begun:
            data, _ = await self._connection.fetch(
                op, key, "CreateMultipartUpload", "POST", query={"uploads": ""}, headers={**headers, **typed}
            )
            name = documents.Document(data).text("UploadId")
            begun(name)
            return name

    async def send(self, op: str, key: Key, name: str, number: int, body: Piece | Stream) -> Part:
        """Send a part."""
        query = {"partNumber": str(number), "uploadId": name}
        _, headers = await self._connection.fetch(op, key, "UploadPart", "PUT", query=query, body=body)
        return Part(number, body.size, bare(headers.get("etag", "")))

    async def complete(
        self, op: str, key: Key, name: str, parts: Sequence[Part], headers: Mapping[str, str]
    ) -> tuple[str, Headers]:
        """Join the parts; the object's etag, and the headers of the answer."""
        body = documents.completion(parts)
        data, answered = await self._connection.fetch(
            op, key, "CompleteMultipartUpload", "POST", query={"uploadId": name}, headers=headers,
            body=Piece([body], len(body)),
        )  # fmt: skip
        document = documents.Document(data)
        if document.name == "Error":  # S3 says 200 first, and then how it went
            raise Asked(op, key, self._connection.options).replied(500, documents.fault(data), {})
        return bare(document.text("ETag")), answered

    async def leave(self, key: Key, name: str) -> None:
        """Drop an upload of a write that failed: now, or else as soon as the storage answers again."""
        await self._leftovers.leave(key, name)

    async def close(self) -> None:
        """Give what is still to be dropped a last moment."""
        await self._leftovers.close()

    async def _ended(self, ref: UploadRef, name: str, parts: Sequence[Part]) -> str:
        """The etag of the object that these parts have become, now or before; "" where it isn't known."""
        try:
            etag = await self._completed(ref, name, parts)
        except NotFound:
            if not await self._finished(ref, parts):
                raise
            etag = ""
        return etag or joined(parts) or ""  # Ceph 16 leaves it out

    async def _completed(self, ref: UploadRef, name: str, parts: Sequence[Part]) -> str:
        try:
            return (await self.complete("finish", ref.key, name, parts, {}))[0]
        except StoreError as error:
            if error.kind is Kind.UNAVAILABLE:
                await self.parts(ref)  # of an upload that is gone, Ceph says 500 above and 404 here
            raise

    async def _finished(self, ref: UploadRef, parts: Sequence[Part]) -> bool:
        """Whether the object is what these parts make; S3 forgets an upload when it's finished."""
        with suppress(NotFound):
            return (await self._stat(ref.key)).etag == joined(parts)
        return False

    def real(self, op: str, ref: UploadRef) -> str:
        """S3's own id; an empty one would make a call about a part one about the object. Raises NOT_FOUND."""
        name = ref.id
        if name.startswith("="):
            try:
                name = base64.urlsafe_b64decode(name[1:] + "=" * (-len(name[1:]) % 4)).decode("ascii")
            except ValueError:
                name = ""
            if name.isprintable() and name:
                return name
        if _PLAIN.fullmatch(name):
            return name
        raise Asked(op, ref.key, self._connection.options).error(
            Kind.NOT_FOUND, "has no such upload under way"
        )


def _shown(name: str) -> str:
    """The id as it may stand in a path: as it is, where it's of unreserved characters."""
    return (
        name if _PLAIN.fullmatch(name) else "=" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
    )


def joined(parts: Sequence[Part]) -> str | None:
    """The etag of an object made of these parts, bound to all their bytes; None where it can't be told."""
    if not parts or not all(_MD5.fullmatch(part.etag) for part in parts):
        return None
    joined = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False)
    return f"{joined.hexdigest()}-{len(parts)}"
