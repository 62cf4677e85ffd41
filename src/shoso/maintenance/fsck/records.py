"""The server's record of what it stored, against what is there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from shoso.core import keys
from shoso.core.amounts import size
from shoso.core.keys import Key
from shoso.core.store import find
from shoso.core.types import ObjectMeta
from shoso.maintenance.estate import TRASH
from shoso.maintenance.fsck.findings import Finding, Fix, Kind, Report
from shoso.maintenance.inventory import Inventory, owner_of
from shoso.metadata import claims, objects, references
from shoso.metadata.connect import Database
from shoso.metadata.objects import Row
from shoso.metadata.references import Owner

SETTLING = 0.5
"""Seconds after which what a running server stores or deletes stands in its record: twice its delay."""

PAGE = 500


class Record(NamedTuple):
    """A row of the record, and the object that it is of, as a root and key of the inventory."""

    root: int
    key: Key
    id: bytes
    size: int
    digest: str


async def check(inventory: Inventory, report: Report) -> None:
    """Find the objects that are missing, or have another size. Raises StoreError, TrackingError."""
    await read(inventory)
    suspects = inventory.file.execute(_SUSPECTS)
    while page := [Record(*row) for row in suspects.fetchmany(PAGE)]:
        await asyncio.sleep(SETTLING)
        for finding in await _judged(inventory, report, page):
            await report.add(finding)


async def read(inventory: Inventory) -> None:
    """Write the record down beside the inventory: of an object that has several rows the latest."""
    inventory.file.executescript(_TABLE)
    roots: dict[str, tuple[int, Key] | None] = {}
    after = b""
    while rows := await inventory.estate.database.read(objects.page, after):
        inventory.add(_ADD, _found(inventory, roots, rows))
        after = rows[-1].id


def _found(
    inventory: Inventory, roots: dict[str, tuple[int, Key] | None], rows: Sequence[Row]
) -> Iterator[tuple[object, ...]]:
    for row in rows:
        if row.root not in roots:
            roots[row.root] = inventory.find(row.root)
        if (found := roots[row.root]) is not None and TRASH not in row.key.split("/"):
            at, folder = found
            yield (
                at,
                keys.join(folder, row.key),
                *(row.id, row.size, row.digest, row.etag, row.modified, row.time),
            )


async def _judged(inventory: Inventory, report: Report, suspects: Sequence[Record]) -> list[Finding]:
    """What is still wrong when it is looked at again."""
    database = inventory.estate.database
    known = await database.read(objects.known, [suspect.id for suspect in suspects])
    suspects = [suspect for suspect in suspects if suspect.id in known]
    found = await asyncio.gather(*(find(inventory.roots[one.root].plain, one.key) for one in suspects))
    pairs = [*zip(suspects, found, strict=True)]
    owned = await _owned(database, [suspect.key for suspect, meta in pairs if meta is None])
    judged = (
        _finding(inventory, report, suspect, known[suspect.id], meta, owned.get(suspect.key, True))
        for suspect, meta in pairs
    )
    return [finding for finding in judged if finding is not None]


def _finding(
    inventory: Inventory, report: Report, suspect: Record, row: Row, meta: ObjectMeta | None,
    owned: bool | None,
) -> Finding | None:  # fmt: skip
    """What is wrong with an object, if anything is; `owned` as below."""
    uri = inventory.roots[suspect.root].shown(suspect.key)
    fix = fetching(report, suspect.root, inventory, suspect.key, row.digest, meta)
    if meta is not None:
        return (
            _resized(uri, row, meta, fix if report.asked.replace else None) if meta.size != row.size else None
        )
    if owned is None:
        return None
    return _missing(uri, row, fix) if owned else _outlived(inventory.estate.database, uri, row)


async def _owned(database: Database, missing: Sequence[Key]) -> dict[Key, bool | None]:
    """Whether the run, model or trace of each is there, or it is nobody's; None if gc is deleting it."""
    whose = {key: owner_of(key)[1:] for key in missing}
    there: dict[tuple[Owner | None, str], bool | None] = {(None, ""): True}
    for owner in Owner:
        if ids := [id_ for of, id_ in whose.values() if of is owner]:
            rows = await database.read(references.there, owner, ids)
            claimed = await database.read(claims.known, owner.value, ids)
            there |= {(owner, id_): None if id_ in claimed else True for id_ in rows}
    return {key: there.get(of, False) for key, of in whose.items()}


def fetching(
    report: Report, at: int, inventory: Inventory, key: Key, digest: str, seen: ObjectMeta | None
) -> Fix | None:
    """What fetches an object from a copy of the storage, if there is one, in place of what was seen."""
    if report.copies is None:
        return None
    return partial(report.copies.fetch, inventory.roots[at], key, digest, seen)


def _missing(uri: str, row: Row, fix: Fix | None) -> Finding:
    problem = f"It was stored ({size(row.size)}), and isn't there."
    return Finding(Kind.MISSING, uri, problem, FROM, fix=fix)


def _resized(uri: str, row: Row, meta: ObjectMeta, fix: Fix | None) -> Finding:
    problem = f"It has {meta.size:,} bytes; {row.size:,} were stored."
    return Finding(Kind.SIZE, uri, problem, WRITTEN, fix=fix)


def _outlived(database: Database, uri: str, row: Row) -> Finding:
    problem = "The server has it in its record; it is gone, and so is what it belonged to."
    return Finding(Kind.RECORD, uri, problem, REPAIR, fix=partial(_forget, database, row.id))


async def _forget(database: Database, id_: bytes) -> str:
    await database.write(objects.write, [], [id_])
    return "The record was dropped."


REPAIR = "shoso fsck --repair drops the record."
FROM = "shoso fsck --repair --from URI fetches it from a copy of the storage."
WRITTEN = (
    "Somebody wrote it since it was stored. If that isn't meant to be so, shoso fsck --repair --from URI"
    " --replace fetches what was stored from a copy of the storage."
)

_TABLE = """
CREATE TABLE records (
    root INTEGER, key TEXT, id BLOB, size INTEGER, digest TEXT, etag TEXT, modified REAL, time INTEGER,
    PRIMARY KEY (root, key)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (root, key) DO UPDATE
SET id = excluded.id, size = excluded.size, digest = excluded.digest, etag = excluded.etag,
    modified = excluded.modified, time = excluded.time
WHERE excluded.time > records.time
"""
_SUSPECTS = """
SELECT r.root, r.key, r.id, r.size, r.digest FROM records r LEFT JOIN objects o USING (root, key)
WHERE o.size IS NULL OR o.size != r.size ORDER BY r.root, r.key
"""
