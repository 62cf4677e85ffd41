"""What was moved to the trash, brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoso.client.places import Place
from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Store, exists, is_folder
from shoso.core.types import Move, ObjectMeta
from shoso.errors import Kind as ErrorKind
from shoso.errors import NotFound, ShosoError, StoreError, TrackingError
from shoso.maintenance import recorded
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.contents import Contents, contents, objects
from shoso.maintenance.gc.shelves import Shelf, missing, shelved
from shoso.maintenance.plans import ORPHAN, Item
from shoso.maintenance.report import Told
from shoso.metadata import claims
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.transfer.reading import Digested, read_digests

KINDS = (*(kind.value for kind in Kind), ORPHAN)


async def undo(estate: Estate, plan: str, told: Told, *, missing_ok: bool = False) -> Account:
    """Bring back what the plan of that id moved to the trash, and let it be restored.

    What is in the way of an object, because it was written since, is never replaced: its item stays in the
    trash, and so does one of which objects aren't found, unless `missing_ok`. Raises TrackingError where the
    database fails, StoreError where every location does.
    """
    account = Account(plan)
    for kind in KINDS:
        async for claim in _claims(estate, kind, account):
            await _back(estate, claim, account, missing_ok)
            told.done(1)
    return account


async def _claims(estate: Estate, kind: str, account: Account) -> AsyncIterator[Claim]:
    after, folder = "", f"/{account.folder}"
    while page := await estate.database.read(claims.page, kind, plan=account.plan, after=after):
        for claim in page:
            if f"/{claim.trash}".endswith(folder):  # else another plan deletes it, as its time is over
                yield claim
        after = page[-1].id


async def _back(estate: Estate, claim: Claim, account: Account, missing_ok: bool) -> None:
    item, found = Item(claim.kind, claim.id, "", claim.location), Contents()
    if not await estate.database.write(claims.keep, claim):
        account.refuse(item, "it is back by now, or its time in the trash is over and gc is deleting it")
        return
    try:
        if claim.kind != Kind.EXPERIMENT:
            shelf = await shelved(estate, await recorded.location(estate, item), claim.trash or "")
            found = await _moved_back(shelf)
            if not missing_ok:
                await _require_all(claim, shelf, found)
    except _InTheWayError as error:
        account.refuse(item, f"'{error}' was written since; remove that, and undo again")
    except ShosoError as error:
        account.fail(item, error)
    else:
        if await estate.database.write(claims.give_back, claim):
            account.went(item, found.objects, found.bytes)
        else:
            account.refuse(item, "gc apply put more of it there meanwhile; undo again when that has ended")


class _InTheWayError(Exception):
    """An object has the key that another one is to have again."""


async def _moved_back(shelf: Shelf) -> Contents:
    """Move everything of an item out of the trash."""
    found, batch, store = Contents(), list[Move](), shelf.place.store
    empty = not (await is_folder(store, shelf.origin.key) or await _is_object(shelf.origin))
    async for meta in objects(shelf.place):
        back = shelf.back(meta.key)
        if not empty and await _is_in_the_way(store, back, meta):
            raise _InTheWayError(back)
        found.add(shelf.place, meta)
        batch.append((meta.key, back))
        if len(batch) == DELETE_BATCH:
            await store.move(batch)
            batch = []
    await store.move(batch)
    return found


async def _require_all(claim: Claim, shelf: Shelf, found: Contents) -> None:
    """Raise NOT_FOUND where fewer came back than went to the trash, and weren't back already."""
    wanted = claim.objects or 0
    if found.objects < wanted and (there := (await contents(shelf.origin)).objects) < wanted:
        raise TrackingError(ErrorKind.NOT_FOUND, missing(claim, there))


async def _is_in_the_way(store: Store, back: Key, shelved: ObjectMeta) -> bool:
    """Whether there is another object: a storage that moves by copies may have been killed after the copy."""
    try:
        there = await store.stat(back)
    except NotFound:
        return False
    if there.size != shelved.size:
        return True
    here, aside = [_digest(read) for read in await read_digests(store, [there, shelved])]
    return here != aside


def _digest(read: Digested | StoreError) -> str:
    if isinstance(read, StoreError):
        raise read
    return read.actual


async def _is_object(place: Place) -> bool:
    return bool(place.key) and await exists(place.store, place.key)
