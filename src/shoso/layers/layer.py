"""A layer: a store around a store. Every verb goes through one of three seams, so none is forgotten.

`call` surrounds a call that returns a value, `open` one that returns a body, `listing` one whose results come
one by one. A layer overrides the seams it cares about; capabilities, info and the rest are the inner store's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from shoso.core.keys import Key
from shoso.core.store import Batches, Listings, Signer, Store, StoreInfo, Uploads, Within
from shoso.core.streams import Source
from shoso.core.types import (
    ALL,
    OVERWRITE,
    ByteRange,
    Capabilities,
    Entry,
    Move,
    ObjectMeta,
    Part,
    Reading,
    SmallObject,
    UploadRef,
    WriteMode,
)
from shoso.errors import StoreError

T = TypeVar("T")
Attempt = Callable[[], Awaitable[T]]
Begin = Callable[[str | None], AsyncIterator[T]]
"""Begins a listing behind a place, or at its start."""


class Layer:
    """Forwards everything to `inner`, through the seams."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    # -- the seams ----------------------------------------------------------------------------------------

    async def call(self, op: str, key: Key, attempt: Attempt[T], source: Source | None = None) -> T:
        """Make a call; `source` is what it sends, which a second attempt would have to open again."""
        del op, key, source
        return await attempt()

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """Open a body."""
        return await self.inner.read(key, wanted, if_match)

    def listing(self, op: str, prefix: Key, begin: Begin[T], after: str | None) -> AsyncIterator[T]:
        """List what `begin` finds behind `after`."""
        del op, prefix
        return begin(after)

    # -- the verbs ----------------------------------------------------------------------------------------

    @property
    def info(self) -> StoreInfo:
        """The inner store's."""
        return self.inner.info

    @property
    def capabilities(self) -> Capabilities:
        """The inner store's."""
        return self.inner.capabilities

    @property
    def batches(self) -> Batches | None:
        """The inner store's, through the same seams."""
        return self.inner.batches and LayerBatches(self, self.inner.batches)

    @property
    def listings(self) -> Listings | None:
        """The inner store's, through the same seams."""
        return self.inner.listings and LayerListings(self, self.inner.listings)

    @property
    def signer(self) -> Signer | None:
        """The inner store's: signing is no call to the storage."""
        return self.inner.signer

    @property
    def uploads(self) -> Uploads:
        """The inner store's, through the same seams."""
        return LayerUploads(self, self.inner.uploads)

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return await self.call("stat", key, lambda: self.inner.stat(key))

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        return await self.open(key, wanted, if_match)

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        return await self.call(
            "write", key, lambda: self.inner.write(key, source, mode, content_type), source
        )

    def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store."""
        return self.listing("list", prefix, lambda behind: self.inner.list(prefix, deep, behind), after)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        if keys:
            await self.call("delete", keys[0], lambda: self.inner.delete(keys))

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        if moves:
            await self.call("move", moves[0][0], lambda: self.inner.move(moves))

    async def close(self) -> None:
        """See Store."""
        await self.inner.close()


class LayerBatches:
    """The Batches verbs through a layer's seams."""

    def __init__(self, layer: Layer, inner: Batches) -> None:
        self._layer = layer
        self._inner = inner

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        """See Batches."""
        if not objects:
            return []
        return await self._layer.call("write_many", objects[0].meta.key, lambda: self._inner.write(objects))

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        if not keys:
            return []
        return await self._layer.call("read_many", keys[0], lambda: self._inner.read(keys))


class LayerListings:
    """The Listings verb through a layer's seams."""

    def __init__(self, layer: Layer, inner: Listings) -> None:
        self._layer = layer
        self._inner = inner

    async def of(self, folders: Sequence[Key], most: int) -> list[Within]:
        """See Listings."""
        if not folders:
            return []
        return await self._layer.call("list_many", folders[0], lambda: self._inner.of(folders, most))


class LayerUploads:
    """The Uploads verbs through a layer's seams."""

    def __init__(self, layer: Layer, inner: Uploads) -> None:
        self._layer = layer
        self._inner = inner

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads."""
        return await self._layer.call(
            "begin", key, lambda: self._inner.begin(key, size_hint, content_type, part_size)
        )

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        return await self._layer.call("put", ref.key, lambda: self._inner.put(ref, number, source), source)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        return await self._layer.call("parts", ref.key, lambda: self._inner.parts(ref))

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads."""
        return await self._layer.call("finish", ref.key, lambda: self._inner.finish(ref, parts, digest))

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._layer.call("abort", ref.key, lambda: self._inner.abort(ref))

    def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        return self._layer.listing("pending", prefix, lambda _: self._inner.pending(prefix), None)
