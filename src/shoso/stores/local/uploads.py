"""Uploads in parts on a file system: each part a durable file, joined when the upload is finished.

.shoso/uploads/<id>/about              the key (JSON)
.shoso/uploads/<id>/<number>-<digest>  a part
.shoso/uploads/<id>/finished           the parts are gone, the object stands: finish may be repeated
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource, Source, closing, regroup
from shoso.core.types import Buffer, ObjectMeta, Part, UploadRef
from shoso.errors import Kind
from shoso.stores.local.files import Draft
from shoso.stores.local.tree import OWN

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore

_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"(\d{5})-([0-9a-f]{64})")


class LocalUploads:
    """The Uploads verbs of a LocalStore; parts share its threads, drafts and errors."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tree = store.tree

    async def begin(
        self, key: Key, size_hint: int | None = None, content_type: str | None = None
    ) -> UploadRef:
        """See Uploads."""
        ref = UploadRef(key, secrets.token_hex(16))
        await self._store.run("begin", key, self._keep, f"{_place(ref)}/about", json.dumps({"key": key}))
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        await self._require("put", ref)
        draft = Draft(self._tree, source)
        try:
            async with closing(regroup(source.open())) as groups:
                async for group in groups:
                    await self._store.run("put", ref.key, draft.append, group)
            return await self._store.run("put", ref.key, self._commit, ref, number, draft)
        except BaseException:
            await self._store.run("put", ref.key, draft.discard)
            raise

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._require("parts", ref)
        return await self._store.run("parts", ref.key, self._parts, ref)

    async def finish(self, ref: UploadRef, parts: Sequence[Part]) -> ObjectMeta:
        """See Uploads."""
        await self._require("finish", ref, finished=True)
        if await self._store.run("finish", ref.key, self._is_finished, ref):
            return await self._store.stat(ref.key)
        there = {(part.number, part.etag): part for part in await self.parts(ref)}
        for part in parts:
            if (part.number, part.etag) not in there:
                raise self._store.error(
                    Kind.INVALID, "finish", ref.key, f"has no part {part.number} like that"
                )
        named = [there[part.number, part.etag] for part in parts]
        meta = await self._store.write(ref.key, _Joined(self, ref, named))
        await self._store.run("finish", ref.key, self._finished, ref)
        return meta

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._require("abort", ref)
        await self._store.run("abort", ref.key, self._clear, ref, "")

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for found in await self._store.run("pending", prefix, self._tree.entries, f"{OWN}/uploads"):
            ref = await self._store.run("pending", prefix, self._about, found.name)
            if ref is not None and keys.contains(prefix, ref.key) and not self._is_finished(ref):
                yield ref

    async def joined(self, ref: UploadRef, parts: Sequence[Part]) -> AsyncIterator[Buffer]:
        """The bytes of these parts, one after another."""
        for part in parts:
            file = await self._store.run("finish", ref.key, self._tree.open_file, _part_name(ref, part))
            try:
                while data := await self._store.run("finish", ref.key, os.read, file, CHUNK):
                    yield data
            finally:
                os.close(file)

    async def _require(self, op: str, ref: UploadRef, finished: bool = False) -> None:
        about = await self._store.run(op, ref.key, self._about, ref.id)
        if about != ref or (self._is_finished(ref) and not finished):
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")

    # -- in threads ---------------------------------------------------------------------------------------

    def _keep(self, name: str, text: str) -> None:
        draft = Draft(self._tree, BytesSource(text.encode()))
        draft.append([text.encode()])
        draft.seal(Key(name))
        draft.move(Key(name), replace=True)

    def _about(self, upload_id: str) -> UploadRef | None:
        if not _ID.fullmatch(upload_id):
            return None
        try:
            file = self._tree.open_file(f"{OWN}/uploads/{upload_id}/about")
        except FileNotFoundError:
            return None
        try:
            return UploadRef(keys.parse(json.loads(os.read(file, CHUNK))["key"]), upload_id)
        finally:
            os.close(file)

    def _commit(self, ref: UploadRef, number: int, draft: Draft) -> Part:
        draft.append([])
        status, digest = draft.seal(ref.key)
        part = Part(number, status.st_size, digest, digest)
        draft.move(Key(_part_name(ref, part)), replace=True)
        self._clear(ref, f"{number:05d}-", but=digest)
        return part

    def _parts(self, ref: UploadRef) -> list[Part]:
        newest: dict[int, tuple[int, Part]] = {}
        for found in self._tree.entries(_place(ref)):
            if match := _PART.fullmatch(found.name):
                number, digest = int(match[1]), match[2]
                part = Part(number, found.status.st_size, digest, digest)
                newest[number] = max(
                    newest.get(number, (0, part)), (found.status.st_mtime_ns, part), key=_age
                )
        return [newest[number][1] for number in sorted(newest)]

    def _is_finished(self, ref: UploadRef) -> bool:
        return any(found.name == "finished" for found in self._tree.entries(_place(ref)))

    def _finished(self, ref: UploadRef) -> None:
        self._keep(f"{_place(ref)}/finished", "")
        for part in self._parts(ref):
            self._tree.remove(Key(_part_name(ref, part)))

    def _clear(self, ref: UploadRef, prefix: str, but: str = "-") -> None:
        """Remove the upload's files whose names start so; its folder goes with the last."""
        for found in self._tree.entries(_place(ref)):
            if found.name.startswith(prefix) and not found.name.endswith(but):
                self._tree.remove(Key(f"{_place(ref)}/{found.name}"))


class _Joined:
    """Parts as one source."""

    reopenable = True

    def __init__(self, uploads: LocalUploads, ref: UploadRef, parts: Sequence[Part]) -> None:
        self._uploads, self._ref, self._parts = uploads, ref, parts

    @property
    def size(self) -> int:
        return sum(part.size for part in self._parts)

    def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        return self._uploads.joined(self._ref, self._parts)

    def expected(self) -> str | None:
        return None


def _place(ref: UploadRef) -> str:
    return f"{OWN}/uploads/{ref.id}"


def _part_name(ref: UploadRef, part: Part) -> str:
    return f"{_place(ref)}/{part.number:05d}-{part.digest}"


def _age(aged: tuple[int, Part]) -> int:
    return aged[0]
