"""What became of a plan, and how its artifacts go: deleted, or moved to the trash."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Store
from shoso.errors import Kind, ShosoError, StoreError, store_error
from shoso.maintenance.estate import TRASH
from shoso.maintenance.plans import Item
from shoso.transfer.report import Tally
from shoso.transfer.window import crew

KEPT = 1000
"""Problems that are named; of more there is only the number."""


NOT_OVER = "it isn't in the trash, or its time there isn't over"
"""Why an item stays that a plan says is to go from the trash."""


@dataclass(frozen=True, slots=True)
class Problem:
    """An item that stayed: `refused` because it has changed, else it failed; and why."""

    item: Item
    message: str
    refused: bool


@dataclass(slots=True)
class Account:
    """What went by a plan: items by kind, objects and bytes; what was gone before; what stayed.

    `absent` is what was named and isn't there, where there is no plan.

    `trash` is for how many seconds artifacts are kept in the trash; None deletes them. `may_share` says of
    what was imported whether it may go although another store may need its artifacts.
    """

    plan: str
    trash: float | None = None
    may_share: Callable[[Item], bool] = lambda _: False
    items: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    objects: int = 0
    bytes: int = 0
    gone: int = 0
    stayed: int = 0
    problems: list[Problem] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    _tally: Tally = field(default_factory=Tally)

    @property
    def folder(self) -> Key:
        """The folder of the trash, in the root that an item is in."""
        return keys.join(Key(TRASH), self.plan)

    @property
    def until(self) -> int:
        """When what is put into the trash now may go, in milliseconds."""
        return int((time.time() + (self.trash or 0.0)) * 1000)

    def shelves(self, item: Item) -> bool:
        """Whether it is moved to the trash: what was there for its time isn't."""
        return self.trash is not None and not item.trash

    def require(self, store: Store, item: Item) -> None:
        """Raise UNSUPPORTED, before anything is claimed, if it is to be moved where nothing can be."""
        if self.shelves(item) and not store.capabilities.move:
            message = f"{store.info.name} can't move objects; leave --trash out to delete them."
            raise store_error(Kind.UNSUPPORTED, message, op="move", store=store.info.name)

    def went(self, item: Item, objects: int, size: int) -> None:
        """One more that went."""
        self.items[item.kind] += 1
        self.objects += objects
        self.bytes += size
        self._tally.succeed()

    def refuse(self, item: Item, why: str) -> None:
        """It has changed."""
        self._stay(Problem(item, why, refused=True))

    def fail(self, item: Item, error: ShosoError) -> None:
        """It failed. Raises the error where everything else would fail like it."""
        self._stay(Problem(item, error.message, refused=False))
        if isinstance(error, StoreError):
            self._tally.fail(error)

    def miss(self, item: Item, error: ShosoError) -> None:
        """It can't even be looked at; that says nothing of others, as with a plan."""
        self._stay(Problem(item, error.message, refused=False))

    def _stay(self, problem: Problem) -> None:
        self.stayed += 1
        if len(self.problems) < KEPT:
            self.problems.append(problem)


async def remove(store: Store, found: Sequence[Key], trash: Key | None) -> None:
    """Delete these objects, or move them to that folder, several batches at once. Raises StoreError."""
    async with crew() as group:
        for start in range(0, len(found), DELETE_BATCH):
            group.create_task(_remove(store, found[start : start + DELETE_BATCH], trash))


async def remove_each(store: Store, found: AsyncIterator[Key], trash: Key | None) -> None:
    """The same for any number of objects, a batch at a time."""
    batch: list[Key] = []
    async for key in found:
        batch.append(key)
        if len(batch) == DELETE_BATCH:
            await remove(store, batch, trash)
            batch = []
    await remove(store, batch, trash)


async def _remove(store: Store, batch: Sequence[Key], trash: Key | None) -> None:
    if trash is None:
        await store.delete(batch)
    else:
        await store.move([(key, keys.join(trash, key)) for key in batch])
