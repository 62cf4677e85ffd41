"""Applying a plan: whatever has changed since is refused by name, everything else goes.

Items go in groups: looked at again, claimed, their artifacts deleted together, then their rows. A group that
is killed at any point is done again by the same command: its claims tell that some artifacts may be gone.

With a trash, artifacts are moved there instead, and rows stay for as long; a later plan lets both go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from typing import Protocol

from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.guard import Guard
from shoso.maintenance.gc.litter import LitterJob
from shoso.maintenance.gc.owned import OwnedJob
from shoso.maintenance.gc.planning import idle
from shoso.maintenance.inventory import Inventory
from shoso.maintenance.plans import ORPHAN, UPLOAD, Item, Plan, require
from shoso.maintenance.report import Told
from shoso.transfer.window import Window, crew

GROUP_ITEMS, GROUP_OBJECTS = 64, 4000
"""Items that go together, and about how many objects of them."""

GROUPS = 4
"""Groups under way at once."""


class Job(Protocol):
    """How items of some kinds go."""

    async def run(self, kind: str, items: Sequence[Item]) -> None: ...


async def apply(
    estate: Estate, plan: Plan, items: Iterable[Item], told: Told, *, trash: float | None = None
) -> Account:
    """Delete what the plan has, or move it to the trash, for so many seconds.

    Raises ConfigError for a plan of another database, TrackingError where the database fails, StoreError
    where every location does.
    """
    require(plan, estate.settings.backend_store_uri)
    account = Account(plan.id, trash, lambda item: "imported" in plan.asked or plan.names(item))
    registered = "registered" in plan.asked
    guard = await Guard.of(estate.database, registered=registered)
    async with AsyncExitStack() as stack:
        owned, litter = OwnedJob(estate, account, guard, registered=registered), None
        for kind, alike in groupby(items, key=lambda item: item.kind):  # whoever sorts lines mixes kinds
            job: Job = owned
            if kind in {ORPHAN, UPLOAD}:
                if litter is None:
                    inventory = await stack.enter_async_context(Inventory.taken(estate))
                    litter = LitterJob(estate, account, inventory, idle(plan.asked))
                job = litter
            window = Window(GROUPS, 0)
            async with crew() as group:  # an experiment goes when what is in it has gone
                for some in groups(alike):
                    await window.start(group, 0, _run(job, kind, some, told))
    return account


async def _run(job: Job, kind: str, items: Sequence[Item], told: Told) -> None:
    await job.run(kind, items)
    told.done(len(items))


def groups(items: Iterable[Item]) -> Iterator[list[Item]]:
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
