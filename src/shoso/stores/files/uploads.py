"""Uploads in parts: each part a file, joined when the upload is finished.

.shoso/uploads/<id>/about                     the key (JSON)
.shoso/uploads/<id>/<number>-<time>-<digest>  a part; of several with one number the latest counts
.shoso/uploads/<id>/finished                  the parts are gone, the object stands: finish may be repeated

The id ends in a digest of the key, so that it's known without a question to be good for that key only.
"""

from __future__ import annotations

import asyncio
import enum
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from shoso.core import keys
from shoso.core.digest import digest as digest_of
from shoso.core.keys import Key
from shoso.core.streams import BytesSource, Source, closing, verified
from shoso.core.types import Buffer, ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.files.drafts import untouched_for
from shoso.stores.files.names import UPLOADS
from shoso.stores.files.system import Found

if TYPE_CHECKING:
    from shoso.stores.files.store import FileStore

FINISHED_FOR = 86400.0
"""Seconds for which a finished upload may be finished again; then it is swept."""

_RACES = 3
"""Times that an upload's folder is cleared of parts that come in meanwhile."""

_ID = re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}")
_PART = re.compile(r"(\d{5})-([0-9a-f]{16})-([0-9a-f]{64})")


class _State(enum.Enum):
    UNKNOWN = enum.auto()
    OPEN = enum.auto()
    FINISHED = enum.auto()


class FileUploads:
    """The Uploads verbs of a FileStore; parts share its drafts and errors."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._system = store.system

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads. One that nobody will know of is cleared away."""
        ref = UploadRef(key, f"{secrets.token_hex(16)}-{_bound(key)}")
        try:
            await self._store.run("begin", key, self._store.folders.make, _place(ref))
            await self._keep("begin", ref, "about", json.dumps({"key": key}))
        except BaseException:
            with suppress(StoreError), self._store.named("begin", key):  # unless it's closed
                self._store.drafts.start(self._clear(ref.id, "about"))
            raise
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        await self._require("put", ref)
        async with self._store.filled("put", ref.key, source) as draft:
            status = await self._store.run("put", ref.key, draft.seal)
            place = f"{_place(ref)}/{number:05d}-{time.time_ns():016x}-{draft.digest}"
            await self._store.run("put", ref.key, draft.move_into, place)
        return Part(number, status.size, draft.digest, draft.digest)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        await self._require("parts", ref)
        newest = {part.number: part for _, part in await self._parts("parts", ref)}
        return [newest[number] for number in sorted(newest)]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. Two at once are fine: whoever finds the parts gone finds the object there."""
        if await self._known("finish", ref) is _State.FINISHED:
            return await self._store.stat(ref.key)
        try:
            return await self._finish(ref, parts, digest)
        except StoreError:
            if await self._known("finish", ref) is not _State.FINISHED:
                raise
            return await self._store.stat(ref.key)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads. What an abort that broke off has left goes with the next."""
        if not await self._begun_abort(ref):
            await self._require("abort", ref)
        await self._store.run("abort", ref.key, self._clear, ref.id, "about")

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for name in await self._store.run("pending", prefix, self._names):
            ref = await self._about(name)
            if ref is None or not keys.contains(prefix, ref.key):
                continue
            if await self._state("pending", ref) is _State.OPEN:
                yield ref

    async def sweep(self) -> None:
        """Forget what was finished long ago, and what is left of aborted ones. Raises OSError."""
        for found in await self._entries(UPLOADS):
            if untouched_for(FINISHED_FOR, found.status) and _ID.fullmatch(found.name):
                there = {inner.name for inner in await self._entries(f"{UPLOADS}/{found.name}")}
                if "finished" in there or "about" not in there:
                    await self._clear(found.name, "about")

    # -- their parts --------------------------------------------------------------------------------------

    async def _finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None) -> ObjectMeta:
        newest = {part.number: (name, part) for name, part in await self._parts("finish", ref)}
        there = {(part.number, part.etag): (name, part) for name, part in newest.values()}
        for part in parts:
            if (part.number, part.etag) not in there:
                what = f"has no part {part.number} like that"
                raise self._store.error(Kind.INVALID, "finish", ref.key, what)
        named = [there[part.number, part.etag] for part in parts]
        meta = await self._joined(ref, named, digest)
        await self._keep("finish", ref, "finished", "")
        with self._store.named("finish", ref.key):
            await self._remove_parts(ref)
        return meta

    async def _joined(
        self, ref: UploadRef, named: Sequence[tuple[str, Part]], digest: str | None
    ) -> ObjectMeta:
        """The object; of what the server joins by itself, the digest is the one that was claimed."""
        places = [f"{_place(ref)}/{name}" for name, _ in named]
        if self._system.traits.joins:
            return replace(await self._store.join(ref.key, places), digest=digest)
        parts = [(place, part) for place, (_, part) in zip(places, named, strict=True)]
        return await self._store.write(ref.key, _Joined(self._store, ref.key, parts, digest))

    async def _known(self, op: str, ref: UploadRef) -> _State:
        state = await self._state(op, ref)
        if state is _State.UNKNOWN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")
        return state

    async def _require(self, op: str, ref: UploadRef) -> None:
        if await self._known(op, ref) is not _State.OPEN:
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way any more")

    async def _state(self, op: str, ref: UploadRef) -> _State:
        if not _bound_to(ref):
            return _State.UNKNOWN
        about, finished = await asyncio.gather(
            *(self._holds(op, ref, name) for name in ("about", "finished"))
        )
        if not about:
            return _State.UNKNOWN
        return _State.FINISHED if finished else _State.OPEN

    async def _begun_abort(self, ref: UploadRef) -> bool:
        """Whether the upload's folder is there still, but nothing in it says so."""
        if not _bound_to(ref):
            return False
        names = {found.name for found in await self._store.run("abort", ref.key, self._entries, _place(ref))}
        return bool(names) and not names & {"about", "finished"}

    async def _holds(self, op: str, ref: UploadRef, name: str) -> bool:
        try:
            await self._store.run(op, ref.key, self._system.status, f"{_place(ref)}/{name}")
        except NotFound:
            return False
        return True

    async def _keep(self, op: str, ref: UploadRef, name: str, text: str) -> None:
        async with self._store.filled(op, ref.key, BytesSource(text.encode())) as draft:
            await self._store.run(op, ref.key, draft.seal)
            await self._store.run(op, ref.key, draft.move_into, f"{_place(ref)}/{name}")

    async def _about(self, upload_id: str) -> UploadRef | None:
        """The upload of that id; None for one that is gone, or none of ours."""
        try:
            reading = await self._store.opened("pending", keys.ROOT, f"{UPLOADS}/{upload_id}/about")
        except NotFound:
            return None
        async with reading, closing(reading.body) as body:
            text = b"".join([bytes(data) async for data in body])
        try:
            return UploadRef(keys.parse(json.loads(text)["key"]), upload_id, reading.meta.modified)
        except (ValueError, KeyError, TypeError, StoreError):
            return None

    async def _names(self) -> list[str]:
        return [found.name for found in await self._entries(UPLOADS) if _ID.fullmatch(found.name)]

    async def _entries(self, place: str) -> Sequence[Found]:
        with suppress(FileNotFoundError, NotADirectoryError):
            return await self._system.entries(place)
        return []

    async def _parts(self, op: str, ref: UploadRef) -> list[tuple[str, Part]]:
        """Every part that is there, by name; the later of those with one number behind the earlier."""
        found = await self._store.run(op, ref.key, self._system.entries, _place(ref))
        return [
            (entry.name, Part(int(match[1]), entry.status.size, match[3], match[3], entry.status.modified))
            for entry in sorted(found, key=lambda entry: (entry.status.modified, entry.name))
            if (match := _PART.fullmatch(entry.name))
        ]

    async def _remove_parts(self, ref: UploadRef) -> None:
        place = _place(ref)
        names = [entry.name for entry in await self._system.entries(place)]
        await self._store.remove_all(f"{place}/{name}" for name in names if _PART.fullmatch(name))

    async def _clear(self, upload_id: str, first: str) -> None:
        """Remove an upload's files, `first` before the others, and its folder."""
        place = f"{UPLOADS}/{upload_id}"
        await self._store.remove_all([f"{place}/{first}"])
        for _ in range(_RACES):
            await self._store.remove_all(f"{place}/{entry.name}" for entry in await self._entries(place))
            if await self._store.folders.gone(place):
                break


class _Joined:
    """Parts as one source, each compared with its digest once more."""

    reopenable = False

    def __init__(
        self, store: FileStore, key: Key, parts: Sequence[tuple[str, Part]], digest: str | None
    ) -> None:
        self._store, self._key, self._parts, self._digest = store, key, parts, digest

    @property
    def size(self) -> int:
        return sum(part.size for _, part in self._parts)

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        for place, part in self._parts:
            async with await self._store.opened("finish", self._key, place) as reading:
                whole = replace(reading, meta=replace(reading.meta, digest=part.digest))
                async with closing(verified(whole)) as body:
                    async for data in body:
                        yield data

    def expected(self) -> str | None:
        return self._digest


def _place(ref: UploadRef) -> str:
    return f"{UPLOADS}/{ref.id}"


def _bound_to(ref: UploadRef) -> bool:
    """Whether the id may be one of ours, for that key."""
    return _ID.fullmatch(ref.id) is not None and ref.id.endswith(_bound(ref.key))


def _bound(key: Key) -> str:
    return digest_of(key.encode())[:16]
