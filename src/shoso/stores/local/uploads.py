"""Uploads in parts on a file system: each part a durable file, joined when the upload is finished.

.shoso/uploads/<id>/about              the key (JSON)
.shoso/uploads/<id>/<number>-<digest>  a part
.shoso/uploads/<id>/finished           the parts are gone, the object stands: finish may be repeated
"""

from __future__ import annotations

import enum
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource, Source, verified
from shoso.core.types import Buffer, ObjectMeta, Part, UploadRef
from shoso.errors import Kind, StoreError
from shoso.stores.disk.drafts import Draft
from shoso.stores.files.names import UPLOADS
from shoso.stores.local.files import Aside, seal
from shoso.stores.local.tree import again

if TYPE_CHECKING:
    from shoso.stores.local import LocalStore

_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"(\d{5})-([0-9a-f]{64})")


class _State(enum.Enum):
    UNKNOWN = enum.auto()
    OPEN = enum.auto()
    FINISHED = enum.auto()


class LocalUploads:
    """The Uploads verbs of a LocalStore; parts share its threads, drafts and errors."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tree = store.tree

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        ref = UploadRef(key, secrets.token_hex(16))
        await self._store.calls.run(
            "begin", key, self._keep, f"{_place(ref)}/about", json.dumps({"key": key})
        )
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        await self._require("put", ref)
        berth = Aside(self._tree)
        draft = Draft(ref.key, source, berth, durable=True)
        try:
            rest = await self._store.calls.take("put", ref.key, source, draft)
            return await self._store.calls.run("put", ref.key, self._commit, ref, number, draft, berth, rest)
        except BaseException:
            await self._store.calls.abandon(draft)
            raise

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._require("parts", ref)
        return await self._store.calls.run("parts", ref.key, self._parts, ref)

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. Two at once are fine: whoever finds the parts gone finds the object there."""
        if await self._state("finish", ref) is _State.FINISHED:
            return await self._store.stat(ref.key)
        try:
            return await self._finish(ref, parts)
        except StoreError:
            if await self._state("finish", ref) is not _State.FINISHED:
                raise
            return await self._store.stat(ref.key)

    async def _finish(self, ref: UploadRef, parts: Sequence[Part]) -> ObjectMeta:
        there = {(part.number, part.etag): part for part in await self.parts(ref)}
        for part in parts:
            if (part.number, part.etag) not in there:
                what = f"has no part {part.number} like that"
                raise self._store.error(Kind.INVALID, "finish", ref.key, what)
        named = [there[part.number, part.etag] for part in parts]
        meta = await self._store.write(ref.key, _Joined(self, ref, named))
        await self._store.calls.run("finish", ref.key, self._finished, ref)
        return meta

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._require("abort", ref)
        await self._store.calls.run("abort", ref.key, self._clear, _place(ref))

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for found in await self._store.calls.run("pending", prefix, self._tree.entries, UPLOADS):
            ref = await self._store.calls.run("pending", prefix, self._under_way, found.name)
            if ref is not None and keys.contains(prefix, ref.key):
                yield ref

    async def joined(self, ref: UploadRef, parts: Sequence[Part]) -> AsyncIterator[Buffer]:
        """The bytes of these parts, one after another; each compared with its digest once more."""
        for part in parts:
            async with await self._store.opened("finish", ref.key, _part_name(ref, part)) as reading:
                whole = replace(reading, meta=replace(reading.meta, digest=part.digest))
                async for data in verified(whole):
                    yield data

    async def _state(self, op: str, ref: UploadRef) -> _State:
        state = await self._store.calls.run(op, ref.key, self._look, ref)
        if state is _State.UNKNOWN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")
        return state

    async def _require(self, op: str, ref: UploadRef) -> None:
        if await self._state(op, ref) is not _State.OPEN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way any more")

    # -- in threads ---------------------------------------------------------------------------------------

    def sweep(self, older_than: float) -> None:
        """Forget the uploads that were finished before then, and what is left of any that isn't known."""
        for upload in self._tree.entries(UPLOADS):
            place = f"{UPLOADS}/{upload.name}"
            there = {found.name: found.status.st_mtime for found in self._tree.entries(place)}
            latest = max(there.values(), default=upload.status.st_mtime)
            if latest < older_than and ("finished" in there or "about" not in there):
                self._clear(place)

    def _keep(self, name: str, text: str) -> None:
        data = text.encode()
        berth = Aside(self._tree)
        draft = Draft(Key(name), BytesSource(data), berth)
        try:
            draft.append([data])
            seal(draft)
            berth.move(name, replace=True)
        finally:
            draft.discard()

    @again
    def _about(self, upload_id: str) -> UploadRef | None:
        if not _ID.fullmatch(upload_id):
            return None
        try:
            file = self._tree.open_file(f"{UPLOADS}/{upload_id}/about")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return UploadRef(keys.parse(json.loads(os.read(file, CHUNK))["key"]), upload_id)
        finally:
            os.close(file)

    def _look(self, ref: UploadRef) -> _State:
        if self._about(ref.id) != ref:
            return _State.UNKNOWN
        return _State.FINISHED if self._tree.holds(f"{_place(ref)}/finished") else _State.OPEN

    def _under_way(self, upload_id: str) -> UploadRef | None:
        ref = self._about(upload_id)
        return ref if ref and self._look(ref) is _State.OPEN else None

    def _commit(
        self, ref: UploadRef, number: int, draft: Draft, berth: Aside, rest: Sequence[Buffer]
    ) -> Part:
        draft.append(rest)
        sealed = seal(draft)
        part = Part(number, sealed.status.st_size, sealed.digest, sealed.digest)
        with draft.at_work():
            berth.move(_part_name(ref, part), replace=True)
        draft.close()
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

    def _finished(self, ref: UploadRef) -> None:
        self._keep(f"{_place(ref)}/finished", "")
        self._clear(_place(ref), _PART)

    def _clear(self, place: str, names: re.Pattern[str] = re.compile(".*")) -> None:
        """Remove the upload's files of such names; its folder goes with the last."""
        for found in self._tree.entries(place):
            if names.fullmatch(found.name):
                self._tree.remove(Key(f"{place}/{found.name}"))
        self._tree.remove(Key(place))


class _Joined:
    """Parts as one source."""

    reopenable = False

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
    return f"{UPLOADS}/{ref.id}"


def _part_name(ref: UploadRef, part: Part) -> str:
    return f"{_place(ref)}/{part.number:05d}-{part.digest}"


def _age(aged: tuple[int, Part]) -> int:
    return aged[0]
