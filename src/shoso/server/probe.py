"""The destination, tried out before the server answers anybody: put, get, list, delete."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from shoso.core import mounted
from shoso.core.keys import Key
from shoso.core.store import Store, read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, ShosoError
from shoso.metadata import objects
from shoso.server.locations import Locations, parsed
from shoso.server.services import open_database
from shoso.settings import ServerSettings

PATIENCE = 30
"""Seconds for all of it: somebody waits for the server to start."""

LAST_TRY = 5
"""Seconds to take back what a failed trial may have left."""

CONTENT = b"Shoso tries out its artifacts destination; this object may be deleted.\n"

T = TypeVar("T")

_SETTING = "--artifacts-destination"


async def check_destination(settings: ServerSettings) -> None:
    """Write, read, list and delete an object of a new name. Raises ConfigError that says what failed.

    A folder that isn't there is made, unless artifacts were stored in it.
    """
    if not settings.serve_artifacts:
        return
    await _require_mounted(settings)
    locations = Locations(settings)
    try:
        async with asyncio.timeout(PATIENCE):
            await _try_out(locations.destination, Key(f"shoso-probe-{secrets.token_hex(8)}"))
    except TimeoutError:
        name = locations.destination.info.name
        raise ConfigError(_SETTING, f"{name} gave no answer for {PATIENCE} s; is it reachable?") from None
    finally:
        await locations.close()


async def _require_mounted(settings: ServerSettings) -> None:
    """Raise ConfigError for a folder that is missing or empty although something is recorded to be in it."""
    uri = settings.artifacts_destination
    root = parsed(_SETTING, uri).name
    if settings.artifacts_only or not await asyncio.to_thread(mounted.is_bare, uri):
        return
    database = await asyncio.to_thread(open_database, settings)
    try:
        if await database.read(objects.is_root, root):
            raise mounted.bare(_SETTING, uri)
    finally:
        await database.close()


async def _try_out(store: Store, folder: Key) -> None:
    key = Key(f"{folder}/object")
    try:
        await _exercise(store, folder, key)
    except BaseException:
        with suppress(ShosoError, TimeoutError):
            async with asyncio.timeout(LAST_TRY):
                await store.delete([key])
        raise


async def _exercise(store: Store, folder: Key, key: Key) -> None:
    await _step("written", key, store.write(key, BytesSource(CONTENT)))
    if await _step("read", key, read_bytes(store, key)) != CONTENT:
        raise ConfigError(_SETTING, f"the test object '{key}' came back changed.")
    if key not in await _step("listed", key, _listed(store, folder)):
        raise ConfigError(_SETTING, f"the test object '{key}' was written and isn't listed.")
    await _step("deleted", key, store.delete([key]))


async def _listed(store: Store, folder: Key) -> list[Key]:
    return [entry.key async for entry in store.list(folder)]


async def _step(done: str, key: Key, call: Awaitable[T]) -> T:
    try:
        return await call
    except ShosoError as error:
        raise ConfigError(_SETTING, f"the test object '{key}' couldn't be {done}: {error.message}") from None
