"""What a check has read, so that one that is interrupted goes on; kept in the client's state folder."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from shoso.core.digest import digest
from shoso.core.locations import shown
from shoso.core.types import ObjectMeta
from shoso.maintenance.fsck.findings import Data
from shoso.maintenance.inventory import Inventory

OLD = 30 * 86400.0
"""Seconds after which what a check has read isn't believed any more, and removed."""

_log = logging.getLogger("shoso.maintenance")


class Progress:
    """The versions of objects that were read and found right."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=30)
        self._file.executescript(_TABLE)

    @classmethod
    def of(cls, inventory: Inventory, data: Data, *, repair: bool) -> Progress:
        """That of an earlier check of the same; it is lost at the end if the folder can't be written to."""
        estate = inventory.estate
        roots = (
            root.location.name if root.location else estate.client.tracking_uri for root in inventory.roots
        )
        what = (shown(estate.settings.backend_store_uri), *roots)
        chosen = (f"{data.share:g}", data.seed if data.share < 1 else "", f"{repair}")
        name = digest("\0".join((*what, *chosen)).encode())[:32]
        folder = estate.client.state / "fsck"
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(folder)
            return cls(folder / f"{name}.read")
        except (OSError, sqlite3.Error) as error:
            _log.warning("Nothing is kept in %s (%s): a check that breaks off begins anew.", folder, error)
            return cls(None)

    def left(self, at: int, metas: Sequence[ObjectMeta]) -> list[bool]:
        """Which of these are still to be read."""
        found = (self._file.execute(_KNOWN, _row(at, meta)).fetchone() for meta in metas)
        return [one is None for one in found]

    def add(self, at: int, metas: Iterable[ObjectMeta]) -> None:
        """These are right; where that can't be written down, they are read again another time."""
        try:
            with self._file:
                self._file.execute("BEGIN")
                self._file.executemany(_ADD, (_row(at, meta) for meta in metas))
        except sqlite3.Error as error:
            _log.warning("What was read isn't kept in %s: %s", self._path, error)

    def close(self, *, done: bool) -> None:
        """Let go of it; when all is `done`, nobody goes on with it."""
        self._file.close()
        if done and self._path is not None:
            _remove(self._path)


def _sweep(folder: Path) -> None:
    for path in folder.glob("*.read"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - OLD:
                _remove(path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)


def _row(at: int, meta: ObjectMeta) -> tuple[object, ...]:
    return at, meta.key, meta.size, meta.modified, meta.etag or ""


_TABLE = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS read (
    root INTEGER, key TEXT, size INTEGER, modified REAL, etag TEXT,
    PRIMARY KEY (root, key)
) WITHOUT ROWID;
"""
_KNOWN = "SELECT 1 FROM read WHERE root = ? AND key = ? AND size = ? AND modified = ? AND etag = ?"
_ADD = "INSERT OR REPLACE INTO read VALUES (?, ?, ?, ?, ?)"
