"""prefix: a store seen from one of its folders; what lies outside can't be named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from shoso.core.keys import Key, below, join
from shoso.core.store import Batches, Listings, Signer, Store, Uploads, Within
from shoso.core.streams import Source, closing
from shoso.core.types import (
    OVERWRITE,
    ByteRange,
    Entry,
    Move,
    ObjectMeta,
    Part,
    Reading,
    SignedRequest,
    SmallObject,
    UploadRef,
    WriteMode,
)
from shoso.errors import StoreError
from shoso.layers.layer import Layer, LayerUploads


class PrefixLayer(Layer):
    """Every key is taken below `root`, and shown without it."""

    def __init__(self, inner: Store, root: Key) -> None:
        super().__init__(inner)
        self._root = root

    def inside(self, key: Key) -> Key:
        """The inner store's key."""
        return join(self._root, key)

    def inside_ref(self, ref: UploadRef) -> UploadRef:
        """The inner store's name of an upload."""
        return UploadRef(self.inside(ref.key), ref.id)

    def outside(self, key: Key) -> Key:
        """The key as this layer's users see it."""
        return Key(below(key, self._root))

    def seen(self, meta: ObjectMeta) -> ObjectMeta:
        """What is known of an object, under the key that this layer's users see."""
        return replace(meta, key=self.outside(meta.key))

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return self.seen(await self.inner.stat(self.inside(key)))

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Store."""
        reading = await self.inner.read(self.inside(key), wanted, if_match)
        return replace(reading, meta=self.seen(reading.meta))

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        return self.seen(await self.inner.write(self.inside(key), source, mode, content_type))

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store."""
        behind = None if after is None else f"{self._root}/{after}"
        async with closing(self.inner.list(self.inside(prefix), deep, behind)) as found:
            async for entry in found:
                yield replace(entry, key=self.outside(entry.key))

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        await self.inner.delete([self.inside(key) for key in keys])

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        await self.inner.move([(self.inside(key), self.inside(target)) for key, target in moves])

    @property
    def batches(self) -> Batches | None:
        """The Batches verbs below the prefix."""
        return self.inner.batches and _PrefixedBatches(self, self.inner.batches)

    @property
    def listings(self) -> Listings | None:
        """The Listings verb below the prefix."""
        return self.inner.listings and _PrefixedListings(self, self.inner.listings)

    @property
    def signer(self) -> Signer | None:
        """The signer, below the prefix."""
        return self.inner.signer and _PrefixedSigner(self, self.inner.signer)

    @property
    def uploads(self) -> Uploads:
        """The Uploads verbs below the prefix."""
        return _PrefixedUploads(self, self.inner.uploads)


class _PrefixedBatches:
    def __init__(self, layer: PrefixLayer, inner: Batches) -> None:
        self._prefix = layer
        self._inner = inner

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        inside = [replace(each, meta=self._moved(each.meta)) for each in objects]
        return [
            self._prefix.seen(outcome) if isinstance(outcome, ObjectMeta) else outcome
            for outcome in await self._inner.write(inside)
        ]

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        return [
            replace(found, meta=self._prefix.seen(found.meta)) if isinstance(found, SmallObject) else found
            for found in await self._inner.read([self._prefix.inside(key) for key in keys])
        ]

    def _moved(self, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, key=self._prefix.inside(meta.key))


class _PrefixedListings:
    def __init__(self, layer: PrefixLayer, inner: Listings) -> None:
        self._prefix = layer
        self._inner = inner

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        found = await self._inner.of([self._prefix.inside(folder) for folder in folders], most)
        return [
            one if one is None or isinstance(one, StoreError) else [self._prefix.seen(meta) for meta in one]
            for one in found
        ]


class _PrefixedSigner:
    def __init__(self, layer: PrefixLayer, inner: Signer) -> None:
        self._prefix = layer
        self._inner = inner

    async def read(self, key: Key, expires: float) -> SignedRequest:
        return await self._inner.read(self._prefix.inside(key), expires)

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        return await self._inner.write(self._prefix.inside(key), expires, content_type)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        return await self._inner.part(self._prefix.inside_ref(ref), number, expires)


class _PrefixedUploads(LayerUploads):
    def __init__(self, layer: PrefixLayer, inner: Uploads) -> None:
        super().__init__(layer, inner)
        self._prefix = layer

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        ref = await self._inner.begin(self._prefix.inside(key), size_hint, content_type, part_size)
        return UploadRef(key, ref.id)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        return await self._inner.put(self._prefix.inside_ref(ref), number, source)

    async def parts(self, ref: UploadRef) -> list[Part]:
        return await self._inner.parts(self._prefix.inside_ref(ref))

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        meta = await self._inner.finish(self._prefix.inside_ref(ref), parts, digest)
        return replace(meta, key=ref.key)

    async def abort(self, ref: UploadRef) -> None:
        await self._inner.abort(self._prefix.inside_ref(ref))

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        async with closing(self._inner.pending(self._prefix.inside(prefix))) as found:
            async for ref in found:
                yield replace(ref, key=self._prefix.outside(ref.key))
