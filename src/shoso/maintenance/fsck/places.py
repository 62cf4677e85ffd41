"""Whether anything is at a recorded location."""

from __future__ import annotations

import asyncio

from shoso.core import locations
from shoso.core.keys import Key
from shoso.core.locations import local_path
from shoso.core.store import Store, exists, is_folder
from shoso.errors import ShosoError
from shoso.maintenance.inventory import Inventory


async def is_there(inventory: Inventory, location: str, path: str = "") -> bool | None:
    """Whether there is an object, or a folder with any; None for what can't be looked at from here.

    What the inventory doesn't have is looked for once more: it may have been written since. Raises StoreError
    of the inventory's own stores.
    """
    where = locations.below(location, path) if path else location
    if (found := inventory.find(where)) is None:
        return await _elsewhere(inventory, where)
    at, key = found
    return inventory.holds(at, key) or await _holds(inventory.roots[at].plain, key)


async def _holds(store: Store, key: Key) -> bool:
    return bool(key and await exists(store, key)) or await is_folder(store, key)


async def _elsewhere(inventory: Inventory, location: str) -> bool | None:
    """Outside of the roots; a path is perhaps another machine's."""
    try:
        if locations.is_local(location):
            return await asyncio.to_thread(local_path(location).exists) or None
        place = await inventory.estate.place(location)
        return await _holds(place.store, place.key)
    except (ShosoError, OSError, ValueError):
        return None
