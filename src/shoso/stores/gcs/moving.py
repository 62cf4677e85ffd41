"""A move: Google rewrites the object in the bucket, in as many calls as it asks for, then the old one goes.

What the calls before the last have rewritten is nobody's to see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shoso.core.keys import Key
from shoso.errors import Kind, NotFound, StoreError

if TYPE_CHECKING:
    from shoso.stores.gcs.store import GcsStore

_GONE = {Kind.NOT_FOUND, Kind.CHANGED}


class _Rewritten(msgspec.Struct, rename="camel"):
    """How far it is."""

    done: bool = False
    rewrite_token: str = ""


class Mover:
    """Moves objects of a store."""

    def __init__(self, store: GcsStore) -> None:
        self._store, self._api = store, store.api

    async def move(self, key: Key, target: Key) -> None:
        """Move the object; done where it has been moved before. Raises NOT_FOUND, CHANGED."""
        source, name = self._store.name("move", key), self._store.name("move", target)
        try:
            generation = (await self._store.item("move", key, source)).generation
            await self._rewrite(target, source, name, generation)
            await self._store.remove("move", key, source, generation)
        except StoreError as error:
            if error.kind not in _GONE or await self._is(key, source) or not await self._is(target, name):
                raise

    async def _rewrite(self, target: Key, source: str, name: str, generation: int) -> None:
        place = self._api.objects(name).removeprefix(self._api.endpoint).removeprefix("/storage/v1")
        url = f"{self._api.objects(source)}/rewriteTo{place}"
        query = {"ifSourceGenerationMatch": str(generation)}
        while True:
            state = await self._api.ask(_Rewritten, "move", target, "POST", url, query)
            if state.done:
                return
            query["rewriteToken"] = state.rewrite_token

    async def _is(self, key: Key, name: str) -> bool:
        try:
            await self._store.item("move", key, name)
        except NotFound:
            return False
        return True
