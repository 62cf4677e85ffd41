"""Plan and apply in one: what is chosen is listed once, and goes; nothing is written down in between.

For jobs whose plan nobody looks at. What is listed is what is deleted, by its keys: nobody has agreed to less
before. What was restored since it was chosen is refused when it is claimed. Whatever breaks this off, the
same command goes on: what was begun is deleted still.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.chosen import Asked, chosen
from shoso.maintenance.gc.guard import Guard
from shoso.maintenance.gc.owned import OwnedJob
from shoso.maintenance.plans import Item, new_id
from shoso.metadata.holdings import Kind
from shoso.transfer.window import Window, crew

if TYPE_CHECKING:
    from shoso.maintenance.report import Told

GROUP_ITEMS, GROUPS = 128, 4
"""Items that go together, for a transaction costs as much for many as for a few; groups under way at once."""


async def collect(estate: Estate, asked: Asked, told: Told) -> tuple[Account, int]:
    """Delete what is asked for, orphans aside; what became of it, and how many items may not go.

    Raises TrackingError for a name that can't go, before anything is touched, and where the database fails;
    StoreError where every location does.
    """
    job = _Collection(estate, asked, told)
    await job.run()
    return job.account, job.kept


class _Collection:
    def __init__(self, estate: Estate, asked: Asked, told: Told) -> None:
        self._estate, self._asked, self._told = estate, asked, told
        self._experiments: list[Item] = []
        self.account, self.kept = Account(new_id(), None, lambda _: asked.named or asked.imported), 0

    async def run(self) -> None:
        registered = self._asked.registered
        guard = await Guard.of(self._estate.database, registered=registered)
        self._job = OwnedJob(self._estate, self.account, guard, registered=registered)
        window = Window(GROUPS, 0)
        async with crew() as group:
            async for kind, items in self._groups():
                await window.start(group, 0, self._go(kind, items))
        if self._experiments:  # one goes when what is in it has gone
            await self._go(Kind.EXPERIMENT, self._experiments)

    async def _go(self, kind: str, items: Sequence[Item]) -> None:
        await self._job.run_new(kind, items)
        self._told.done(len(items))

    async def _groups(self) -> AsyncIterator[tuple[str, list[Item]]]:
        """Runs, and models, as many as go together."""
        group: list[Item] = []
        async for item in self._going():
            if group and (len(group) == GROUP_ITEMS or item.kind != group[0].kind):
                yield group[0].kind, group
                group = []
            group.append(item)
        if group:
            yield group[0].kind, group

    async def _going(self) -> AsyncIterator[Item]:
        """What may go; experiments are put by."""
        async for one in chosen(self._estate.database, self._asked):
            if one.is_absent:
                self.account.absent.append(f"{one.holding.kind} {one.holding.id}")
            elif one.obstacle:
                self.kept += 1
            elif one.holding.kind is Kind.EXPERIMENT:
                self._experiments.append(one.item)
            else:
                yield one.item
