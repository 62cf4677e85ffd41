"""Whether a copy has all of what it is a copy of: by the digests that both keep, else by reading both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

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

Judge = Callable[[ObjectMeta, ObjectMeta], bool]
Agreed = Callable[[Sequence[ObjectMeta]], Awaitable[None]]


@dataclass(slots=True)
class Comparison:
    """Objects that agree, with their bytes, and those that don't: path → the version at the source."""

    agreed: int = 0
    size: int = 0
    different: dict[str, str] = field(default_factory=dict)


def _never(meta: ObjectMeta, there: ObjectMeta) -> bool:
    return False


async def _nothing(found: Sequence[ObjectMeta]) -> None:
    return


async def compare(
    src: Store,
    dst: Store,
    selection: Selection,
    policy: Policy,
    *,
    superseded: Judge = _never,
    agreed: Agreed = _nothing,
) -> Comparison:
    """Look whether `dst` has all that is selected, with the same bytes, or with what superseded them.

    Nothing is read whose digests both ends keep, or of which the journal of a copy knows that it arrived.
    `agreed` is told, group by group, of the source's objects that are there. Raises StoreError.
    """
    with contextlib.closing(open_journal(policy.journal, src, dst, selection)) as journal:
        return await _Comparing(src, dst, selection, policy, journal, superseded, agreed).run()


class _Comparing:
    """A comparison under way."""

    def __init__(
        self,
        src: Store,
        dst: Store,
        selection: Selection,
        policy: Policy,
        journal: Journal,
        superseded: Judge,
        agreed: Agreed,
    ) -> None:
        self._src, self._dst, self._selection = src, dst, selection
        self._journal, self._superseded, self._tell = journal, superseded, agreed
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
        same: list[bool | None] = [self._known(*pair) for pair in group]
        unsure = [at for at, (_, _, there) in enumerate(group) if there is not None and same[at] is None]
        for at, read in zip(unsure, await self._read([group[at] for at in unsure]), strict=True):
            same[at] = read
        agreed = []
        for (path, meta, there), answer in zip(group, same, strict=True):
            if answer or (there is not None and self._superseded(meta, there)):
                agreed.append(meta)
            else:
                self._found.different[path] = version(meta)
        self._found.agreed += len(agreed)
        self._found.size += sum(meta.size for meta in agreed)
        await self._tell(agreed)

    def _known(self, path: str, meta: ObjectMeta, there: ObjectMeta | None) -> bool | None:
        """Whether they are the same; None where that isn't known yet."""
        if there is None or there.size != meta.size:
            return False
        if unchanged(meta, there, self._journal.find(path)):
            return True
        return False if meta.digest is not None and there.digest is not None else None

    def _noted(self, path: str, meta: ObjectMeta, there: ObjectMeta | None) -> ObjectMeta:
        """What is there, with the digest that the journal knows of it."""
        found = candidate(meta, there, self._journal.find(path))
        assert found is not None  # noqa: S101  (of another size, or missing, it is different)
        return found

    async def _read(self, group: Sequence[Pair]) -> list[bool]:
        """Whether they have the same digests: those that the stores keep, else those of their bytes."""
        ours = await _digests(self._src, [meta for _, meta, _ in group])
        theirs = await _digests(self._dst, [self._noted(*pair) for pair in group])
        same = [mine is not None and mine == other for mine, other in zip(ours, theirs, strict=True)]
        for (path, meta, there), digest, equal in zip(group, ours, same, strict=True):
            young = near(self._src) and meta.modified > self._started - YOUNG
            if equal and there is not None and not young:
                self._journal.note(Done(path, version(meta), version(there), digest))
        self._journal.flush()
        return same


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
