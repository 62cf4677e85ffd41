"""An inventory: all objects of an estate, in a file that is thrown away, and what nobody refers to.

    async with Inventory.taken(estate) as inventory:      every root is listed once, then the rows are read
        inventory.holds(at, key)                          whether anything is there, in the root roots[at]
        async for orphan in inventory.orphans():          what nobody refers to, an owner's folder at a time
            inventory.objects(orphan)                     which objects these are: delete them, not the folder
        async for upload in inventory.uploads():          uploads that nobody goes on with

Memory stays the same for any number of objects and rows. Listings come first: whatever they show was there
before the rows were read, so what is being written never seems to be without a row. What was deleted since
does: look again before saying so.

An object is referred to if it lies where a run, a logged model or a version of a registered model is
recorded to be, in any workspace, whether deleted or not, or in the folder of a trace that has a row, or if
it is a file of the database itself. What isn't is of three kinds, `Why`: take what is GONE for litter, look
at what is MOVED or STRAY first.
"""

from __future__ import annotations

import enum
import re
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta, UploadRef
from shoso.errors import ConfigError, NotFound, StoreError
from shoso.errors import Kind as ErrorKind
from shoso.maintenance.estate import TRASH, Estate, Root
from shoso.maintenance.recorded import versions
from shoso.metadata import references
from shoso.metadata.connect import Database
from shoso.metadata.references import Owner, Recorded

DAY = 86_400.0
"""Seconds after which what nobody refers to, or goes on with, is taken for left behind."""

UNNAMED = "no location names it: its key has a ? or #; delete it by other means"

UNDATED = (
    "its storage doesn't say when it was written, so it may be new; name the folder or storage itself by"
    " --artifacts-destination, in place of MLflow's server"
)

BATCH = 1000
"""Objects that are written down at once."""

_LAYOUT = re.compile(r"(?:^|/)(?:models/(m-[0-9a-f]{32})|traces/([^/]+)|([0-9a-f]{32}))/artifacts/")
_OWNERS = (Owner.MODEL, Owner.TRACE, Owner.RUN)


class Why(enum.StrEnum):
    """Why nobody refers to an object."""

    GONE = "gone"
    """It is in the folder of a run, model or trace that has no row."""

    MOVED = "moved"
    """It is in the folder of a run or model whose artifacts are recorded to be elsewhere."""

    STRAY = "stray"
    """It is in nobody's folder: perhaps another program's, or another server's."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """What nobody refers to in an owner's folder, or one stray object; `newest` in seconds.

    `owner` and `id` are whose folder it is, as the layout shows it.
    """

    root: int
    key: Key
    uri: str
    objects: int
    bytes: int
    newest: float
    why: Why
    owner: Owner | None = None
    id: str = ""

    @property
    def reason(self) -> str:
        """Why, in words."""
        if self.why is Why.STRAY:
            return "no run, model or trace has its artifacts there"
        if self.why is Why.MOVED:
            return f"the {self.owner} {self.id} has its artifacts elsewhere"
        return f"there is no {self.owner} {self.id}"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that isn't finished, and when it was begun or its newest part came, in seconds."""

    root: int
    ref: UploadRef
    uri: str
    touched: float

    @property
    def age(self) -> float:
        """How long ago that was, in seconds."""
        return max(0.0, time.time() - self.touched)


class Inventory:
    """The objects of these roots, by root and key; `outside` are runs that have theirs in none of them."""

    def __init__(self, estate: Estate, roots: Sequence[Root], file: Path) -> None:
        self.estate, self.roots, self.outside = estate, roots, 0
        self.file = sqlite3.connect(file, isolation_level=None)
        self.file.executescript(_TABLE)

    @classmethod
    @asynccontextmanager
    async def taken(cls, estate: Estate) -> AsyncIterator[Inventory]:
        """The inventory of now. Raises ConfigError, StoreError, and TrackingError of the database."""
        roots = await estate.roots()
        with tempfile.TemporaryDirectory(prefix="shoso-") as folder:
            inventory = cls(estate, roots, Path(folder, "inventory"))
            try:
                for at in range(len(roots)):
                    await inventory.list(at)
                await inventory.refer()
                yield inventory
            except sqlite3.Error as error:
                message = f"'{tempfile.gettempdir()}' can't hold what is listed ({error}); name a folder with"
                raise ConfigError("TMPDIR", f"{message} more room.") from error
            finally:
                inventory.file.close()

    async def list(self, at: int) -> None:
        """Write down what is in a root."""
        batch: list[_Row] = []
        async with closing(self.roots[at].plain.list(Key(""), deep=True)) as found:
            async for entry in found:
                if isinstance(entry, ObjectMeta) and TRASH not in entry.key.split("/"):
                    batch.append(_row(at, entry))
                if len(batch) >= BATCH:
                    self.add(_ADD, batch)
                    batch = []
        self.add(_ADD, batch)

    async def refer(self) -> None:
        """Tell what is referred to from what isn't."""
        for owner in (Owner.RUN, Owner.MODEL):
            async for rows in recorded(self.estate.database, owner):
                referred = self._refer(row.location for row in rows)
                self.outside += len(rows) - referred if owner is Owner.RUN else 0
        async for found in versions(self.estate.database):
            self._refer(place for version in found for place in version.places)
        self._refer(self.estate.files)

    def holds(self, at: int, key: Key) -> bool:
        """Whether there is an object of that key, or anything below it."""
        return self.file.execute(_HOLDS, (at, *_span(key))).fetchone() is not None

    def find(self, location: str) -> tuple[int, Key] | None:
        """In which of the roots a recorded location lies; None for none of them."""
        return self.estate.within(location, self.roots)

    def is_named(self, at: int, key: Key, location: str) -> bool:
        """Whether that location means this key and no other, as it does unless the key has a `?` in it."""
        return self.roots[at].shown(key) == location and self.find(location) == (at, key)

    async def orphans(self, older_than: float = DAY) -> AsyncIterator[Orphan]:
        """What nobody refers to, if nothing of it is younger than so many seconds. Raises TrackingError."""
        for groups in _pages(self.file.execute(_GROUPS, (time.time() - older_than,))):
            there = await self._there(groups)
            for group in groups:
                if (orphan := self._orphan(group, there)) is not None:
                    yield orphan

    async def orphan(self, at: int, key: Key) -> Orphan | None:
        """What nobody refers to in that folder, or that object; None if there is no such thing.

        Raises TrackingError.
        """
        objects, size, newest = self.file.execute(_SUMS, (at, *_span(key))).fetchone()
        if not objects:
            return None
        _, owner, id_ = owner_of(f"{key}/")
        group = _Group(at, key, owner or "", id_, objects, size, newest)
        return self._orphan(group, await self._there([group]))

    def objects(self, orphan: Orphan) -> Iterator[ObjectMeta]:
        """What an orphan consists of."""
        for key, size, modified, etag in self.file.execute(_UNHELD, (orphan.root, *_span(orphan.key))):
            yield ObjectMeta(Key(key), size, modified, etag)

    async def uploads(self, older_than: float = DAY) -> AsyncIterator[Upload]:
        """Uploads that were begun, and got their newest part, longer ago than so many seconds.

        Raises StoreError.
        """
        limit = time.time() - older_than
        for at, root in enumerate(self.roots):
            try:
                async with closing(root.plain.uploads.pending(Key(""))) as found:
                    async for ref in found:
                        if ref.begun is not None and ref.begun < limit:
                            touched = max(ref.begun, await newest_part(root.plain, ref))
                            if touched < limit:
                                yield Upload(at, ref, root.shown(ref.key), touched)
            except StoreError as error:
                if error.kind is not ErrorKind.UNSUPPORTED:
                    raise

    def amount(self) -> tuple[int, int]:
        """How many objects there are, and bytes."""
        objects, size = self.file.execute("SELECT count(*), coalesce(sum(size), 0) FROM objects").fetchone()
        return objects, size

    def add(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Write rows into the file, at once."""
        with self.file:
            self.file.execute("BEGIN")
            self.file.executemany(statement, rows)

    def _refer(self, places: Iterable[str]) -> int:
        """How many of these are in the roots."""
        found = [*filter(None, map(self.find, places))]
        self.add(_REFER, ((at, *_span(key)) for at, key in found))
        return len(found)

    async def _there(self, groups: Sequence[_Group]) -> set[tuple[str, str]]:
        """Whose folders these are, if they have rows."""
        found: set[tuple[str, str]] = set()
        for owner in Owner:
            if ids := [group.id for group in groups if group.owner == owner]:
                rows = await self.estate.database.read(references.there, owner, ids)
                found |= {(owner.value, id_) for id_ in rows}
        return found

    def _orphan(self, group: _Group, there: set[tuple[str, str]]) -> Orphan | None:
        """None for a trace: its folder is known by its id alone."""
        owner = Owner(group.owner) if group.owner else None
        known = (group.owner, group.id) in there
        if owner is Owner.TRACE and known:
            return None
        why = Why.STRAY if owner is None else Why.MOVED if known else Why.GONE
        uri = self.roots[group.root].shown(group.folder)
        return Orphan(
            group.root, Key(group.folder), uri, group.objects, group.bytes, group.newest, why, owner, group.id
        )  # fmt: skip


async def newest_part(store: Store, ref: UploadRef) -> float:
    """When the newest part of an upload came, in seconds; 0 where there is none, or nobody knows."""
    with suppress(NotFound):  # it is finished meanwhile
        return max((part.modified or 0.0 for part in await store.uploads.parts(ref)), default=0.0)
    return 0.0


async def recorded(database: Database, owner: Owner) -> AsyncIterator[list[Recorded]]:
    """Every run or model, a page at a time. Raises TrackingError."""
    after = ""
    while rows := await database.read(references.page, owner, after):
        yield rows
        after = rows[-1].id


def owner_of(key: str) -> tuple[str, Owner | None, str]:
    """The folder in MLflow's layout that a key lies in, and whose it is; the key itself if it is in none."""
    if (found := _LAYOUT.search(key)) is None:
        return key, None, ""
    number = found.lastindex or 0
    return key[: found.end() - 1], _OWNERS[number - 1], found[number]


class _Group(NamedTuple):
    root: int
    folder: str
    owner: str
    id: str
    objects: int
    bytes: int
    newest: float


_Row = tuple[int, str, int, float, str | None, str | None, str, str, str]


def _row(at: int, meta: ObjectMeta) -> _Row:
    folder, owner, id_ = owner_of(meta.key)
    return at, meta.key, meta.size, meta.modified, meta.etag, meta.digest, folder, owner or "", id_


def _span(key: Key) -> tuple[str, str, str]:
    """The key, and between what everything below it lies; everything, for the root."""
    return (key, f"{key}/", f"{key}0") if key else ("", "", "\U0010ffff")


def _pages(rows: sqlite3.Cursor) -> Iterator[list[_Group]]:
    while page := rows.fetchmany(BATCH):
        yield [_Group(*row) for row in page]


_TABLE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE objects (
    root INTEGER, key TEXT, size INTEGER, modified REAL, etag TEXT, digest TEXT,
    folder TEXT, owner TEXT, id TEXT, held INTEGER DEFAULT 0,
    PRIMARY KEY (root, key)
) WITHOUT ROWID;
"""
_BELOW = "root = ?1 AND key >= ?2 AND key < ?4 AND (key = ?2 OR key >= ?3)"
_ADD = (
    "INSERT OR REPLACE INTO objects (root, key, size, modified, etag, digest, folder, owner, id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_REFER = f"UPDATE objects SET held = 1 WHERE {_BELOW}"  # noqa: S608  (nothing of anybody's)
_HOLDS = f"SELECT 1 FROM objects WHERE {_BELOW} LIMIT 1"  # noqa: S608
_UNHELD = f"SELECT key, size, modified, etag FROM objects WHERE NOT held AND {_BELOW} ORDER BY key"  # noqa: S608
_SUMS = f"SELECT count(*), sum(size), max(modified) FROM objects WHERE NOT held AND {_BELOW}"  # noqa: S608
_GROUPS = """
SELECT root, folder, owner, id, count(*), sum(size), max(modified) FROM objects WHERE NOT held
GROUP BY root, folder, owner, id HAVING max(modified) < ? ORDER BY root, folder
"""
