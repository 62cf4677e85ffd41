"""Checking an estate: the database against the stores, and the stores against the database.

    found = await check(estate, asked, tell)      `tell` gets every finding as soon as it is sure

findings     what can be wrong, and what became of it
records      the server's record of objects against the stores
rows         versions, models, runs and aliases against what they refer to
leftovers    what nobody refers to, or goes on with
data         every byte, or a share of them, against the digests; `progress` knows what was read before
repairs      what is damaged or missing, fetched from a copy of the storage

Whatever seems wrong is looked at once more before it is told: clients go on writing and deleting meanwhile.
"""

from __future__ import annotations

from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import data, leftovers, records, rows
from shoso.maintenance.fsck.findings import Asked, Report, Tell, Totals
from shoso.maintenance.fsck.repairs import Copies
from shoso.maintenance.inventory import Inventory


async def check(estate: Estate, asked: Asked, tell: Tell) -> Totals:
    """What was found and done. Raises ConfigError, StoreError, TrackingError: then it isn't finished."""
    async with Inventory.taken(estate) as inventory:
        copies = Copies(await estate.copy(asked.source), asked.source) if asked.source else None
        report = Report(asked, tell, copies)
        report.totals.objects, report.totals.bytes = inventory.amount()
        report.totals.unchecked = inventory.outside
        await records.check(inventory, report)
        await rows.check(inventory, report)
        await leftovers.check(inventory, report)
        if asked.data is not None:
            await data.check(inventory, report, asked.data)
        return report.totals
