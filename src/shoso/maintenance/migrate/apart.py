"""Whether two places are apart: what is written at one doesn't appear at the other.

Names can't tell: a folder is mounted twice, a storage has two addresses, a server is on this very disk. The
copy of such a move is the original, and whoever deletes one has none.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from shoso.client.places import Place
from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.store import exists
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, ShosoError
from shoso.maintenance.migrate.renaming import Renaming

LAST_TRY = 5
"""Seconds to take back what a failed trial may have left."""

CONTENT = b"Shoso looks whether two storages are one; this object may be deleted.\n"


async def require_apart(renaming: Renaming, source: Place, target: Place) -> None:
    """Write an object of a new name at the target for a moment. Raises ConfigError if the source has it, too.

    Raises StoreError where the target can't be written to, or the source can't be read.
    """
    name = Key(f"shoso-probe-{secrets.token_hex(8)}")
    key = keys.join(target.key, name)
    try:
        await target.store.write(key, BytesSource(CONTENT))
        same = await exists(source.store, keys.join(source.key, name))
    except BaseException:
        with suppress(ShosoError, TimeoutError):
            async with asyncio.timeout(LAST_TRY):
                await target.store.delete([key])
        raise
    await target.store.delete([key])
    if same:
        raise _one_place(renaming)


def _one_place(renaming: Renaming) -> ConfigError:
    message = (
        f"'{shown(renaming.target)}' and --from '{shown(renaming.source)}' are one place by two names: what"
        " is written at one appears at the other, so the artifacts have no copy; nothing was deleted. Name"
        " another place, or end a move that has begun with shoso migrate rollback."
    )
    return ConfigError("--to", message)
