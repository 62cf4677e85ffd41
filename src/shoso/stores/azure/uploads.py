"""Uploads in parts, each part a blob of its own until Azure joins them.

.shoso/uploads/<id>          an upload under way: the key is in its metadata
.shoso/parts/<id>/<number>   a part

The finished blob names the upload in its metadata (`shosoupload`), so that `finish` can be repeated. Whoever
writes a part through a signed URL after the end leaves a blob that nothing shows; a lifecycle rule on
`.shoso/` clears those, and the parts of clients that never came back.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import OVERWRITE, ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.azure.blocks import Blocks, put_blob, window, write, written_headers
from shoso.stores.azure.replies import DIGEST, KEY, META, UPLOAD
from shoso.stores.azure.signing import Signatures

if TYPE_CHECKING:
    from shoso.stores.azure.store import AzureStore

_UPLOADS = ".shoso/uploads/"
_PARTS = ".shoso/parts/"
_ID = re.compile(r"[0-9a-f]{32}")

COPIED = 100 * 1024 * 1024
"""Bytes that Azure copies into one block: the most that any of its versions takes."""

PART_MAX = 5 * COPIED
"""So that 10,000 parts stay within the 50,000 blocks of a blob."""

COPIES = 8
"""Blocks that Azure copies at once."""

READABLE = 6 * 3600.0
"""Seconds for which Azure may read what it copies."""


@dataclass(frozen=True, slots=True)
class _Staged:
    """A part and the blob that holds it."""

    part: Part
    name: str
    version: str


class AzureUploads:
    """The Uploads verbs of an AzureStore."""

    def __init__(self, store: AzureStore, signatures: Signatures) -> None:
        self._store = store
        self._client = store.client
        self._signatures = signatures

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
        headers = written_headers(OVERWRITE, content_type)
        headers[META + KEY] = base64.urlsafe_b64encode(key.encode()).decode()
        await put_blob(self._client, "begin", key, self._marker(ref), [], headers)
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        name = self.part_name("put", ref, number)
        await self._require("put", ref)
        meta = await write(self._client, "put", ref.key, name, source, OVERWRITE, None)
        return _part(number, meta)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._require("parts", ref)
        return [staged.part for staged in await self._staged("parts", ref)]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. Two at once are fine: whoever comes second finds the object of its upload there."""
        if (done := await self._finished(ref)) is None:
            try:
                done = await self._joined(ref, parts, digest)
            except StoreError:
                if (done := await self._finished(ref)) is None:
                    raise
        await self._forget("finish", ref)
        return done

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._require("abort", ref)
        await self._forget("abort", ref)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        async for blob in self._store.blobs("pending", prefix, _UPLOADS, deep=True, include="metadata"):
            key = _key(blob.metadata.get(KEY, ""))
            if key and keys.contains(prefix, key):
                yield UploadRef(key, blob.name.rpartition("/")[2], blob.modified)

    def part_name(self, op: str, ref: UploadRef, number: int) -> str:
        """The blob of a part. Raises NOT_FOUND for an id that none of ours looks like."""
        self._marker(ref, op)
        return self._store.own(f"{_PARTS}{ref.id}/{number:05d}")

    def _marker(self, ref: UploadRef, op: str = "") -> str:
        if not _ID.fullmatch(ref.id):
            raise self._unknown(op, ref)
        return self._store.own(f"{_UPLOADS}{ref.id}")

    async def _require(self, op: str, ref: UploadRef) -> Mapping[str, str]:
        """What Azure says of the upload's marker. Raises NOT_FOUND."""
        try:
            headers = await self._store.head(op, ref.key, self._marker(ref, op))
        except NotFound:
            raise self._unknown(op, ref) from None
        if _key(headers.get(META + KEY, "")) != ref.key:
            raise self._unknown(op, ref)
        return headers

    async def _staged(self, op: str, ref: UploadRef) -> list[_Staged]:
        """The parts that are there, by number."""
        below = f"{_PARTS}{ref.id}/"
        found = []
        async for blob in self._store.blobs(op, ref.key, below, deep=True, include="metadata"):
            number = blob.name.rpartition("/")[2]
            if number.isdecimal():
                found.append(_Staged(_part(int(number), blob.meta(ref.key)), blob.name, blob.etag))
        return found

    async def _finished(self, ref: UploadRef) -> ObjectMeta | None:
        """The object, if it is this upload's."""
        self._marker(ref, "finish")
        with suppress(NotFound):
            headers = await self._store.head("finish", ref.key, self._store.name("finish", ref.key))
            if headers.get(META + UPLOAD) == ref.id:
                return self._store.meta("finish", ref.key, headers)
        return None

    async def _joined(self, ref: UploadRef, parts: Sequence[Part], digest: str | None) -> ObjectMeta:
        about = await self._require("finish", ref)
        there = {
            (staged.part.number, staged.part.etag): staged for staged in await self._staged("finish", ref)
        }
        for part in parts:
            if (part.number, part.etag) not in there:
                sentence = f"The upload of '{{key}}' to {{name}} has no part {part.number} like that"
                raise self._client.failures.error(Kind.INVALID, "finish", ref.key, sentence)
        named = [there[part.number, part.etag] for part in parts]
        headers = written_headers(OVERWRITE, about.get("content-type"))
        headers[META + UPLOAD] = ref.id
        if len(named) == 1 and named[0].part.digest:
            digest = named[0].part.digest
        if digest:
            headers[META + DIGEST] = digest
        return await self._copied(ref, named, headers)

    async def _copied(self, ref: UploadRef, named: list[_Staged], headers: Mapping[str, str]) -> ObjectMeta:
        """One blob of these parts, put together by Azure: no byte of them comes here."""
        name = self._store.name("finish", ref.key)
        blocks = Blocks(self._client, "finish", ref.key, name)
        async with window(COPIES) as copying:
            for staged in named:
                source = await self._signatures.readable(ref.key, staged.name, READABLE)
                for start in range(0, staged.part.size, COPIED):
                    stop = min(start + COPIED, staged.part.size)
                    await copying.add(blocks.copy(source, start, stop, staged.version))
            await copying.empty()
        if not blocks.ids:
            return await put_blob(self._client, "finish", ref.key, name, [], headers)
        return await blocks.commit(headers, sum(staged.part.size for staged in named))

    async def _forget(self, op: str, ref: UploadRef) -> None:
        """Remove the marker, from when on no part is taken, then the parts."""
        await self._store.remove(op, [(ref.key, self._marker(ref, op))])
        await self._store.remove(
            op, [(Key(staged.name), staged.name) for staged in await self._staged(op, ref)]
        )

    def _unknown(self, op: str, ref: UploadRef) -> StoreError:
        sentence = "'{key}' has no such upload under way in {name}"
        return self._client.failures.error(Kind.NOT_FOUND, op, ref.key, sentence)


def _part(number: int, meta: ObjectMeta) -> Part:
    """A part's tag is its digest, so that the same bytes are the same part; else the blob's etag."""
    return Part(number, meta.size, meta.digest or meta.etag or "", meta.digest, meta.modified)


def _key(text: str) -> Key | None:
    """The key in a marker's metadata; None for what isn't one."""
    with suppress(binascii.Error, UnicodeDecodeError, StoreError):
        return keys.parse(base64.urlsafe_b64decode(text).decode())
    return None
