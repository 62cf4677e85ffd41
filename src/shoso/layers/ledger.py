"""ledger: a book of the digests that were seen, for the objects whose store keeps none beside them.

What is written goes into the book with the etag it got. Whoever reads finds the digest there while the
object is still that version, so that `check` verifies it as any other, and a listing tells what is there
already. The book is a help and never a hindrance: without it, digests are missing and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from shoso.core.keys import Key
from shoso.core.store import Batches, Store, Uploads
from shoso.core.streams import Source, closing
from shoso.core.types import (
    OVERWRITE,
    ByteRange,
    Digests,
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
from shoso.layers.layer import Layer, LayerBatches, LayerUploads

FIRST, MOST = 16, 512
"""Entries of a listing that are looked up at once: few at first, for whoever wants a few."""

E = TypeVar("E", bound=Entry)


class Book(Protocol):
    """Digests by key and version. Nothing here raises; what fails or takes long is as if it weren't there."""

    def record(self, metas: Iterable[ObjectMeta]) -> None:
        """Write down the digests of these versions; those without one are passed over. Never waits."""
        ...

    async def known(self, metas: Sequence[ObjectMeta]) -> Sequence[str | None]:
        """The digest of each of these versions, in their order; None where it isn't known."""
        ...

    def forget(self, keys: Iterable[Key]) -> None:
        """These objects are gone. Never waits."""
        ...

    async def follow(self, moves: Sequence[Move]) -> None:
        """These objects have other keys now; their digests stay known where their versions stay the same."""
        ...


class Ledger(Layer):
    """Writes down what passes, and gives an object its digest where the store has none."""

    def __init__(self, inner: Store, book: Book) -> None:
        super().__init__(inner)
        self.book = book

    def recorded(self, meta: ObjectMeta) -> ObjectMeta:
        """The same, written down."""
        self.book.record([meta])
        return meta

    async def filled(self, entries: Sequence[E]) -> list[E]:
        """The same with the digests that the book knows; asked once for all."""
        filled = [*entries]
        bare = [
            (at, entry)
            for at, entry in enumerate(entries)
            if isinstance(entry, ObjectMeta) and entry.digest is None
        ]
        if bare:
            digests = await self.book.known([entry for _, entry in bare])
            for (at, entry), digest in zip(bare, digests, strict=True):
                filled[at] = replace(entry, digest=digest)
        return filled

    async def _one(self, meta: ObjectMeta) -> ObjectMeta:
        """An object with its digest. A store that keeps all has one, or another has written it since."""
        if self.capabilities.digests is Digests.ALL:
            return meta
        return (await self.filled([meta]))[0]

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return await self._one(await super().stat(key))

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer; nobody verifies a part of an object."""
        reading = await super().open(key, wanted, if_match)
        if reading.size != reading.meta.size:
            return reading
        try:
            return replace(reading, meta=await self._one(reading.meta))
        except BaseException:
            await reading.close()
            raise

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store."""
        return self.recorded(await super().write(key, source, mode, content_type))

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a page of it is looked up at a time."""
        size, page = FIRST, list[Entry]()
        async with closing(super().list(prefix, deep, after)) as found:
            async for entry in found:
                page.append(entry)
                if len(page) >= size:
                    for filled in await self.filled(page):
                        yield filled
                    size, page = min(MOST, 2 * size), []
        for filled in await self.filled(page):
            yield filled

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        await super().delete(keys)
        self.book.forget(keys)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store."""
        await super().move(moves)
        await self.book.follow(moves)

    @property
    def batches(self) -> Batches | None:
        """The Batches verbs, with the same book."""
        return self.inner.batches and _LedgerBatches(self, self.inner.batches)

    @property
    def uploads(self) -> Uploads:
        """The Uploads verbs, with the same book."""
        return _LedgerUploads(self, self.inner.uploads)


class _LedgerUploads(LayerUploads):
    def __init__(self, ledger: Ledger, inner: Uploads) -> None:
        super().__init__(ledger, inner)
        self._ledger = ledger

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        return self._ledger.recorded(await super().finish(ref, parts, digest))


class _LedgerBatches(LayerBatches):
    def __init__(self, ledger: Ledger, inner: Batches) -> None:
        super().__init__(ledger, inner)
        self._ledger = ledger

    async def write(self, objects: Sequence[SmallObject]) -> list[ObjectMeta | StoreError]:
        outcomes = await super().write(objects)
        self._ledger.book.record([outcome for outcome in outcomes if isinstance(outcome, ObjectMeta)])
        return outcomes

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        outcomes = await super().read(keys)
        found = [outcome for outcome in outcomes if isinstance(outcome, SmallObject)]
        metas = iter(await self._ledger.filled([each.meta for each in found]))
        return [
            replace(outcome, meta=next(metas)) if isinstance(outcome, SmallObject) else outcome
            for outcome in outcomes
        ]
