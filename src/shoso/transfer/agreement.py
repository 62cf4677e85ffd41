"""Whether a copy has all of what it is a copy of: by the digests that both keep, else by reading both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import Digests, ObjectMeta
from shoso.errors import NotFound, StoreError
from shoso.transfer.comparison import near
from shoso.transfer.journal import Done, Journal
from shoso.transfer.listing import Pair, pairs
from shoso.transfer.plan import BATCH_COUNT, BATCH_SIZE, candidate, unchanged, version
from shoso.transfer.policy import Policy
from shoso.transfer.reading import Digested, read_digests
from shoso.transfer.route import YOUNG
from shoso.transfer.selection import Selection
from shoso.transfer.shelf import open_journal
from shoso.transfer.window import Window, crew


class Settled(NamedTuple):
    """An object and what is there of it: whether both are the `same`, then with their digest if it is known.

    `done` is what is known of an earlier copy.
    """

    path: str
    meta: ObjectMeta
    there: ObjectMeta | None
    same: bool
    digest: str | None
    done: Done | None


Recall = Callable[[Sequence[str]], Awaitable[Sequence[Done | None]]]
"""What is known of earlier copies of these paths."""

Settle = Callable[[Sequence[Settled]], Awaitable[Sequence[bool]]]
"""Which of these are as they should be."""


@dataclass(slots=True)
class Comparison:
    """Objects that agree, with their bytes, and those that don't: path → the version at the source."""

    agreed: int = 0
    size: int = 0
    different: dict[str, str] = field(default_factory=dict)


async def _nothing(paths: Sequence[str]) -> Sequence[Done | None]:
    return [None] * len(paths)


async def _same(group: Sequence[Settled]) -> Sequence[bool]:
    return [each.same for each in group]


async def compare(
    src: Store,
    dst: Store,
    selection: Selection,
    policy: Policy,
    *,
    recall: Recall = _nothing,
    settle: Settle = _same,
) -> Comparison:
    """Look whether `dst` has all that is selected, with the same bytes.

    Nothing is read whose digests both ends keep, or of which it is known that it arrived: by `recall`, else
    by the journal of a copy. `settle` is told, group by group, what was found, and says which of it agrees.
    Raises StoreError.
    """
    with contextlib.closing(open_journal(policy.journal, src, dst, selection)) as journal:
        return await _Comparing(src, dst, selection, policy, journal, recall, settle).run()


class _Comparing:
    """A comparison under way."""

    def __init__(
        self,
        src: Store,
        dst: Store,
        selection: Selection,
        policy: Policy,
        journal: Journal,
        recall: Recall,
        settle: Settle,
    ) -> None:
        self._src, self._dst, self._selection = src, dst, selection
        self._journal, self._recall, self._tell = journal, recall, settle
        self._held = policy.part_size
        self._window = Window(policy.parallel, policy.window)
        self._started = time.time()
        self._found = Comparison()

    async def run(self) -> Comparison:
        """Compare everything."""
        async with crew() as group, closing(self._groups()) as groups:
            async for several in groups:
                size = min(sum(meta.size for _, meta, _ in several), self._held)
                await self._window.start(group, size, self._settle(several))
        return self._found

    async def _groups(self) -> AsyncIterator[list[Pair]]:
        group: list[Pair] = []
        held = 0
        async with closing(pairs(self._src, self._dst, self._selection)) as found:
            async for pair in found:
                group.append(pair)
                held += pair[1].size
                if held >= BATCH_SIZE or len(group) == BATCH_COUNT:
                    yield group
                    group, held = [], 0
        if group:
            yield group

    async def _settle(self, group: Sequence[Pair]) -> None:
        """Judge each: by what is known, and then by reading the rest."""
        settled = [_known(*pair, done) for pair, done in zip(group, await self._done(group), strict=True)]
        unsure = [at for at, (one, sure) in enumerate(settled) if not sure]
        read = await self._read([settled[at][0] for at in unsure])
        found = [one for one, _ in settled]
        for at, one in zip(unsure, read, strict=True):
            found[at] = one
        for one, right in zip(found, await self._tell(found), strict=True):
            if right:
                self._found.agreed += 1
                self._found.size += one.meta.size
            else:
                self._found.different[one.path] = version(one.meta)

    async def _done(self, group: Sequence[Pair]) -> list[Done | None]:
        recalled = await self._recall([path for path, _, _ in group])
        return [done or self._journal.find(path) for (path, _, _), done in zip(group, recalled, strict=True)]

    async def _read(self, group: Sequence[Settled]) -> list[Settled]:
        """Each with its digests: those that the stores keep, else those of the bytes."""
        ours = await _digests(self._src, [one.meta for one in group])
        theirs = await _digests(self._dst, [_noted(one) for one in group])
        found = []
        for one, mine, other in zip(group, ours, theirs, strict=True):
            same = mine is not None and mine == other
            found.append(one._replace(same=same, digest=mine if same else None))
            young = near(self._src) and one.meta.modified > self._started - YOUNG
            if same and one.there is not None and not young:
                self._journal.note(Done(one.path, version(one.meta), version(one.there), mine))
        self._journal.flush()
        return found


def _known(path: str, meta: ObjectMeta, there: ObjectMeta | None, done: Done | None) -> tuple[Settled, bool]:
    """What is known of it, and whether that is enough."""
    digest = meta.digest or (there.digest if there else None) or (done.digest if done else None)
    if same := unchanged(meta, there, done):
        return Settled(path, meta, there, same, digest, done), True
    kept = meta.digest is not None and there is not None and there.digest is not None
    sure = there is None or there.size != meta.size or kept
    return Settled(path, meta, there, same, None, done), sure


def _noted(one: Settled) -> ObjectMeta:
    """What is there, with the digest that is known of it."""
    found = candidate(one.meta, one.there, one.done)
    assert found is not None  # noqa: S101  (of another size, or missing, it is different)
    return found


async def _digests(store: Store, metas: Sequence[ObjectMeta]) -> list[str | None]:
    """Of each, None where it is gone or can't be read to its end."""
    kept = await asyncio.gather(*(_kept(store, meta) for meta in metas))
    bare = [meta for meta, digest in zip(metas, kept, strict=True) if digest is None]
    read = iter(await read_digests(store, bare))
    return [digest if digest is not None else _actual(next(read)) for digest in kept]


async def _kept(store: Store, meta: ObjectMeta) -> str | None:
    """The digest that the store keeps of this version; a listing may be without."""
    if meta.digest is not None or store.capabilities.digests is Digests.NONE:
        return meta.digest
    try:
        found = await store.stat(meta.key)
    except NotFound:
        return None
    return found.digest if version(found) == version(meta) else None


def _actual(found: Digested | StoreError) -> str | None:
    if isinstance(found, NotFound):
        return None
    if isinstance(found, StoreError):
        raise found
    return found.actual
