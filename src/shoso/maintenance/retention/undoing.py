"""Undoing a plan of retention: what it marked is active again, unless gc has begun with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from shoso.errors import Kind as ErrorKind
from shoso.errors import TrackingError
from shoso.maintenance.estate import Estate
from shoso.maintenance.gc.account import Account
from shoso.maintenance.plans import Item, Retention, require
from shoso.maintenance.report import Told
from shoso.metadata import holdings, models, runs
from shoso.metadata.connect import Database
from shoso.metadata.holdings import Holding, Kind, Wanted
from shoso.wire.requests import LoggedModelById

BATCH = 200
"""Items that are restored at once; their transactions share commits."""


async def undo(estate: Estate, plan: Retention, items: Iterable[Item], told: Told) -> Account:
    """Restore what the plan has; `gone` counts what is active.

    Raises ConfigError for a plan of another database, TrackingError where the database fails.
    """
    require(plan, estate.settings.backend_store_uri)
    done = Account(plan.id)
    left = iter(items)
    while batch := [*islice(left, BATCH)]:
        there = {one.id: one for kind in (Kind.RUN, Kind.MODEL) for one in await _there(estate, kind, batch)}
        await asyncio.gather(*(_undo(estate.database, plan, item, there, done) for item in batch))
        told.done(len(batch))
    return done


async def _there(estate: Estate, kind: Kind, items: Iterable[Item]) -> list[Holding]:
    wanted = Wanted([item.id for item in items if item.kind == kind])
    return await estate.database.read(holdings.page, kind, wanted)


async def _undo(
    database: Database, plan: Retention, item: Item, there: dict[str, Holding], done: Account
) -> None:
    found = there.get(item.id)
    if found is None:
        done.refuse(item, "it is gone: gc has deleted it")
    elif not found.deleted:
        done.gone += 1
    elif found.since is not None and found.since < plan.made:
        done.refuse(item, "it was deleted before the plan was made")
    else:
        await _restore(database, item, done)


async def _restore(database: Database, item: Item, done: Account) -> None:
    try:
        if item.kind == Kind.RUN:
            await database.write(runs.restore, item.id)
        else:
            await database.write(models.restore, LoggedModelById(item.id))
    except TrackingError as error:
        if error.kind not in {ErrorKind.INVALID, ErrorKind.NOT_FOUND}:
            raise
        done.refuse(item, error.message)
    else:
        done.went(item, item.objects, item.bytes)
