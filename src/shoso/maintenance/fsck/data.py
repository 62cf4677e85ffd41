"""Every byte of the objects, or of a share of them, read and compared with their digests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from shoso.core.clock import now_ms
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import Kind as ErrorKind
from shoso.errors import NotFound, StoreError
from shoso.maintenance.fsck.findings import Data, Finding, Kind, Report
from shoso.maintenance.fsck.pace import Pace, Paced
from shoso.maintenance.fsck.progress import Progress
from shoso.maintenance.fsck.records import FROM, SETTLING, WRITTEN, fetching
from shoso.maintenance.inventory import Inventory
from shoso.metadata import objects
from shoso.metadata.objects import Row
from shoso.transfer import Policy
from shoso.transfer.reading import Digested, read_digests
from shoso.transfer.verification import Digest, groups
from shoso.transfer.window import Window, crew

PAGE = 1000

_STOPS = {
    ErrorKind.UNAVAILABLE,
    ErrorKind.TIMEOUT,
    ErrorKind.THROTTLED,
    ErrorKind.UNAUTHENTICATED,
    ErrorKind.CONFIG,
}
"""Errors that say nothing against an object."""


class Known(NamedTuple):
    """What the record says of an object: the id of its row, and the digest; both None if it has none.

    `fresh` if that is of this very version.
    """

    id: bytes | None
    digest: str | None
    fresh: bool


One = tuple[Known, ObjectMeta]


async def check(inventory: Inventory, report: Report, data: Data) -> None:
    """Read what is chosen. Raises StoreError where a store can't be read at all, and TrackingError."""
    progress, done = Progress.of(inventory, data, repair=report.asked.repair), False
    try:
        for at in range(len(inventory.roots)):
            await _Reading(inventory, at, report, data, progress).run()
        done = True
    finally:
        progress.close(done=done)


class _Reading:
    """The objects of a root, under way."""

    def __init__(self, inventory: Inventory, at: int, report: Report, data: Data, progress: Progress) -> None:
        self._inventory, self._at, self._report = inventory, at, report
        self._data, self._progress = data, progress
        self._root, policy = inventory.roots[at], Policy()
        plain = self._root.plain
        self._store: Store = Paced(plain, Pace(data.rate)) if data.rate else plain
        self._window, self._held = Window(policy.parallel, policy.window), policy.part_size

    async def run(self) -> None:
        """Read everything that is chosen and wasn't read before."""
        async with crew() as tasks, closing(groups(self._chosen())) as found:
            async for group in found:
                size = min(sum(meta.size for _, meta in group), self._held)
                await self._window.start(tasks, size, self._check(group))

    async def _chosen(self) -> AsyncIterator[One]:
        rows = self._inventory.file.execute(_OBJECTS, (self._at,))
        while page := rows.fetchmany(PAGE):
            chosen = [_one(*row) for row in page if _is_chosen(self._data, row[0])]
            left = self._progress.left(self._at, [meta for _, meta in chosen])
            self._report.totals.before += left.count(False)
            self._report.asked.told.planned(left.count(True))
            for one, wanted in zip(chosen, left, strict=True):
                if wanted:
                    yield one

    async def _check(self, group: Sequence[One]) -> None:
        """Read these, and judge each."""
        read = await read_digests(self._store, [meta for _, meta in group])
        right = [
            (known, meta, got)
            for (known, meta), got in zip(group, read, strict=True)
            if await self._is_right(known, meta, got)
        ]
        await self._note(right)
        self._progress.add(self._at, [meta for _, meta, _ in right])
        self._report.totals.read += len(group)
        self._report.totals.read_bytes += sum(meta.size for _, meta in group)
        self._report.asked.told.done(len(group))

    async def _is_right(self, known: Known, meta: ObjectMeta, got: Digest) -> bool:
        """Whether it is; what isn't, when it is read again, is reported."""
        if _agrees(known.digest, got):
            return True
        await asyncio.sleep(SETTLING)
        finding = await self._looked_again(known, meta)
        if finding is not None:
            await self._report.add(finding)
        return finding is None

    async def _looked_again(self, known: Known, meta: ObjectMeta) -> Finding | None:
        """What is still wrong; what was deleted or written anew meanwhile isn't."""
        row = await self._recorded(known)
        expected = known.digest if known.id is None else row and row.digest
        try:
            meta = await self._root.plain.stat(meta.key)
            (got,) = await read_digests(self._store, [meta])
        except NotFound:
            return None
        if isinstance(got, StoreError) and got.kind in _STOPS:
            raise got
        if _agrees(expected, got) or (isinstance(got, StoreError) and got.kind is ErrorKind.NOT_FOUND):
            return None
        return self._finding(meta, meta.digest or expected, got, _is_rotten(row, meta, got))

    async def _recorded(self, known: Known) -> Row | None:
        if known.id is None:
            return None
        return (await self._inventory.estate.database.read(objects.known, [known.id])).get(known.id)

    def _finding(self, meta: ObjectMeta, expected: str | None, got: Digest, rotten: bool) -> Finding:
        uri = self._root.shown(meta.key)
        if isinstance(got, StoreError) and got.kind is not ErrorKind.CORRUPT:
            return Finding(Kind.UNREADABLE, uri, f"It can't be read: {got.message}")
        may = expected is not None and (rotten or self._report.asked.replace)
        fetch = fetching(self._report, self._at, self._inventory, meta.key, expected or "", meta)
        remedy = FROM if rotten else WRITTEN
        return Finding(
            Kind.DIGEST, uri, "Its bytes aren't those that were stored.", remedy, fix=fetch if may else None
        )

    async def _note(self, right: Sequence[tuple[Known, ObjectMeta, Digest]]) -> None:
        """Count what has no digest, and record it if that is asked for."""
        bare = [
            (meta, got.actual)
            for known, meta, got in right
            if not known.fresh and isinstance(got, Digested) and got.kept is None and known.digest is None
        ]
        self._report.totals.unrecorded += len(bare)
        if bare and self._report.asked.repair and self._root.location is not None:
            rows = [*await self._rows(self._root.location.name, bare)]
            await self._inventory.estate.database.write(objects.write, rows, [])
            self._report.totals.recorded += len(rows)

    async def _rows(self, root: str, bare: Sequence[tuple[ObjectMeta, str]]) -> list[Row]:
        """The rows of those that are the same when they are read again."""
        again = await read_digests(self._store, [meta for meta, _ in bare])
        now = now_ms()
        return [
            objects.row(root, replace(meta, digest=actual), now)
            for (meta, actual), got in zip(bare, again, strict=True)
            if isinstance(got, Digested) and got.actual == actual
        ]


def _agrees(recorded: str | None, got: Digest) -> bool:
    """Whether the bytes are those of the digest that is kept with the object, or else of the recorded one."""
    if isinstance(got, StoreError):
        return False
    return (got.kept or recorded or got.actual) == got.actual


def _is_rotten(row: Row | None, meta: ObjectMeta, got: Digest) -> bool:
    """Whether the very version that was stored has other bytes; else somebody has written a newer one."""
    if isinstance(got, StoreError) or got.kept is not None:
        return True  # the storage keeps a digest with this version, and it is another
    return row is not None and objects.describes(row, meta, now_ms())


def _is_chosen(data: Data, key: str) -> bool:
    if data.share >= 1:
        return True
    return int(digest(f"{data.seed}\0{key}".encode())[:8], 16) < data.share * 2**32


def _one(
    key: str, size: int, modified: float, etag: str | None, listed: str | None, id_: bytes | None,
    recorded: str | None, fresh: int | None,
) -> One:  # fmt: skip
    return Known(id_, recorded or listed, bool(fresh)), ObjectMeta(Key(key), size, modified, etag)


_OBJECTS = """
SELECT o.key, o.size, o.modified, o.etag, o.digest, r.id, r.digest,
    r.size = o.size AND CASE WHEN o.etag IS NULL THEN r.modified = o.modified ELSE r.etag = o.etag END
FROM objects o LEFT JOIN records r USING (root, key)
WHERE o.root = ? AND (r.size IS NULL OR r.size = o.size) ORDER BY o.key
"""
"""What has another size than the recorded one is known to be wrong, and told by then."""
