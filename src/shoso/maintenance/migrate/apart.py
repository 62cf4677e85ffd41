"""Whether two places are apart: what is written at one doesn't appear at the other, or in a folder of it.

Names can't tell: a folder is mounted twice, a storage has two addresses, a server is on this very disk. The
copy of such a move is the original, and whoever deletes one has none. So an object is written at the target
for a moment, and mustn't be seen from the source: neither there, nor where it would be if one of them lay in
the other. Two names of one folder differ at their beginnings, so the path from one to the other is the end of
the inner one's name. Of a folder that is mounted by itself under a name of its own, Linux tells.
"""

from __future__ import annotations

import asyncio
import os.path
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from shoso.client.places import Place
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.store import Store, exists, is_folder
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, Forbidden, ShosoError
from shoso.maintenance.migrate.renaming import Renaming, overlap
from shoso.stores.local.mounts import on_device

LAST_TRY = 5
"""Seconds to take back what a failed trial may have left."""

CONTENT = b"Shoso looks whether two storages are one; this object may be deleted.\n"


async def require_apart(renaming: Renaming, source: Place, target: Place) -> None:
    """Write an object of a new name at the target for a moment. Raises ConfigError if the source has it, too.

    Raises StoreError where the target can't be written to, or the source can't be read.
    """
    name = Key(f"shoso-probe-{secrets.token_hex(8)}")
    inner = [keys.join(target.key, path) for path in _ends(source)]
    folders = [target.key, *[path for path in inner if await _is_folder(target.store, path)]]
    async with _written(target, [keys.join(folder, name) for folder in folders]):
        looked = [source.key, *(keys.join(source.key, path) for path in _ends(target))]
        same = any([await exists(source.store, keys.join(folder, name)) for folder in looked])
    if same or _is_mounted_inside(source, target):
        raise _one_place(renaming)


async def _is_folder(store: Store, key: Key) -> bool:
    """Whether it is seen to be one."""
    with suppress(Forbidden):
        return await is_folder(store, key)
    return False


@asynccontextmanager
async def _written(place: Place, probes: Sequence[Key]) -> AsyncIterator[None]:
    """With these objects there."""
    try:
        for key in probes:
            await place.store.write(key, BytesSource(CONTENT))
        yield
    except BaseException:
        with suppress(ShosoError, TimeoutError):
            async with asyncio.timeout(LAST_TRY):
                await place.store.delete(probes)
        raise
    await place.store.delete(probes)


def _ends(place: Place) -> list[Key]:
    """The ends of its path, by whole segments."""
    name = place.store.info.name
    path = name.partition("://")[2].partition("/")[2] if "://" in name else name
    segments = [each for each in f"{path}/{place.key}".split("/") if each]
    return [Key("/".join(segments[at:])) for at in range(len(segments))]


def _is_mounted_inside(source: Place, target: Place) -> bool:
    """Whether both are folders of this machine, and one lies in the other by whatever mounts."""
    names = [place.store.info.name for place in (source, target)]
    if not all(locations.is_local(name) for name in names):
        return False
    paths = [
        os.path.realpath(os.path.join(name, place.key))  # noqa: PTH118
        for name, place in zip(names, (source, target), strict=True)
    ]
    first, second = map(on_device, paths)
    return overlap(Key(first), Key(second))


def _one_place(renaming: Renaming) -> ConfigError:
    message = (
        f"'{shown(renaming.target)}' and --from '{shown(renaming.source)}' are one place by two names, or one"
        " lies in the other: what is written at one appears at the other, so the artifacts have no copy;"
        " nothing was deleted. Name another place, or end a move that has begun with shoso migrate rollback."
    )
    return ConfigError("--to", message)
