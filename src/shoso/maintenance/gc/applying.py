"""Applying a plan: whatever has changed since is refused by name, everything else goes.

Items go in groups: looked at again, claimed, their artifacts deleted together, then their rows. A group that
is killed at any point is done again by the same command: its claims tell that some artifacts may be gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from sqlalchemy import Connection

from shoso.client.places import Place
from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Store
from shoso.errors import ShosoError, StoreError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.contents import Contents, batches, changed, contents, newer, objects
from shoso.maintenance.gc.planning import placed
from shoso.maintenance.plans import Item, Plan
from shoso.maintenance.report import Told
from shoso.metadata import claims, purge
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.transfer.report import Tally
from shoso.transfer.window import Window, crew

GROUP_ITEMS, GROUP_OBJECTS = 64, 4000
"""Items that go together, and objects of them whose keys are held in memory."""

GROUPS = 4
"""Groups under way at once."""

KEPT = 1000
"""Problems that are named; of more there is only the number."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An item that stayed: `refused` because it has changed, else it failed; and why."""

    item: Item
    message: str
    refused: bool


@dataclass(slots=True)
class Applied:
    """What went: items by kind, their objects and bytes; what was gone before; what stayed."""

    items: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    objects: int = 0
    bytes: int = 0
    gone: int = 0
    stayed: int = 0
    problems: list[Problem] = field(default_factory=list)

    def stay(self, problem: Problem) -> None:
        """One more that stayed."""
        self.stayed += 1
        if len(self.problems) < KEPT:
            self.problems.append(problem)


@dataclass(slots=True)
class _Looked:
    """An item, where it is, and what is there now; `begun` if it was claimed before."""

    item: Item
    place: Place | None = None
    found: Contents = field(default_factory=Contents)
    begun: bool = False


async def apply(estate: Estate, plan: Plan, items: Iterable[Item], told: Told) -> Applied:
    """Delete what the plan has. Raises TrackingError where the database fails, StoreError where all fails."""
    job = _Job(estate, plan, told)
    for kind, alike in groupby(items, key=lambda item: item.kind):
        window = Window(GROUPS, 0)
        async with crew() as group:  # an experiment goes when what is in it has gone
            for some in _groups(alike):
                await window.start(group, 0, job.run(kind, some))
    return job.applied


class _Job:
    def __init__(self, estate: Estate, plan: Plan, told: Told) -> None:
        self.applied = Applied()
        self._estate, self._plan, self._told = estate, plan, told
        self._tally = Tally()

    async def run(self, kind: str, items: Sequence[Item]) -> None:
        """Let a group go."""
        database = self._estate.database
        there, taken = await database.read(_known, kind, [item.id for item in items])
        self.applied.gone += len(items) - len(there)
        left = [item for item in items if item.id in there]
        looked = await asyncio.gather(*(self._look(item, item.id in taken) for item in left))
        same = [one for one in looked if one is not None]
        claimed = await database.write(_claim, self._plan, kind, [one.item for one in same])
        going = [one for one in same if self._may_go(one, claimed[one.item.id])]
        emptied = await self._empty(going)
        await self._purge(Kind(kind), emptied)
        self._told.done(len(items))

    # -- looking ------------------------------------------------------------------------------------------

    async def _look(self, item: Item, begun: bool) -> _Looked | None:
        """What is there now; None if that isn't what was planned."""
        if item.kind == Kind.EXPERIMENT:
            return _Looked(item, begun=begun)
        try:
            place = placed(await self._estate.place(item.location), item.trash)
            found = await contents(place, GROUP_OBJECTS)
            if changed(item, found, begun):
                self._refuse(item, await _difference(item, place))
                return None
        except ShosoError as error:
            self._fail(item, error)
            return None
        return _Looked(item, place, found, begun)

    def _may_go(self, one: _Looked, obstacle: str | None) -> bool:
        if obstacle is None:
            return True
        if obstacle:
            self._refuse(one.item, obstacle)
        else:
            self.applied.gone += 1
        return False

    # -- artifacts ----------------------------------------------------------------------------------------

    async def _empty(self, looked: Sequence[_Looked]) -> list[_Looked]:
        """Delete the artifacts; those items whose artifacts are gone."""
        by_store: dict[int, list[_Looked]] = defaultdict(list)
        for one in looked:
            by_store[id(one.place.store) if one.place else 0].append(one)
        done = await asyncio.gather(*(self._empty_at(some) for some in by_store.values()))
        return [one for some in done for one in some]

    async def _empty_at(self, looked: Sequence[_Looked]) -> list[_Looked]:
        """All of them together; where that fails, each by itself, so that a failure has a name."""
        store = looked[0].place.store if looked[0].place else None
        if store is None:
            return [*looked]
        small = [one for one in looked if one.found.objects == len(one.found.keys)]
        try:
            await _delete(store, [key for one in small for key in one.found.keys])
            emptied = small
        except StoreError:
            emptied = [one for one in small if await self._empty_one(one)]
        large = [one for one in looked if one.found.objects > len(one.found.keys)]
        return [*emptied, *[one for one in large if await self._empty_one(one)]]

    async def _empty_one(self, one: _Looked) -> bool:
        """Delete what the plan knows of one item, in the same memory for any number of objects."""
        if one.place is None:
            return True
        try:
            batch: list[Key] = []
            async for meta in objects(one.place):
                if meta.modified <= one.item.newest:
                    batch.append(meta.key)
                if len(batch) == DELETE_BATCH:
                    await one.place.store.delete(batch)
                    batch = []
            await one.place.store.delete(batch)
        except StoreError as error:
            self._fail(one.item, error)
            return False
        return True

    # -- rows ---------------------------------------------------------------------------------------------

    async def _purge(self, kind: Kind, looked: Sequence[_Looked]) -> None:
        database, ids = self._estate.database, [one.item.id for one in looked]
        if kind is Kind.RUN:
            for run_id, metrics in (await database.read(purge.points, ids)).items():
                for key in metrics if sum(metrics.values()) > purge.POINTS else ():
                    await database.write(purge.drop_metric, run_id, key)
        stayed = {*await database.write(purge.purge, kind, ids)}
        for one in looked:
            if one.item.id in stayed:
                self._refuse(one.item, "it was restored meanwhile, or something is in it")
                continue
            self.applied.items[kind.value] += 1
            self.applied.objects += one.found.objects
            self.applied.bytes += one.found.bytes
            self._tally.succeed()

    # -- problems -----------------------------------------------------------------------------------------

    def _refuse(self, item: Item, why: str) -> None:
        self.applied.stay(Problem(item, why, refused=True))

    def _fail(self, item: Item, error: ShosoError) -> None:
        """Note a failure. Raises it where everything else would fail like it."""
        self.applied.stay(Problem(item, error.message, refused=False))
        if isinstance(error, StoreError):
            self._tally.fail(error)


def _groups(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items of one kind, as many as go together."""
    group: list[Item] = []
    held = 0
    for item in items:
        if group and (len(group) == GROUP_ITEMS or held + item.objects > GROUP_OBJECTS):
            yield group
            group, held = [], 0
        group.append(item)
        held += item.objects
    if group:
        yield group


def _known(conn: Connection, kind: str, ids: Sequence[str]) -> tuple[set[str], set[str]]:
    """Those that are there still, and those that are claimed."""
    return {*purge.there(conn, Kind(kind), ids)}, {*claims.known(conn, kind, ids)}


def _claim(conn: Connection, plan: Plan, kind: str, items: Sequence[Item]) -> dict[str, str | None]:
    """Claim what may go: None; what is gone: ""; for anything else why it stays."""
    ids = [item.id for item in items]
    taken = claims.known(conn, kind, ids)
    marked = purge.marked(conn, Kind(kind), ids)
    there = {*purge.there(conn, Kind(kind), ids)}
    found = {item.id: _obstacle(item, marked, there, taken) for item in items}
    now = time.time_ns() // 1_000_000
    claims.add(
        conn,
        [
            Claim(kind, item.id, plan.id, now, item.location)
            for item in items
            if found[item.id] is None and item.id not in taken
        ],
    )
    return found


def _obstacle(
    item: Item, marked: dict[str, int | None], there: set[str], taken: dict[str, Claim]
) -> str | None:
    if item.id not in there:
        return ""
    if item.id not in marked:
        return "it was restored since the plan was made"
    if marked[item.id] != item.since:
        return "it was restored, or changed, and deleted again since the plan was made"
    claim = taken.get(item.id)
    if claim is not None and (claim.trash or "") != item.trash:
        return f"it is in the trash (shoso gc undo {claim.plan})"
    return None


async def _delete(store: Store, found: list[Key]) -> None:
    async with crew() as group:
        for batch in batches(found, DELETE_BATCH):
            group.create_task(store.delete(batch))


async def _difference(item: Item, place: Place) -> str:
    """What is other than planned, by name."""
    if path := await newer(place, item.newest):
        return f"'{path}' was written since the plan was made"
    return "its artifacts aren't those of the plan any more"
