"""How orphans and uploads go: by a new inventory, so that what somebody refers to by now stays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import Connection

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.keys import Key
from shoso.errors import ShosoError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import NOT_OVER, Account, remove_each
from shoso.maintenance.gc.contents import changed, contents, objects, placed
from shoso.maintenance.inventory import UNNAMED, Inventory, Orphan, Upload, Why
from shoso.maintenance.plans import ORPHAN, Item
from shoso.metadata import claims, moves
from shoso.metadata.claims import Claim
from shoso.metadata.moves import Move


class LitterJob:
    """Lets go of what has no row."""

    def __init__(self, estate: Estate, account: Account, inventory: Inventory) -> None:
        self._estate, self._account, self._inventory = estate, account, inventory
        self._uploads: dict[tuple[str, str], Upload] | None = None

    async def run(self, kind: str, items: Sequence[Item]) -> None:
        """Let a group go, one after another."""
        for item in items:
            try:
                await (self._orphan(item) if kind == ORPHAN else self._upload(item))
            except ShosoError as error:
                self._account.fail(item, error)

    # -- orphans ------------------------------------------------------------------------------------------

    async def _orphan(self, item: Item) -> None:
        if item.trash:
            await self._shelved(item)
            return
        place = self._inventory.find(item.location)
        if place is None or not self._inventory.holds(*place):
            self._account.gone += 1
            return
        if not self._inventory.is_named(*place, item.location):
            self._account.refuse(item, UNNAMED)
            return
        orphan = await self._inventory.orphan(*place)
        if orphan is None:
            self._account.refuse(item, "something refers to it by now")
        elif orphan.why is Why.MOVED and await self._is_moving():
            self._account.refuse(item, "shoso migrate keeps copies until it is finished")
        elif orphan.objects > item.objects or orphan.bytes > item.bytes or orphan.newest > item.newest:
            self._account.refuse(item, "something was written there since the plan was made")
        else:
            await self._remove(item, orphan)

    async def _is_moving(self) -> bool:
        moving: list[Move] = await self._estate.database.read(moves.open_moves)
        return bool(moving)

    async def _remove(self, item: Item, orphan: Orphan) -> None:
        database, account = self._estate.database, self._account
        trash = account.folder if account.shelves(item) else None
        place = await self._estate.place(item.location)  # in the store whose trash `undo` looks into
        account.require(place.store, item)
        if trash is not None:
            await database.write(_claim, account.plan, item, trash)
        await remove_each(place.store, self._keys(orphan, place.key), trash)
        if trash is not None:
            await database.write(claims.shelve, ORPHAN, [item.id], account.until)
        account.went(item, orphan.objects, orphan.bytes)

    async def _keys(self, orphan: Orphan, folder: Key) -> AsyncIterator[Key]:
        for meta in self._inventory.objects(orphan):
            yield keys.join(folder, keys.below(meta.key, orphan.key)) if meta.key != orphan.key else folder

    async def _shelved(self, item: Item) -> None:
        """What has been in the trash for its time, and is there still."""
        if not await self._estate.database.write(_take, self._account.plan, item):
            self._account.refuse(item, NOT_OVER)
            return
        place = placed(await self._estate.place(item.location), item.trash)
        found = await contents(place)
        if changed(item, found, begun=True):
            self._account.refuse(item, "something was written into the trash since the plan was made")
            return
        await remove_each(place.store, _keys_at(place), None)
        await self._estate.database.write(claims.release, ORPHAN, [item.id])
        self._account.went(item, found.objects, found.bytes)

    # -- uploads ------------------------------------------------------------------------------------------

    async def _upload(self, item: Item) -> None:
        if self._uploads is None:
            self._uploads = {(one.uri, one.ref.id): one async for one in self._inventory.uploads()}
        upload = self._uploads.get((item.location, item.id))
        if upload is None:
            self._account.gone += 1
            return
        await self._inventory.roots[upload.root].store.uploads.abort(upload.ref)
        self._account.went(item, 0, 0)


async def _keys_at(place: Place) -> AsyncIterator[Key]:
    async for meta in objects(place):
        yield meta.key


def _take(conn: Connection, plan: str, item: Item) -> bool:
    """Whether it has been in the trash for its time; nobody brings it back then."""
    claim = claims.known(conn, ORPHAN, [item.id]).get(item.id)
    return claim is not None and claim.is_over(item.location, item.trash) and claims.take(conn, claim, plan)


def _claim(conn: Connection, plan: str, item: Item, trash: Key) -> None:
    if item.id not in claims.known(conn, ORPHAN, [item.id]):
        now = time.time_ns() // 1_000_000
        claims.add(conn, [Claim(ORPHAN, item.id, plan, now, item.location, str(trash))])
