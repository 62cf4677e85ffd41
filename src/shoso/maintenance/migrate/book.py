"""The book of a move: which versions of each object both places had when they were the same.

It is in the database, so that every machine and every later move knows it. Where nothing is written of an
object, the journal of this machine's copies is asked, if there is one.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.maintenance.migrate.renaming import Renaming
from shoso.metadata import copied
from shoso.metadata.connect import Database
from shoso.metadata.copied import ALONE, Copy
from shoso.transfer import Settled
from shoso.transfer.journal import Done
from shoso.transfer.plan import is_version, version
from shoso.transfer.route import YOUNG

Find = Callable[[Key], Done | None]
"""What the journal of this machine's copies has of the object at that path below both ends."""


class Origin(enum.Enum):
    """How an object came to the target: by a move, before there was one, or in a way that nobody knows."""

    COPIED = enum.auto()
    BEFORE = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Book:
    """What is known of the objects of an experiment; from the target to the source if it goes `back`.

    `near` is whether the source is a file system here, whose times don't tell two versions in a row apart.
    """

    database: Database
    number: int
    renaming: Renaming
    back: bool
    near: bool

    async def recall(self, paths: Sequence[Key], journal: Find | None = None) -> list[Done | None]:
        """What both had, as seen from the end that is copied from."""
        rows = await self._rows(paths)
        return [self._turned(_done(path, rows.get(self._id(path)), journal)) for path in paths]

    async def note(self, group: Sequence[Settled]) -> None:
        """Those of these that are the same now are known from now on."""
        rows = {row.id: row for one in group if one.same and (row := self._row(one))}
        there = await self.database.read(copied.known, self.number, [*rows])
        wanted = [_kept(there.get(id_), row) for id_, row in rows.items()]
        new = [row for row in wanted if row != there.get(row.id)]
        if new:
            await self.database.write(copied.write, new)

    async def note_before(self, found: Sequence[Settled]) -> None:
        """These were at the target, which is looked at from there, before anything was copied."""
        both = [row._replace(own=1) for one in found if (row := self._row(one)) is not None]
        alone = [self._alone(one) for one in found if one.there is None]
        await self.database.write(copied.write, [*both, *alone])

    async def origins(
        self, found: Sequence[tuple[Key, ObjectMeta]], journal: Find | None = None
    ) -> list[Origin]:
        """Where each of these objects at the target came from, in the version that it has."""
        rows = await self._rows([path for path, _ in found])
        return [_origin(rows.get(self._id(path)), meta, journal, path) for path, meta in found]

    async def _rows(self, paths: Sequence[Key]) -> Mapping[bytes, Copy]:
        ids = [self._id(path) for path in paths]
        return await self.database.read(copied.known, self.number, ids)

    def _id(self, path: Key) -> bytes:
        ends = self.renaming.reverse if self.back else self.renaming
        return copied.identity(ends.source, ends.target, path)

    def _row(self, one: Settled) -> Copy | None:
        if one.there is None:
            return None
        source, target = (one.there, one.meta) if self.back else (one.meta, one.there)
        young = (self.near or not source.etag) and source.modified > time.time() - YOUNG
        told = "" if young else version(source)
        return Copy(self.number, self._id(Key(one.path)), told, version(target), one.digest)

    def _alone(self, one: Settled) -> Copy:
        return Copy(self.number, self._id(Key(one.path)), "", version(one.meta), one.meta.digest, ALONE)

    def _turned(self, done: Done | None) -> Done | None:
        return Done(done.path, done.target, done.source, done.digest) if done and self.back else done


def _done(path: Key, row: Copy | None, journal: Find | None) -> Done | None:
    if row is not None:  # of what was alone at the target, both have never had the same
        return None if row.own == ALONE else Done(path, row.source, row.target, row.digest)
    return journal(path) if journal is not None else None


def _kept(there: Copy | None, row: Copy) -> Copy:
    """The row to be; what had been at the target before is that still, though its bytes were sent again."""
    if there is None or not there.own:
        return row
    same = there.target == row.target or None is not there.digest == row.digest
    return row._replace(own=int(same))


def _origin(row: Copy | None, meta: ObjectMeta, journal: Find | None, path: Key) -> Origin:
    if row is not None and is_still(meta, row.target, row.digest):
        return Origin.BEFORE if row.own else Origin.COPIED
    done = journal(path) if journal is not None and row is None else None
    return Origin.COPIED if done is not None and is_version(done.target, meta) else Origin.UNKNOWN


def is_still(meta: ObjectMeta, noted: str, digest: str | None) -> bool:
    """Whether it is the object that was noted: by its digest, else by its version."""
    if digest is not None and meta.digest is not None:
        return meta.digest == digest
    return is_version(noted, meta)
