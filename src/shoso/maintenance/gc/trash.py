"""What was moved to the trash, brought back."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import DELETE_BATCH, Store, exists, is_folder
from shoso.core.types import ObjectMeta
from shoso.errors import NotFound, ShosoError, StoreError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.contents import Contents, objects, placed
from shoso.maintenance.plans import ORPHAN, Item
from shoso.maintenance.report import Told
from shoso.metadata import claims
from shoso.metadata.claims import Claim
from shoso.metadata.holdings import Kind
from shoso.transfer.reading import Digested, read_digests

KINDS = (*(kind.value for kind in Kind), ORPHAN)


async def undo(estate: Estate, plan: str, told: Told) -> Account:
    """Bring back what the plan of that id moved to the trash, and let it be restored.

    What is in the way of an object, because it was written since, is never replaced: its item stays in the
    trash. Raises TrackingError where the database fails, StoreError where every location does.
    """
    account = Account(plan)
    for kind in KINDS:
        async for claim in _claims(estate, kind, account):
            await _back(estate, claim, account)
            told.done(1)
    return account


async def _claims(estate: Estate, kind: str, account: Account) -> AsyncIterator[Claim]:
    after, folder = "", str(account.folder)
    while page := await estate.database.read(claims.page, kind, plan=account.plan, after=after):
        for claim in page:
            if claim.trash == folder:  # what another plan deletes, as its time is over, isn't brought back
                yield claim
        after = page[-1].id


async def _back(estate: Estate, claim: Claim, account: Account) -> None:
    item, found = Item(claim.kind, claim.id, "", claim.location), Contents()
    if not await estate.database.write(claims.keep, claim):
        account.refuse(item, "it is back by now, or its time in the trash is over and gc is deleting it")
        return
    try:
        if claim.kind != Kind.EXPERIMENT:
            place = await estate.place(claim.location)
            found = await _moved_back(place, claim.trash or "")
    except _InTheWayError as error:
        account.refuse(item, f"'{error}' was written since; remove that, and undo again")
    except ShosoError as error:
        account.fail(item, error)
    else:
        await estate.database.write(claims.release, claim.kind, [claim.id])
        account.went(item, found.objects, found.bytes)


class _InTheWayError(Exception):
    """An object has the key that another one is to have again."""


async def _moved_back(place: Place, trash: str) -> Contents:
    """Move everything of this place out of the trash."""
    found, batch = Contents(), list[Key]()
    empty = not (await is_folder(place.store, place.key) or await _is_object(place))
    async for meta in objects(placed(place, trash)):
        back = Key(keys.below(meta.key, Key(trash)))
        if not empty and await _is_in_the_way(place.store, back, meta):
            raise _InTheWayError(back)
        found.add(place, meta)
        batch.append(back)
        if len(batch) == DELETE_BATCH:
            await _move(place, batch, trash)
            batch = []
    await _move(place, batch, trash)
    return found


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


async def _move(place: Place, back: list[Key], trash: str) -> None:
    await place.store.move([(keys.join(Key(trash), key), key) for key in back])
