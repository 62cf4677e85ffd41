"""What nobody refers to, or goes on with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from shoso.core import keys
from shoso.core.amounts import count, duration, size
from shoso.core.keys import Key
from shoso.core.store import exists
from shoso.core.streams import closing
from shoso.maintenance.fsck.findings import Finding, Kind, Report
from shoso.maintenance.inventory import Inventory, Orphan, Upload, Why
from shoso.metadata import moves
from shoso.metadata.moves import Move


async def check(inventory: Inventory, report: Report) -> None:
    """Find objects without a row and uploads that were left. Raises StoreError, TrackingError."""
    moving = await _moving(inventory)
    async with closing(inventory.orphans(report.asked.age)) as orphans:
        async for orphan in orphans:
            if not _is_moving(orphan, moving) and await _is_left(inventory, orphan):
                await report.add(_orphan(orphan))
    async with closing(inventory.uploads(report.asked.age)) as uploads:
        async for upload in uploads:
            await report.add(_upload(inventory, upload))


async def _moving(inventory: Inventory) -> list[tuple[int, Key]]:
    """The two ends of each move under way, which has copies at both."""
    found: list[Move] = await inventory.estate.database.read(moves.open_moves)
    ends = (inventory.find(end) for move in found for end in (move.source, move.target))
    return [end for end in ends if end is not None]


def _is_moving(orphan: Orphan, moving: Sequence[tuple[int, Key]]) -> bool:
    """Whether it may be a copy that `migrate finish`, or whoever rolls back, will look after."""
    return orphan.why is Why.MOVED and any(
        at == orphan.root and keys.contains(key, orphan.key) for at, key in moving
    )


async def _is_left(inventory: Inventory, orphan: Orphan) -> bool:
    """Whether it is still there: its run may have been deleted for good while the stores were listed."""
    store = inventory.roots[orphan.root].plain
    for first in inventory.objects(orphan):
        return await exists(store, first.key)
    return False


def _orphan(orphan: Orphan) -> Finding:
    what = f"{count(orphan.objects, 'object')} ({size(orphan.bytes)}) that no row refers to"
    problem = f"{what}: {orphan.reason}."
    return Finding(Kind.ORPHAN, orphan.uri, problem, _REMEDIES[orphan.why])


def _upload(inventory: Inventory, upload: Upload) -> Finding:
    problem = f"An upload of it that isn't finished got nothing for {duration(upload.age)}."
    fix = partial(_drop, inventory, upload)
    return Finding(Kind.UPLOAD, upload.uri, problem, "shoso fsck --repair drops it.", fix=fix)


async def _drop(inventory: Inventory, upload: Upload) -> str:
    await inventory.roots[upload.root].store.uploads.abort(upload.ref)
    return "The upload was dropped."


_REMEDIES = {
    Why.GONE: "shoso gc plan --orphans says what would go with it.",
    Why.MOVED: "Compare it with where the artifacts are now, before you delete it.",
    Why.STRAY: "If you know whose it is, leave it, and say --ignore orphan.",
}
