"""check: nonsense is refused before the store sees it, and a whole read is verified before its last byte.

Keys are parsed once more here: a route that forgot to can't reach a store with one that climbs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from shoso.core import digest as digests
from shoso.core.keys import Key, is_plain, parse
from shoso.core.store import Batches, Listings, Signer, Uploads, Within
from shoso.core.streams import Source, closing, verified
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    IfMatch,
    Move,
    ObjectMeta,
    Part,
    Reading,
    SignedRequest,
    SmallObject,
    UploadRef,
    UploadStyle,
    WriteMode,
)
from shoso.errors import Kind, StoreError, store_error
from shoso.layers.layer import Attempt, Begin, Layer, LayerBatches, LayerListings, LayerUploads, T


class Check(Layer):
    """Refuses what the store can't do, by its capabilities; verifies the digests that are known."""

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """See Layer; a call is about an object, which the root is not."""
        _require_object(op, key)
        return await super().call(op, key, attempt, source)

    def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """See Layer."""
        return super().listing(op, parse(prefix), begin, after)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer; a whole body whose digest is known is verified while it passes."""
        _require_object("read", key)
        if wanted != ALL and not self.capabilities.ranges:
            raise _unsupported(self, "read", key, "ranges")
        reading = await super().open(key, wanted, if_match)
        if reading.meta.digest and reading.size == reading.meta.size:
            return Reading(reading.meta, reading.start, reading.stop, verified(reading), reading.close)
        return reading

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        if mode is CREATE and not self.capabilities.create:
            raise _unsupported(self, "write", key, "writes that refuse what is there")
        if isinstance(mode, IfMatch) and not self.capabilities.if_match:
            raise _unsupported(self, "write", key, "writes that depend on an etag")
        return await super().write(key, source, mode, content_type)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; the root is never deleted, by anybody."""
        for key in keys:
            if not is_plain(key):
                _require_object("delete", key)
        await super().delete(keys)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; of a key that is named twice nobody could say what it should be in the end."""
        if not self.capabilities.move and moves:
            raise _unsupported(self, "move", moves[0][0], "moving objects")
        seen = set[Key]()
        for key in (key for move in moves for key in move):
            _require_object("move", key)
            if key in seen:
                raise _invalid("move", key, f"'{key}' is named twice; move it in a call of its own.")
            seen.add(key)
        await super().move(moves)

    @property
    def batches(self) -> Batches | None:
        """The Batches verbs, of objects only, each object read compared with its digest."""
        return self.inner.batches and _CheckedBatches(self, self.inner.batches)

    @property
    def listings(self) -> Listings | None:
        """The Listings verb, of folders below the root."""
        return self.inner.listings and _CheckedListings(self, self.inner.listings)

    @property
    def signer(self) -> Signer | None:
        """The signer, of requests about objects only."""
        return self.inner.signer and _CheckedSigner(self.inner.signer)

    @property
    def uploads(self) -> Uploads:
        """The Uploads verbs within the store's limits."""
        return _CheckedUploads(self, self.inner.uploads, self.capabilities)


class _CheckedUploads(LayerUploads):
    def __init__(self, layer: Layer, inner: Uploads, capabilities: Capabilities) -> None:
        super().__init__(layer, inner)
        self._capabilities = capabilities
        self._checked = layer

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        self._require("begin", key)
        most = self._capabilities.part_max
        if part_size is not None and not 1 <= part_size <= most:
            raise _invalid("begin", key, f"A part may have from 1 to {most} bytes, not {part_size}.")
        return await super().begin(key, size_hint, content_type, part_size)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        self._require("put", ref.key)
        limits = self._capabilities
        if not 1 <= number <= limits.parts_max:
            raise _invalid("put", ref.key, f"Part {number} is not between 1 and {limits.parts_max}.")
        if source.size is not None and source.size > limits.part_max:
            raise _invalid("put", ref.key, f"A part may have {limits.part_max} bytes, not {source.size}.")
        if source.size is None:
            source = _Bounded(source, ref.key, limits.part_max)
        return await super().put(ref, number, source)

    async def parts(self, ref: UploadRef) -> list[Part]:
        self._require("parts", ref.key)
        return await super().parts(ref)

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        self._require("finish", ref.key)
        numbers = [part.number for part in parts]
        if not parts or numbers != sorted(set(numbers)):
            raise _invalid("finish", ref.key, "The parts must be named once each, in ascending order.")
        if any(part.size < self._capabilities.part_min for part in parts[:-1]):
            raise _invalid(
                "finish", ref.key, f"Every part but the last needs {self._capabilities.part_min} bytes."
            )
        return await super().finish(ref, parts, digest)

    async def abort(self, ref: UploadRef) -> None:
        self._require("abort", ref.key)
        await super().abort(ref)

    def _require(self, op: str, key: Key) -> None:
        if self._capabilities.uploads is UploadStyle.NONE:
            raise _unsupported(self._checked, op, key, "uploads in parts")
        _require_object(op, key)


class _CheckedBatches(LayerBatches):
    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        for each in objects:
            _require_object("write_many", each.meta.key)
        return await super().write(objects)

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        for key in keys:
            _require_object("read_many", key)
        return [_compared(found) for found in await super().read(keys)]


class _CheckedListings(LayerListings):
    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        for folder in folders:
            _require_object("list_many", folder)
        return await super().of(folders, most)


class _CheckedSigner:
    def __init__(self, inner: Signer) -> None:
        self._inner = inner

    async def read(self, key: Key, expires: float) -> SignedRequest:
        _require_object("sign", key)
        return await self._inner.read(key, expires)

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        _require_object("sign", key)
        return await self._inner.write(key, expires, content_type)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        _require_object("sign", ref.key)
        return await self._inner.part(ref, number, expires)


class _Bounded:
    """A part whose size wasn't announced: refused as soon as more of it has come than the store takes."""

    size = None

    def __init__(self, source: Source, key: Key, most: int) -> None:
        self._source, self._key, self._most = source, key, most
        self.reopenable, self.expected = source.reopenable, source.expected

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        seen = start
        async with closing(self._source.open(start)) as buffers:
            async for data in buffers:
                seen += len(data)
                if seen > self._most:
                    raise _invalid("put", self._key, f"A part may have {self._most} bytes.")
                yield data


def _compared(found: SmallObject | StoreError) -> SmallObject | StoreError:
    """The object, or the error of one whose bytes aren't what they should be."""
    if isinstance(found, StoreError) or found.meta.digest is None:
        return found
    actual = digests.digest(found.data)
    return (
        found if actual == found.meta.digest else digests.mismatch(found.meta.key, found.meta.digest, actual)
    )


def _require_object(op: str, key: Key) -> None:
    """Raise INVALID_KEY unless `key` is one, and not the root."""
    if not parse(key):
        raise store_error(Kind.INVALID_KEY, "The path is empty: name an artifact.", op=op)


def _invalid(op: str, key: Key, message: str) -> StoreError:
    return store_error(Kind.INVALID, message, op=op, key=key)


def _unsupported(layer: Layer, op: str, key: Key, what: str) -> StoreError:
    name = layer.info.name
    return store_error(Kind.UNSUPPORTED, f"{name} doesn't support {what}.", op=op, key=key, store=name)
