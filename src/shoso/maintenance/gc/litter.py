"""How orphans and uploads go: by a new inventory, so that what somebody refers to by now stays."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence

from sqlalchemy import Connection

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.clock import now_ms
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.errors import Kind as ErrorKind
from shoso.errors import ShosoError, TrackingError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import NOT_OVER, Account, remove_each
from shoso.maintenance.gc.contents import changed, contents, objects
from shoso.maintenance.gc.shelves import missing, place_of, shelf
from shoso.maintenance.inventory import UNDATED, UNNAMED, Inventory, Orphan, Upload, Why, newest_part
from shoso.maintenance.plans import ORPHAN, Item
from shoso.metadata import claims, moves
from shoso.metadata.claims import Claim
from shoso.metadata.moves import Move

_AHEAD = 86_400.0
"""Seconds that the clock of a storage may be ahead of ours."""


class LitterJob:
    """Lets go of what has no row."""

    def __init__(self, estate: Estate, account: Account, inventory: Inventory, older_than: float) -> None:
        """`older_than` is for how many seconds nobody went on with an upload that goes."""
        self._estate, self._account, self._inventory = estate, account, inventory
        self._older_than = older_than
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
            if self._account.shelves(item):  # killed when all had been moved
                await self._estate.database.write(_shelve, self._account, item)
            self._account.gone += 1
            return
        if not self._inventory.is_named(*place, item.location):
            self._account.refuse(item, UNNAMED)
            return
        orphan = await self._inventory.orphan(*place)
        if orphan is None:
            self._account.refuse(item, "something refers to it by now")
        elif not orphan.newest:
            self._account.refuse(item, UNDATED)
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
            now, where = now_ms(), shelf(item.location, place.key, account.plan)
            claim = Claim(ORPHAN, item.id, account.plan, now, item.location, where, None, orphan.objects)
            await database.write(_claim, claim)
        await remove_each(place.store, self._keys(orphan, place.key), trash)
        if trash is not None:
            await database.write(claims.shelve, [claim], account.until)
        account.went(item, orphan.objects, orphan.bytes)

    async def _keys(self, orphan: Orphan, folder: Key) -> AsyncIterator[Key]:
        for meta in self._inventory.objects(orphan):
            yield keys.join(folder, keys.below(meta.key, orphan.key)) if meta.key != orphan.key else folder

    async def _shelved(self, item: Item) -> None:
        """What has been in the trash for its time, and is there still; or was left on the way there."""
        database, account = self._estate.database, self._account
        if await database.read(_claimed, item) is None:
            account.refuse(item, NOT_OVER)
            return
        place = await place_of(self._estate, item)
        found = await contents(place)
        if changed(item, found, begun=True):
            account.refuse(item, "something was written into the trash since the plan was made")
        elif account.trash is not None and await database.write(_end, account.until, item, found.objects):
            account.went(item, found.objects, found.bytes)
        elif (why := await database.write(_take, account.plan, item, found.objects)) is not None:
            account.refuse(item, why)
        else:
            await remove_each(place.store, _keys_at(place), None)
            await database.write(claims.release, ORPHAN, [item.id])
            account.went(item, found.objects, found.bytes)

    # -- uploads ------------------------------------------------------------------------------------------

    async def _upload(self, item: Item) -> None:
        if self._uploads is None:
            pending = self._inventory.uploads(older_than=-_AHEAD)
            self._uploads = {(one.uri, one.ref.id): one async for one in pending}
        upload = self._uploads.get((item.location, item.id))
        if upload is None:
            self._account.gone += 1
            return
        store = self._inventory.roots[upload.root].store
        touched = max(upload.touched, await newest_part(store, upload.ref))
        if time.time() - touched < self._older_than:
            self._account.refuse(item, "somebody went on with it lately")
            return
        await store.uploads.abort(upload.ref)
        self._account.went(item, 0, 0)


async def _keys_at(place: Place) -> AsyncIterator[Key]:
    async for meta in objects(place):
        yield meta.key


def _claimed(conn: Connection, item: Item) -> Claim | None:
    """The claim that says of an item that it is in this folder of the trash."""
    claim = claims.known(conn, ORPHAN, [item.id]).get(item.id)
    is_it = claim is not None and (claim.location, claim.trash) == (item.location, item.trash)
    return claim if is_it else None


def _end(conn: Connection, until: int, item: Item, objects: int) -> bool:
    """Whether it was left on the way to the trash; it has its time there now."""
    claim = _claimed(conn, item)
    return claim is not None and claim.is_left and claims.end(conn, claim, until, objects)


def _take(conn: Connection, plan: str, item: Item, objects: int) -> str | None:
    """Take what has been in the trash for its time, so that nobody brings it back; or why it stays."""
    _end(conn, 0, item, objects)
    claim = _claimed(conn, item)
    if claim is None or not claim.is_over(item.location, item.trash):
        return NOT_OVER
    if objects < claim.shelved:
        return missing(claim, objects)
    return None if claims.take(conn, claim, plan) else NOT_OVER


def _claim(conn: Connection, new: Claim) -> None:
    """Raise INVALID where it has begun to go to another folder."""
    claim = claims.known(conn, ORPHAN, [new.id]).get(new.id)
    if claim is None:
        claims.add(conn, [new])
    elif claim.trash != new.trash:
        message = f"it has begun to go to {shown(claim.trash or '')}; name its storage as then"
        raise TrackingError(ErrorKind.INVALID, message)


def _shelve(conn: Connection, account: Account, item: Item) -> None:
    claim = claims.known(conn, ORPHAN, [item.id]).get(item.id)
    if claim is not None and claim.plan == account.plan and not claim.is_shelved:
        claims.shelve(conn, [claim], account.until)
