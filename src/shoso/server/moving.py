"""Reads during a move: what isn't where rows say may still be at the other place.

`migrate` rewrites the rows of an experiment while clients write, so that an artifact may come to the old
place a moment too late. Until the move is finished, what isn't found is looked for there, and a listing shows
both; what is deleted is deleted at both, also while it is copied. Whoever remembers the old place is served
in the same way from the new one. Only places below the server's own roots are looked at.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.store import Batches, Signer, Store, is_folder, order
from shoso.core.streams import closing
from shoso.core.types import (
    ByteRange,
    Entry,
    ObjectMeta,
    Prefix,
    Reading,
    SignedRequest,
    SmallObject,
    UploadRef,
)
from shoso.errors import Kind, NotFound, ShosoError, StoreError, store_error
from shoso.layers.layer import Layer, LayerBatches
from shoso.metadata import moves
from shoso.metadata.connect import Database
from shoso.metadata.moves import Move, State
from shoso.server.beside import chained, gathered, merged

_log = logging.getLogger("shoso.server")

FRESH = 1.0
"""Seconds for which the moves that were read are believed."""

PATIENCE = 1.0
"""Seconds that reading them may take."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A folder in one of the server's stores."""

    store: Moving
    folder: Key


@dataclass(frozen=True, slots=True)
class Pair:
    """Where something is asked for, and where it may be instead; `copying`: only copies are there yet."""

    now: Spot
    other: Spot
    copying: bool = False

    @property
    def reverse(self) -> Pair:
        """For whoever asks at the other place."""
        return Pair(self.other, self.now)

    def holds(self, store: Moving, key: Key) -> bool:
        """Whether it is about that key of the store."""
        return self.now.store is store and keys.contains(self.now.folder, key)

    def key(self, key: Key) -> Key:
        """The key at the other place."""
        return keys.join(self.other.folder, keys.below(key, self.now.folder))

    def back(self, entry: Entry) -> Entry:
        """What is listed there, as if it were here."""
        return replace(entry, key=keys.join(self.now.folder, keys.below(entry.key, self.other.folder)))

    async def list(self, prefix: Key, deep: bool, after: str | None) -> AsyncIterator[Entry]:
        """The other place's entries of that folder, as if they were here."""
        store = self.other.store.inner
        async with closing(store.list(self.key(prefix), deep, self.after(prefix, after))) as found:
            async for entry in found:
                yield self.back(entry)

    def after(self, prefix: Key, after: str | None) -> str | None:
        """Where a listing of the other place goes on that has come so far here."""
        here, there = _inside(self.now.folder), _inside(self.other.folder)
        if after is None or not after.startswith(here):
            return None if after is None or after < _inside(prefix) else "\U0010ffff"
        return there + after.removeprefix(here)


class Moves:
    """The moves under way, as the database has them. There are none before `open`."""

    def __init__(self, locate: Callable[[str], Spot]) -> None:
        self._locate = locate
        self._database: Database | None = None
        self._pairs: list[Pair] = []
        self._read = -FRESH
        self._told: set[str] = set()
        self._reading = asyncio.Lock()

    def open(self, database: Database) -> None:
        """Read them there."""
        self._database = database

    async def of(self, store: Moving, key: Key, *, exact: bool) -> Pair | None:
        """Where else an object or folder of that key may be; `exact`: as the database has it now.

        Of moves whose folders lie in each other, the innermost is the one that it belongs to.
        """
        await self._heed(exact=exact)
        found = [pair for pair in self._pairs if not pair.copying and pair.holds(store, key)]
        return max(found, key=lambda pair: len(pair.now.folder), default=None)

    async def below(self, store: Moving, folder: Key) -> list[list[Pair]]:
        """Those whose folders lie further down, as seen there; none inside of another in one list."""
        await self._heed(exact=False)
        here = [pair for pair in self._pairs if not pair.copying and pair.now.store is store]
        return _layers(pair for pair in here if _is_below(folder, pair.now.folder))

    async def copies(self, store: Moving, some: Sequence[Key]) -> dict[Moving, list[Key]]:
        """Where else objects of these keys are, or are being copied to, as the database has it now."""
        await self._heed(exact=True)
        found: dict[Moving, list[Key]] = {}
        for key in some:
            for pair in self._pairs:
                if pair.holds(store, key):
                    found.setdefault(pair.other.store, []).append(pair.key(key))
        return found

    async def _heed(self, *, exact: bool) -> None:
        if self._database is None:
            return
        least = time.monotonic() - (0 if exact else FRESH)
        async with self._reading:
            if self._read <= least:
                await self._refresh(self._database)

    async def _refresh(self, database: Database) -> None:
        now = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                found = await database.read(moves.open_moves)
        except (ShosoError, TimeoutError) as error:
            _log.warning("Which artifacts are being moved isn't known for now: %s", error)
        else:
            self._pairs = [pair for move in found for pair in self._both_ways(move)]
        self._read = now

    def _both_ways(self, move: Move) -> list[Pair]:
        """Its two places, as whoever asks at either sees them; nothing of one outside of our roots."""
        copying = not move.has_turned
        at_source = copying or move.state is State.RETURNED
        ends = (move.source, move.target) if at_source else (move.target, move.source)
        try:
            now, other = (self._spot(end, Key(move.folder)) for end in ends)
        except ShosoError:
            self._tell(ends[1])
            return []
        pair = Pair(now, other, copying)
        return [pair] if copying else [pair, pair.reverse]

    def _spot(self, end: str, folder: Key) -> Spot:
        spot = self._locate(end)
        return Spot(spot.store, keys.join(spot.folder, folder))

    def _tell(self, place: str) -> None:
        if place not in self._told:
            self._told.add(place)
            message = (
                "Artifacts are being moved from %s, where this server doesn't look for those that aren't at"
                " the new place yet: name both for --allow-artifact-root, for as long as the move lasts."
            )
            _log.warning(message, shown(place))


class Moving(Layer):
    """A store of the server's, with what is still to come to it."""

    def __init__(self, inner: Store, moves: Moves) -> None:
        super().__init__(inner)
        self._moves = moves

    async def pair(self, key: Key, *, exact: bool = False) -> Pair | None:
        """Where else something of that key may be; `exact` is for those who would say that it's nowhere."""
        return await self._moves.of(self, key, exact=exact)

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        try:
            return await self.inner.stat(key)
        except NotFound:
            if (pair := await self.pair(key, exact=True)) is None:
                raise
            return replace(await pair.other.store.inner.stat(pair.key(key)), key=key)

    async def open(self, key: Key, wanted: ByteRange, if_match: str | None) -> Reading:
        """See Layer."""
        try:
            return await self.inner.read(key, wanted, if_match)
        except NotFound:
            if (pair := await self.pair(key, exact=True)) is None:
                raise
            reading = await pair.other.store.inner.read(pair.key(key), wanted, if_match)
            return replace(reading, meta=replace(reading.meta, key=key))

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; what is at both places is shown as it is here."""
        found = self.inner.list(prefix, deep, after)
        if (pair := await self.pair(prefix)) is not None:
            there = pair.list(prefix, deep, after)
            found = _both(found, there, ordered=self._in_order([pair]))
        for some in await self._moves.below(self, prefix):
            there = chained(_seen(pair, prefix, deep, after) for pair in some)
            found = _both(found, there, ordered=self._in_order(some))
        async with closing(found):
            async for entry in found:
                yield entry

    def _in_order(self, some: Sequence[Pair]) -> bool:
        stores = (self.inner, *(pair.other.store.inner for pair in some))
        return all(store.capabilities.sorted_list for store in stores)

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store; at both places, and first where it would be copied from or come to."""
        for store, some in (await self._moves.copies(self, keys)).items():
            await store.inner.delete(some)
        await super().delete(keys)

    @property
    def batches(self) -> Batches | None:
        """The inner store's; what isn't there is read from the other place."""
        return self.inner.batches and _MovingBatches(self, self.inner.batches)

    @property
    def listings(self) -> None:
        """Listed one by one: there may be more of each at the other place."""
        return None

    @property
    def signer(self) -> Signer | None:
        """The inner store's; what isn't there can't be signed for here."""
        return self.inner.signer and _MovingSigner(self, self.inner.signer)


class _MovingBatches(LayerBatches):
    def __init__(self, store: Moving, inner: Batches) -> None:
        super().__init__(store, inner)
        self._store = store

    async def read(self, keys: Sequence[Key]) -> list[SmallObject | StoreError]:
        """See Batches."""
        outcomes = await super().read(keys)
        return [await self._or_other(key, one) for key, one in zip(keys, outcomes, strict=True)]

    async def _or_other(self, key: Key, outcome: SmallObject | StoreError) -> SmallObject | StoreError:
        if not isinstance(outcome, NotFound) or (pair := await self._store.pair(key, exact=True)) is None:
            return outcome
        try:
            async with await pair.other.store.inner.read(pair.key(key)) as reading:
                data = b"".join([bytes(part) async for part in reading.body])
        except StoreError as error:
            return error
        return SmallObject(replace(reading.meta, key=key), data)


class _MovingSigner:
    """Signs for what is here, and for the other place where that signs, too."""

    def __init__(self, store: Moving, inner: Signer) -> None:
        self._store = store
        self._inner = inner

    async def read(self, key: Key, expires: float) -> SignedRequest:
        """See Signer."""
        if (pair := await self._store.pair(key)) is None:
            return await self._inner.read(key, expires)
        try:
            await self._store.inner.stat(key)
        except NotFound:
            other = pair.other.store.inner.signer
            if other is None:
                message = f"'{key}' is being moved, and can't be signed for until that is over."
                raise store_error(Kind.UNSUPPORTED, message, op="sign", key=key) from None
            return await other.read(pair.key(key), expires)
        return await self._inner.read(key, expires)

    async def write(self, key: Key, expires: float, content_type: str | None = None) -> SignedRequest:
        """See Signer."""
        return await self._inner.write(key, expires, content_type)

    async def part(self, ref: UploadRef, number: int, expires: float) -> SignedRequest:
        """See Signer."""
        return await self._inner.part(ref, number, expires)


def _is_below(folder: Key, other: Key) -> bool:
    return folder != other and keys.contains(folder, other)


def _inside(folder: Key) -> str:
    return f"{folder}/" if folder else ""


def _both(here: AsyncIterator[Entry], there: AsyncIterator[Entry], *, ordered: bool) -> AsyncIterator[Entry]:
    return merged(here, there) if ordered else gathered(here, there)


async def _seen(pair: Pair, prefix: Key, deep: bool, after: str | None) -> AsyncIterator[Entry]:
    """What somebody sees of a move who lists a folder further up; unless `deep`, the folder on the way."""
    if deep:
        async with closing(pair.list(pair.now.folder, deep, after)) as found:
            async for entry in found:
                yield entry
        return
    way = Prefix(keys.join(prefix, keys.below(pair.now.folder, prefix).partition("/")[0]))
    if (after is None or order(way) > after) and await is_folder(pair.other.store.inner, pair.other.folder):
        yield way


def _layers(some: Iterable[Pair]) -> list[list[Pair]]:
    """Moves with none inside of another in one layer, in the order of keys."""
    layers: list[list[Pair]] = []
    for pair in sorted(dict.fromkeys(some), key=lambda one: _inside(one.now.folder)):
        free = (layer for layer in layers if not keys.contains(layer[-1].now.folder, pair.now.folder))
        if (layer := next(free, None)) is not None:
            layer.append(pair)
        else:
            layers.append([pair])
    return layers
