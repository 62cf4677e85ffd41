"""The books of the server's roots, kept in its database (`metadata.objects`), never in a transfer's way.

What is recorded waits in memory for a moment and is written together; a lookup that takes long is given up,
and a database that failed isn't asked for a while. What is lost so, or with the process, are digests, and the
next write of an object brings its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from shoso.core.clock import now_ms
from shoso.core.keys import Key
from shoso.core.types import Move, ObjectMeta
from shoso.errors import Kind, ShosoError
from shoso.metadata import objects
from shoso.metadata.connect import Database
from shoso.metadata.objects import Row

_log = logging.getLogger("shoso.server")

LINGER = 0.2
"""Seconds in which records gather for one transaction."""

MOST = 20_000
"""Records that wait; further ones are dropped."""

PATIENCE = 1.0
"""Seconds that a lookup may take."""

PAUSE = 10.0
"""Seconds for which a database that failed is left alone."""

LAST = 5.0
"""Seconds that a stopping server waits for the last records."""

_PASSING = {Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.NO_SPACE}
"""Failures of the database that say nothing against what was to be written."""

Records = Mapping[bytes, Row | None]
"""Rows by id; None for one that goes."""


class Books:
    """All that is recorded, of every root. Nothing is, before `open`."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._waiting: dict[bytes, Row | None] = {}
        self._sending: Records = {}
        self._flushing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._trouble = _Trouble()

    def open(self, database: Database) -> None:
        """Keep the books there."""
        self._database = database

    def of(self, root: str) -> RootBook:
        """The book of a root."""
        return RootBook(self, root)

    def note(self, place: bytes, row: Row | None) -> None:
        """Write the row down soon, or that it's gone."""
        if self._database is None or self._closing.is_set():
            return
        if len(self._waiting) >= MOST and place not in self._waiting:
            self._trouble.found(f"{MOST:,} records wait")
            return
        self._waiting[place] = row
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(self._database))

    async def look(self, ids: Sequence[bytes]) -> Records:
        """The rows that are known, by id."""
        fresh = {place: self._fresh(place) for place in ids if self._is_fresh(place)}
        asked = [place for place in ids if place not in fresh]
        return {**await self._read(asked), **fresh} if asked else fresh

    async def close(self) -> None:
        """Write what waits, if that is quick; nothing is recorded any more."""
        self._closing.set()
        if self._flushing is not None and not (await asyncio.wait([self._flushing], timeout=LAST))[0]:
            self._flushing.cancel()
        if lost := len({**self._waiting, **self._sending}):
            _log.warning("The digests of %d objects were not recorded.", lost)

    def _is_fresh(self, place: bytes) -> bool:
        return place in self._waiting or place in self._sending

    def _fresh(self, place: bytes) -> Row | None:
        return self._waiting[place] if place in self._waiting else self._sending[place]

    async def _read(self, ids: Sequence[bytes]) -> Records:
        if self._database is None or self._trouble.recent():
            return {}
        try:
            async with asyncio.timeout(PATIENCE):
                rows = await self._database.read(objects.known, ids)
        except TimeoutError:
            self._trouble.found(f"a lookup took longer than {PATIENCE:g} s")
        except Exception as error:  # noqa: BLE001  (whatever it is, the transfer goes on)
            self._trouble.found(error)
        else:
            self._trouble.over()
            return rows
        return {}

    async def _flush(self, database: Database) -> None:
        """Write until nothing waits, a group at a time."""
        while self._waiting:
            await self._pause(LINGER)
            self._sending, self._waiting = self._waiting, {}
            if await self._written(database, self._sending):
                self._sending = {}
                continue
            if self._closing.is_set():
                break
            self._waiting = {**self._sending, **self._waiting}
            await self._pause(PAUSE)
        self._flushing = None

    async def _written(self, database: Database, records: Records) -> bool:
        """Whether there is nothing left to do for these: they are written, or can't be."""
        rows = [row for row in records.values() if row is not None]
        gone = [place for place, row in records.items() if row is None]
        try:
            await database.write(objects.write, rows, gone)
        except ShosoError as error:
            self._trouble.found(error)
            return error.kind not in _PASSING
        except Exception as error:  # noqa: BLE001  (what can't be written must not stay in the way of the rest)
            self._trouble.found(error)
            return True
        self._trouble.over()
        return True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()


class RootBook:
    """The book of one root; see layers.ledger.Book."""

    def __init__(self, books: Books, root: str) -> None:
        self._books = books
        self._root = root

    def record(self, metas: Iterable[ObjectMeta]) -> None:
        """See Book."""
        now = now_ms()
        for meta in metas:
            if meta.digest is not None:
                row = objects.row(self._root, meta, now)
                self._books.note(row.id, row)

    async def known(self, metas: Sequence[ObjectMeta]) -> list[str | None]:
        """See Book."""
        ids = [objects.identity(self._root, meta.key) for meta in metas]
        rows, now = await self._books.look(ids), now_ms()
        return [_digest(rows.get(place), meta, now) for place, meta in zip(ids, metas, strict=True)]

    def forget(self, keys: Iterable[Key]) -> None:
        """See Book."""
        for key in keys:
            self._books.note(objects.identity(self._root, key), None)

    async def follow(self, moves: Sequence[Move]) -> None:
        """See Book."""
        targets = {objects.identity(self._root, key): target for key, target in moves}
        rows, now = await self._books.look([*targets]), now_ms()
        for place, target in targets.items():
            if (row := rows.get(place)) is not None:
                moved = row._replace(id=objects.identity(self._root, target), key=target, time=now)
                self._books.note(moved.id, moved)
            self._books.note(place, None)


class _Trouble:
    """What keeps the books from being written or read, told once until it is over."""

    def __init__(self) -> None:
        self._since: float | None = None

    def recent(self) -> bool:
        """Whether it isn't time yet to try again."""
        return self._since is not None and time.monotonic() - self._since < PAUSE

    def found(self, what: object) -> None:
        if self._since is None:
            _log.warning("Digests aren't recorded or looked up for now (%s); transfers go on.", what)
        self._since = time.monotonic()

    def over(self) -> None:
        if self._since is not None:
            _log.info("Digests are recorded and looked up again.")
        self._since = None


def _digest(row: Row | None, meta: ObjectMeta, now: int) -> str | None:
    return row.digest if row is not None and objects.describes(row, meta, now) else None
