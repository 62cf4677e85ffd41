"""Uploads in parts on a file system: each durable when it's acknowledged, the whole written once.

Where the size of the parts is known, each goes to its place in one file, which becomes the object when its
digests are right. A part whose place isn't free (it's there already, or somebody is at it) has a file of its
own, as all have where no size was given; the object is then put together of them. So it is on NFS, too,
where two machines can't share the pages of a file.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import Source, verified
from shoso.core.types import Buffer, FromTo, ObjectMeta, Part, UploadRef
from shoso.errors import Kind, StoreError
from shoso.stores.disk.drafts import Draft
from shoso.stores.disk.places import Piece
from shoso.stores.files.names import UPLOADS
from shoso.stores.local.parts import About, Files, PartBerth, State

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore


class LocalUploads:
    """The Uploads verbs of a LocalStore; parts share its threads, drafts and errors."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tree = store.tree
        self._calls = store.calls

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        ref = UploadRef(key, secrets.token_hex(16))
        about = About(key, None if self._tree.mount.remote else part_size)
        await self._calls.run("begin", key, self._files(ref).begin, about, size_hint)
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        await self._require("put", ref)
        berth = PartBerth(self._tree, ref, number)
        draft = Draft(ref.key, source, berth, durable=True)
        try:
            rest = await self._calls.take("put", ref.key, source, draft)
            return await self._calls.run("put", ref.key, berth.keep, draft, rest)
        finally:
            await self._calls.abandon(draft)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._require("parts", ref)
        pieces = await self._calls.run("parts", ref.key, self._files(ref).pieces)
        return [piece.part for piece in pieces.values()]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. Two at once are fine: whoever finds the parts gone finds the object there."""
        if await self._state("finish", ref) is State.FINISHED:
            return await self._store.stat(ref.key)
        try:
            return await self._finish(ref, parts, digest)
        except StoreError:
            if await self._state("finish", ref) is not State.FINISHED:
                raise
            return await self._store.stat(ref.key)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._require("abort", ref)
        await self._calls.run("abort", ref.key, self._files(ref).clear)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for found in await self._calls.run("pending", prefix, self._tree.entries, UPLOADS):
            ref = await self._calls.run("pending", prefix, self._under_way, found.name)
            if ref is not None and keys.contains(prefix, ref.key):
                yield replace(ref, begun=found.status.st_mtime)

    def sweep(self, older_than: float) -> None:
        """Forget the uploads that were finished before then, and what is left of any that isn't known."""
        for found in self._tree.entries(UPLOADS):
            files = Files(self._tree, found.name)
            if files.stale(older_than, found.status.st_mtime):
                files.clear()

    async def joined(self, ref: UploadRef, pieces: Sequence[Piece]) -> AsyncIterator[Buffer]:
        """The bytes of these parts, one after another; each compared with its digest once more."""
        for piece in pieces:
            if not piece.part.size:
                continue
            place = f"{self._files(ref).place}/{piece.name}"
            span = FromTo(piece.start, piece.start + piece.part.size)
            async with await self._store.opened("finish", ref.key, place, span) as reading:
                whole = replace(reading, meta=replace(reading.meta, digest=piece.part.digest))
                async for data in verified(whole):
                    yield data

    # -- their parts --------------------------------------------------------------------------------------

    async def _finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None) -> ObjectMeta:
        files = self._files(ref)
        there = await self._calls.run("finish", ref.key, files.pieces)
        named = [self._named(ref, there, part) for part in parts]
        meta = await self._calls.run("finish", ref.key, files.name_whole, ref.key, named, digest)
        if meta is None:
            meta = await self._store.write(ref.key, _Joined(self, ref, named, digest))
        await self._calls.run("finish", ref.key, files.finished)
        return meta

    def _named(self, ref: UploadRef, there: dict[int, Piece], part: Part) -> Piece:
        piece = there.get(part.number)
        if piece is None or piece.part.etag != part.etag:
            what = f"has no part {part.number} like that"
            raise self._store.error(Kind.INVALID, "finish", ref.key, what)
        return piece

    async def _state(self, op: str, ref: UploadRef) -> State:
        state = await self._calls.run(op, ref.key, self._files(ref).state, ref.key)
        if state is State.UNKNOWN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")
        return state

    async def _require(self, op: str, ref: UploadRef) -> None:
        if await self._state(op, ref) is not State.OPEN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way any more")

    def _files(self, ref: UploadRef) -> Files:
        return Files(self._tree, ref.id)

    def _under_way(self, upload_id: str) -> UploadRef | None:
        files = Files(self._tree, upload_id)
        about = files.about()
        if about is None or files.state(about.key) is not State.OPEN:
            return None
        return UploadRef(about.key, upload_id)


class _Joined:
    """Parts as one source."""

    reopenable = False

    def __init__(
        self, uploads: LocalUploads, ref: UploadRef, pieces: Sequence[Piece], digest: str | None
    ) -> None:
        self._uploads, self._ref, self._pieces, self._digest = uploads, ref, pieces, digest

    @property
    def size(self) -> int:
        return sum(piece.part.size for piece in self._pieces)

    def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        return self._uploads.joined(self._ref, self._pieces)

    def expected(self) -> str | None:
        return self._digest
