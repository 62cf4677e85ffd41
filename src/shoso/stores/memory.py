"""memory: the reference store. Read it first: it is the contract with nothing around it."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from shoso.core import digest, keys
from shoso.core.batches import require_small
from shoso.core.keys import Key
from shoso.core.store import Batches, Listings, StoreInfo, Uploads, Within, order
from shoso.core.streams import BytesSource, Source, complete, confirm
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Entry,
    IfMatch,
    Move,
    ObjectMeta,
    Part,
    Prefix,
    Reading,
    SmallObject,
    UploadRef,
    WriteMode,
    span,
)
from shoso.errors import Kind, StoreError, store_error

_names = itertools.count()


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """Nothing to choose but the name it shows."""

    name: str = field(default_factory=lambda: f"memory-{next(_names)}")


class MemoryStore:
    """Objects in a dict; gone with the process."""

    capabilities = Capabilities(move=True)
    signer = None

    def __init__(self, options: MemoryOptions | None = None) -> None:
        self.info = StoreInfo("memory", (options or MemoryOptions()).name)
        self.objects: dict[Key, tuple[ObjectMeta, bytes]] = {}
        self._uploads = _MemoryUploads(self)
        self._batches = _MemoryBatches(self)
        self._versions = itertools.count(1)

    @property
    def uploads(self) -> Uploads:
        """Objects in parts."""
        return self._uploads

    @property
    def batches(self) -> Batches:
        """Many small objects at once."""
        return self._batches

    @property
    def listings(self) -> Listings:
        """What lies in many folders."""
        return _MemoryListings(self)

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return self._find("stat", key)[0]

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        meta, data = self._find("read", key)
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, "read", key, "has changed since")
        start, stop = span(wanted, len(data))
        return Reading(meta, start, stop, BytesSource(data[start:stop]).open())

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        data, actual = await _received(key, source)
        self._permit(key, mode)
        meta = ObjectMeta(key, len(data), time.time(), f"v{next(self._versions)}", actual, content_type)
        self.objects[key] = (meta, data)
        return meta

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store."""
        found: dict[str, Entry] = {}
        for key, (meta, _) in self.objects.items():
            if not keys.contains(prefix, key) or key == prefix:
                continue
            head, slash, _ = keys.below(key, prefix).partition("/")
            entry = Prefix(keys.join(prefix, head)) if slash and not deep else meta
            found[order(entry)] = entry
        for place in sorted(found):
            if after is None or place > after:
                yield found[place]

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        for key in keys:
            self.objects.pop(key, None)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        missing = [key for key, target in moves if not self._moved(key, target)]
        if missing:
            raise self.error(Kind.NOT_FOUND, "move", missing[0], "is not there")

    async def close(self) -> None:
        """See Store."""

    def error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        """The error in this store's name."""
        name = self.info.name
        return store_error(kind, f"'{key}' {what} in {name}.", op=op, key=key, store=name)

    def _find(self, op: str, key: Key) -> tuple[ObjectMeta, bytes]:
        if key not in self.objects:
            raise self.error(Kind.NOT_FOUND, op, key, "is not there")
        return self.objects[key]

    def _moved(self, key: Key, target: Key) -> bool:
        """Whether the object is at its new key, now or since before."""
        if (found := self.objects.pop(key, None)) is not None:
            self.objects[target] = (replace(found[0], key=target), found[1])
        return target in self.objects

    def _permit(self, key: Key, mode: WriteMode) -> None:
        there = self.objects.get(key)
        if mode is CREATE and there is not None:
            raise self.error(Kind.EXISTS, "write", key, "is there already")
        if isinstance(mode, IfMatch) and (there is None or there[0].etag != mode.etag):
            raise self.error(Kind.CHANGED, "write", key, "has changed since")


class _MemoryListings:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        """See Listings."""
        return [await self._one(folder, most) for folder in folders]

    async def _one(self, folder: Key, most: int) -> Within:
        found = [meta async for meta in self._store.list(folder, deep=True) if isinstance(meta, ObjectMeta)]
        return found if len(found) <= most else None


class _MemoryBatches:
    """One after another: nothing is gained here, but the contract is shown."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """See Batches."""
        return [await self._write(each.meta, each.data) for each in objects]

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        return [await self._read(key) for key in keys]

    async def _write(self, meta: ObjectMeta, data: Buffer) -> ObjectMeta | StoreError:
        source = BytesSource(data, meta.digest)
        try:
            return await self._store.write(meta.key, source, content_type=meta.content_type)
        except StoreError as error:
            return error

    async def _read(self, key: Key) -> SmallObject | StoreError:
        try:
            meta = await self._store.stat(key)
            require_small(meta)
        except StoreError as error:
            return error
        return SmallObject(meta, self._store.objects[key][1])


async def _received(key: Key, source: Source) -> tuple[bytes, str]:
    """All bytes of the source and their digest. Raises INCOMPLETE, CORRUPT."""
    data = b"".join([bytes(part) async for part in source.open()])
    actual = digest.digest(data)
    complete(key, source, len(data))
    confirm(key, source, actual)
    return data, actual


@dataclass(slots=True)
class _Upload:
    key: Key
    content_type: str | None
    parts: dict[int, tuple[Part, bytes]] = field(default_factory=dict)
    finished: bool = False
    begun: float = field(default_factory=time.time)


class _MemoryUploads:
    """Parts in a dict; a finished upload stays known, so that `finish` can be repeated."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._uploads: dict[str, _Upload] = {}
        self._ids = itertools.count(1)

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        ref = UploadRef(key, f"upload-{next(self._ids)}")
        self._uploads[ref.id] = _Upload(key, content_type)
        return ref

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        upload = self._find("put", ref)
        data, actual = await _received(ref.key, source)
        part = Part(number, len(data), actual, actual, time.time())
        upload.parts[number] = (part, data)
        return part

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        upload = self._find("parts", ref)
        return [upload.parts[number][0] for number in sorted(upload.parts)]

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads."""
        upload = self._find("finish", ref, finished=True)
        if upload.finished:
            return await self._store.stat(ref.key)
        data = b"".join(self._named(ref, upload, part) for part in parts)
        meta = await self._store.write(ref.key, BytesSource(data, digest), OVERWRITE, upload.content_type)
        upload.finished, upload.parts = True, {}
        return meta

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        self._find("abort", ref)
        del self._uploads[ref.id]

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for name, upload in list(self._uploads.items()):
            if not upload.finished and keys.contains(prefix, upload.key):
                yield UploadRef(upload.key, name, upload.begun)

    def _find(self, op: str, ref: UploadRef, finished: bool = False) -> _Upload:
        upload = self._uploads.get(ref.id)
        if upload is None or upload.key != ref.key or (upload.finished and not finished):
            raise self._store.error(Kind.NOT_FOUND, op, ref.key, "has no such upload under way")
        return upload

    def _named(self, ref: UploadRef, upload: _Upload, part: Part) -> bytes:
        there = upload.parts.get(part.number)
        if there is None or there[0].etag != part.etag:
            raise self._store.error(Kind.INVALID, "finish", ref.key, f"has no part {part.number} like that")
        return there[1]
