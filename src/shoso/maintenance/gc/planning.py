"""Making a plan: what is chosen, with what is at each location now. Nothing is touched."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from shoso.client.places import Place
from shoso.core.amounts import age, as_age
from shoso.core.clock import now_ms
from shoso.core.digest import digest
from shoso.core.locations import shown
from shoso.core.streams import grouped
from shoso.errors import ShosoError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.chosen import Asked, Chosen, chosen
from shoso.maintenance.gc.contents import Contents, contents, look, summed
from shoso.maintenance.gc.shelves import place_of
from shoso.maintenance.inventory import DAY, UNDATED, UNNAMED, Inventory, Orphan, Why
from shoso.maintenance.plans import ORPHAN, UPLOAD, Draft, Item, Kept, Plan, Total, new_id
from shoso.maintenance.report import Told
from shoso.metadata import claims, moves
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.metadata.moves import Move

T = TypeVar("T")
R = TypeVar("R")

_OVER = "in the trash for its time"

LOOKED = 64
"""Items that are looked at together."""

PARALLEL = 4
"""Such groups that are looked at at once."""


async def plan(estate: Estate, asked: Asked, path: Path, told: Told, id_: str = "") -> Total:
    """Write the plan; what it comes to. Raises TrackingError, ConfigError, StoreError, OSError."""
    words = {name: value for name, value in _words(asked).items() if value}
    made, id_ = now_ms(), id_ or new_id()
    draft = Draft(path, Plan(id_, made, shown(estate.settings.backend_store_uri), words))
    try:
        groups = grouped(chosen(estate.database, asked), LOOKED)
        async for lines in in_order(groups, lambda some: _lines(estate, some)):
            for line in lines:
                draft.add(line)
            told.done(len(lines))
        if asked.orphans:
            async for left in litter(estate, asked.older_than, id_):
                draft.add(left)
                told.done(1)
        return draft.finish()
    except BaseException:
        draft.discard()
        raise


async def in_order(items: AsyncIterator[T], work: Callable[[T], Awaitable[R]]) -> AsyncIterator[R]:
    """What the work makes of each, in their order, some at once."""
    running: deque[asyncio.Task[R]] = deque()
    try:
        async for item in items:
            running.append(asyncio.ensure_future(work(item)))
            if len(running) >= PARALLEL:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()


async def litter(estate: Estate, older_than: float, plan: str) -> AsyncIterator[Item | Kept]:
    """What nobody refers to or goes on with for a day at least, and what has been in the trash for its time.

    Its ids are of that plan alone: what is written to the same place later may be in the trash beside it.
    Raises ConfigError, TrackingError, StoreError.
    """
    async for claim in _expired(estate):
        yield await _shelved(estate, claim)
    least = max(older_than, DAY)
    async with Inventory.taken(estate) as inventory:
        moving: list[Move] = await estate.database.read(moves.open_moves)
        async for orphan in inventory.orphans(least):
            id_ = digest(f"{plan}\0{orphan.uri}".encode())[:32]
            if orphan.why is Why.MOVED and moving:
                yield Kept(ORPHAN, id_, "shoso migrate keeps copies until it is finished", orphan.uri)
            elif not inventory.is_named(orphan.root, orphan.key, orphan.uri):
                yield Kept(ORPHAN, id_, UNNAMED, orphan.uri)
            elif not orphan.newest:
                yield Kept(ORPHAN, id_, UNDATED, orphan.uri)
            else:
                yield _orphan(orphan, id_)
        async for upload in inventory.uploads(least):
            yield Item(UPLOAD, upload.ref.id, "an upload that nobody goes on with", upload.uri)


def idle(asked: Mapping[str, str]) -> float:
    """For how many seconds nobody touched what has no row, by what a plan was asked for."""
    return max(age(asked.get("older-than", "")) or 0.0, DAY)


def _orphan(orphan: Orphan, id_: str) -> Item:
    return Item(
        kind=ORPHAN,
        id=id_,
        reason=orphan.reason,
        location=orphan.uri,
        objects=orphan.objects,
        bytes=orphan.bytes,
        newest=orphan.newest,
    )


async def _expired(estate: Estate) -> AsyncIterator[Claim]:
    """What has been in the trash for its time, and what was left on the way there."""
    now, after = now_ms(), ""
    while page := await estate.database.read(claims.page, ORPHAN, after=after):
        for claim in page:
            if claim.is_left or (claim.until is not None and claim.until <= now):
                yield claim
        after = page[-1].id


async def _shelved(estate: Estate, claim: Claim) -> Item | Kept:
    """What there is of it in the trash; what can't be looked at stays."""
    reason = f"left on the way to the trash by plan {claim.plan}" if claim.is_left else _OVER
    item = Item(ORPHAN, claim.id, reason, claim.location, trash=claim.trash or "")
    try:
        return summed(item, await contents(await place_of(estate, item)))
    except ShosoError as error:
        return Kept(item.kind, item.id, error.message, failed=True)


async def _lines(estate: Estate, some: Sequence[Chosen]) -> list[Item | Kept]:
    """What goes with what is there; what can't be looked at stays."""
    items = [one.item for one in some]
    going = [item for one, item in zip(some, items, strict=True) if not one.obstacle and _has_own(item)]
    found = {item.id: one for item, one in zip(going, await look(estate, going), strict=True)}
    return [_line(item, one.obstacle, found.get(item.id)) for one, item in zip(some, items, strict=True)]


def _has_own(item: Item) -> bool:
    """Whether it has artifacts of its own: what is in an experiment has lines of its own."""
    return item.kind != Kind.EXPERIMENT


def _line(item: Item, obstacle: str, found: tuple[Place, Contents] | ShosoError | None) -> Item | Kept:
    if obstacle:
        return Kept(item.kind, item.id, obstacle, item.name, item.experiment_id)
    if isinstance(found, ShosoError):
        return Kept(item.kind, item.id, found.message, item.name, item.experiment_id, failed=True)
    return item if found is None else summed(item, found[1])


def _words(asked: Asked) -> dict[str, str]:
    """What was asked for, by the names of the options."""
    return {
        "older-than": as_age(asked.older_than) if asked.older_than else "",
        "run-ids": ",".join(asked.run_ids),
        "experiment-ids": ",".join(asked.experiment_ids),
        "logged-model-ids": ",".join(asked.model_ids),
        "registered": "yes" if asked.registered else "",
        "imported": "yes" if asked.imported else "",
        "orphans": "yes" if asked.orphans else "",
    }
