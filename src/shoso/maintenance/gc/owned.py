"""How runs, logged models and experiments go: looked at, claimed, emptied, and then their rows."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.clock import now_ms
from shoso.core.keys import Key
from shoso.core.locations import shown, without_password
from shoso.errors import ShosoError, StoreError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import NOT_OVER, Account, remove, remove_each
from shoso.maintenance.gc.contents import Contents, changed, look, newer, objects, summed
from shoso.maintenance.gc.guard import IMPORTED, MOVING, Guard
from shoso.maintenance.gc.shelves import missing, shelf
from shoso.maintenance.plans import Item
from shoso.metadata import claims, imported, moves, purge
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.metadata.purge import Marked

HELD = 4000
"""Objects of an item whose keys are held in memory; one with more is listed once more."""

NEW_HELD = 500
"""The same of an item that no plan has, of which nobody knows how many others have as many."""

RENEWED = 10.0
"""Seconds after which what others need is read again."""


Failed = Callable[[Item, ShosoError], None]


@dataclass(slots=True, eq=False)
class _Looked:
    """An item, where it is, and what is there now."""

    item: Item
    place: Place | None = None
    found: Contents = field(default_factory=Contents)

    @property
    def small(self) -> bool:
        """Whether all its keys are in memory."""
        return self.found.objects == len(self.found.keys)


class OwnedJob:
    """Lets go of what has rows."""

    def __init__(self, estate: Estate, account: Account, guard: Guard, *, registered: bool) -> None:
        self._estate, self._account = estate, account
        self._guard, self._renewed, self._registered = guard, time.monotonic(), registered

    async def run(self, kind: str, items: Sequence[Item]) -> None:
        """Let a group of a plan go, but for what has changed since."""
        database, items = self._estate.database, self._once(items)
        await self._renew_guard()
        there, taken = await database.read(_known, kind, [item.id for item in items])
        left = [item for item in items if item.id in there and not self._is_done(item, taken.get(item.id))]
        self._account.gone += len(items) - len(left)
        looked = await self._look(kind, left, self._account.fail)
        await self._let_go(kind, [one for one in looked if await self._is_same(one, one.item.id in taken)])

    async def run_new(self, kind: str, items: Sequence[Item]) -> None:
        """Let a group go that no plan has: with what is there now."""
        await self._renew_guard()
        looked = await self._look(kind, items, self._account.miss, new=True)
        for one in looked:
            one.item = summed(one.item, one.found)
        await self._let_go(kind, looked)

    async def _let_go(self, kind: str, looked: Sequence[_Looked]) -> None:
        refused = await self._estate.database.write(_claim, self._account, kind, looked)
        going = [one for one in looked if self._may_go(one.item, refused.get(one.item.id))]
        await self._finish(Kind(kind), await self._empty(going))

    async def _renew_guard(self) -> None:
        """Know, in a long apply, of versions and experiments that were made since it began."""
        if time.monotonic() - self._renewed > RENEWED:
            self._renewed = time.monotonic()
            self._guard = await Guard.of(self._estate.database, registered=self._registered)

    # -- looking ------------------------------------------------------------------------------------------

    def _once(self, items: Sequence[Item]) -> list[Item]:
        """Each item once, whatever was put together; of two lines that differ the first."""
        found: dict[str, Item] = {}
        for item in items:
            if found.setdefault(item.id, item) != item:
                self._account.refuse(item, "another line of the plan has it, too, and says otherwise")
        return [*found.values()]

    def _is_done(self, item: Item, claim: Claim | None) -> bool:
        """Whether it was put into the trash by this plan before."""
        return not item.trash and claim is not None and claim.plan == self._account.plan and claim.is_shelved

    async def _look(
        self, kind: str, items: Sequence[Item], failed: Failed, *, new: bool = False
    ) -> list[_Looked]:
        """What is there now of those that nothing keeps; what can't be looked at has `failed`."""
        if kind == Kind.EXPERIMENT:
            return [_Looked(item) for item in items]
        free = [item for item in items if self._is_free(item)]
        looked, held = [], NEW_HELD if new else HELD
        for item, found in zip(free, await look(self._estate, free, held, compared=not new), strict=True):
            if isinstance(found, ShosoError):
                failed(item, found)
            else:
                looked.append(_Looked(item, *found))
        return looked

    def _is_free(self, item: Item) -> bool:
        if obstacle := self._guard.obstacle(item.id, item.location):
            self._account.refuse(item, obstacle)
        return not obstacle

    async def _is_same(self, one: _Looked, begun: bool) -> bool:
        """Whether what is there is what was planned, and can go as is asked."""
        item, place, found = one.item, one.place, one.found
        if place is None:
            return True
        try:
            self._account.require(place.store, item)
            if changed(item, found, begun):
                self._account.refuse(item, await _difference(item, place))
                return False
        except ShosoError as error:
            self._account.fail(item, error)
            return False
        if self._account.shelves(item) and found.longest + len(self._account.folder) >= keys.MAX_BYTES:
            self._account.refuse(item, "a path of it is too long for the trash; leave --trash out")
            return False
        return True

    def _may_go(self, item: Item, obstacle: str | None) -> bool:
        if obstacle == _GONE:
            self._account.gone += 1
        elif obstacle is not None:
            self._account.refuse(item, obstacle)
        return obstacle is None

    # -- artifacts ----------------------------------------------------------------------------------------

    async def _empty(self, looked: Sequence[_Looked]) -> list[_Looked]:
        """Let the artifacts go, of each store together; those items that have none any more."""
        by_store: dict[int, list[_Looked]] = defaultdict(list)
        for one in looked:
            by_store[id(one.place.store) if one.place else 0].append(one)
        done = await asyncio.gather(*(self._empty_at(some) for some in by_store.values()))
        return [one for some in done for one in some]

    async def _empty_at(self, looked: Sequence[_Looked]) -> list[_Looked]:
        """All of them together; where that fails, each by itself, so that a failure has a name."""
        if (place := looked[0].place) is None:
            return [*looked]
        together = [one for one in looked if one.small and self._trash(one) == self._trash(looked[0])]
        alone = [one for one in looked if one not in together]
        try:
            found = [key for one in together for key in one.found.keys]
            await remove(place.store, found, self._trash(looked[0]))
        except StoreError:
            together, alone = [], [*looked]
        return together + [one for one in alone if await self._empty_one(one)]

    async def _empty_one(self, one: _Looked) -> bool:
        """Let go of what the plan knows of one item, in the same memory for any number of objects."""
        try:
            if one.place is not None:
                await remove_each(one.place.store, _known_keys(one), self._trash(one))
        except StoreError as error:
            self._account.fail(one.item, error)
            return False
        return True

    def _trash(self, one: _Looked) -> Key | None:
        return self._account.folder if self._account.shelves(one.item) else None

    # -- rows ---------------------------------------------------------------------------------------------

    async def _finish(self, kind: Kind, looked: Sequence[_Looked]) -> None:
        shelved = [one for one in looked if self._account.shelves(one.item)]
        back = await self._estate.database.write(_shelve, self._account, kind, shelved) if shelved else set()
        left = [one.item.id for one in looked if one not in shelved]
        stayed = await self._purge(kind, left) if left else set()
        for one in looked:
            if one.item.id in back:
                self._account.refuse(one.item, f"{_BACK}: shoso gc undo {self._account.plan}")
            elif one.item.id in stayed:
                self._account.refuse(one.item, "it was restored meanwhile, or something is in it")
            else:
                self._account.went(one.item, one.found.objects, one.found.bytes)

    async def _purge(self, kind: Kind, ids: Sequence[str]) -> set[str]:
        """Delete the rows, in transactions that nobody waits for long; the ids of those that stay."""
        database, stayed = self._estate.database, set[str]()
        points = await database.read(purge.points, ids) if kind is Kind.RUN else {}
        for run_id, metrics in points.items():
            for key in metrics if sum(metrics.values()) > purge.POINTS else ():
                while await database.write(purge.drop_points, run_id, key):
                    pass
        for some in _portions(ids, {id_: sum(metrics.values()) for id_, metrics in points.items()}):
            stayed |= {*await database.write(purge.purge, kind, some)}
        return stayed


def _portions(ids: Sequence[str], points: Mapping[str, int]) -> Iterator[list[str]]:
    """The ids, so many at a time that no more than about POINTS points go with them."""
    portion: list[str] = []
    held = 0
    for id_ in ids:
        if portion and held + points.get(id_, 0) > purge.POINTS:
            yield portion
            portion, held = [], 0
        portion.append(id_)
        held += points.get(id_, 0)
    yield portion


async def _known_keys(one: _Looked) -> AsyncIterator[Key]:
    if one.place is not None:
        async for meta in objects(one.place):
            if meta.modified <= one.item.newest:
                yield meta.key


async def _difference(item: Item, place: Place) -> str:
    """What is other than planned, by name."""
    if path := await newer(place, item.newest):
        return f"'{path}' was written since the plan was made"
    return "its artifacts aren't those of the plan any more"


def _known(conn: Connection, kind: str, ids: Sequence[str]) -> tuple[set[str], Mapping[str, Claim]]:
    """Those that are there still, and the claims on them."""
    return {*purge.there(conn, Kind(kind), ids)}, claims.known(conn, kind, ids)


def _claim(conn: Connection, account: Account, kind: str, looked: Sequence[_Looked]) -> dict[str, str]:
    """Claim what may go; for anything else why it stays, by id."""
    items = [one.item for one in looked]
    ids = [item.id for item in items]
    if kind != Kind.EXPERIMENT:
        purge.hold(conn, Kind(kind), ids)
    taken = claims.known(conn, kind, ids)
    new = [item for item in items if item.id not in taken and not account.may_share(item)]
    others = imported.among(conn, kind, [(item.id, item.location) for item in new])
    marked = purge.marked(conn, Kind(kind), ids)
    refused = {
        one.item.id: why
        for one in looked
        if (why := _obstacle(one, marked.get(one.item.id), taken.get(one.item.id), account)) is not None
    }
    refused |= dict.fromkeys(others, IMPORTED)
    there = {*purge.there(conn, Kind(kind), [*refused])}
    refused |= {id_: _GONE for id_ in refused if id_ not in there}
    moving = {str(move.experiment_id) for move in moves.open_moves(conn)}
    if kind == Kind.EXPERIMENT:
        refused |= {item.id: MOVING for item in items if item.id in moving}
    elif account.trash is not None:
        refused |= {item.id: _MOVING for item in items if item.experiment_id in moving}
    shelved = [item for item in items if item.trash and item.id not in refused]
    refused |= {item.id: NOT_OVER for item in shelved if not claims.take(conn, taken[item.id], account.plan)}
    left = [one for one in looked if one.item.id not in refused and one.item.id not in taken]
    claims.add(conn, [_new(account, one) for one in left])
    return refused


def _new(account: Account, one: _Looked) -> Claim:
    item, now = one.item, now_ms()
    trash, objects = _shelf(account, one), one.found.objects
    return Claim(item.kind, item.id, account.plan, now, item.location, trash, None, objects)


def _shelve(conn: Connection, account: Account, kind: Kind, looked: Sequence[_Looked]) -> set[str]:
    """Say that these are in the trash; the ids of those that were given back meanwhile, and restored."""
    ids = [one.item.id for one in looked]
    restored = {*ids} - {*purge.marked(conn, kind, ids)}
    claims.shelve(conn, [_new(account, one) for one in looked], account.until)
    return restored


def _shelf(account: Account, one: _Looked) -> str | None:
    """The folder of the trash that it goes to; None for what is deleted."""
    if not account.shelves(one.item):
        return None
    return str(account.folder) if one.place is None else shelf(one.item.location, one.place.key, account.plan)


_BACK = "it was restored while its artifacts went to the trash; bring them back with"

_GONE = ""
"""Another gc has let it go meanwhile."""

_MOVING = "its experiment is being moved (shoso migrate status), and nothing of it goes to a trash meanwhile"


def _obstacle(one: _Looked, marked: Marked | None, claim: Claim | None, account: Account) -> str | None:
    item = one.item
    if marked is None:
        return "it was restored since the plan was made"
    if marked.since != item.since:
        return "it was restored, or changed, and deleted again since the plan was made"
    if without_password(marked.location) != item.location:
        return "its artifacts are elsewhere than the plan says"
    if item.trash:
        if claim is None or not claim.is_over(item.location, item.trash):
            return NOT_OVER
        return missing(claim, one.found.objects) if one.found.objects < claim.shelved else None
    if claim is not None and (claim.trash or "") != (_shelf(account, one) or ""):
        return f"gc (plan {claim.plan}) has begun to {_begun(claim)}"
    return None


def _begun(claim: Claim) -> str:
    if claim.trash:
        return f"move it to the trash, {shown(claim.trash)}; bring it back with: shoso gc undo {claim.plan}"
    return "delete it; apply without --trash"
