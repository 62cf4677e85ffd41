"""A move: Azure copies the blob, at once or in blocks that appear together, and deletes what it copied.

Its call for copies of any size, Copy Blob, may show an empty blob for as long as it works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, NotFound, StoreError
from shoso.stores.azure.blocks import Blocks, window
from shoso.stores.azure.replies import META
from shoso.stores.azure.signing import Signatures
from shoso.stores.azure.uploads import COPIED, COPIES, READABLE

if TYPE_CHECKING:
    from shoso.stores.azure.store import AzureStore

AT_ONCE = 256 * 1024 * 1024
"""Bytes that Azure copies in one request ("Copy Blob From URL")."""

_GONE = {Kind.NOT_FOUND, Kind.CHANGED}
_PROPERTIES = (
    "content-type", "content-encoding", "content-language", "content-disposition", "cache-control",
    "content-md5",
)  # fmt: skip
_TIER = "x-ms-access-tier"


class Mover:
    """Moves blobs of a store."""

    def __init__(self, store: AzureStore, signatures: Signatures) -> None:
        self._store, self._signatures = store, signatures
        self._client = store.client

    async def move(self, key: Key, target: Key) -> None:
        """Move the object; done where it has been moved before. Raises NOT_FOUND, CHANGED."""
        source, name = self._store.name("move", key), self._store.name("move", target)
        try:
            await self._move(key, source, target, name)
        except StoreError as error:  # Azure calls changed what is gone, too
            if error.kind not in _GONE or await self._is(key, source) or not await self._is(target, name):
                raise

    async def _is(self, key: Key, name: str) -> bool:
        try:
            await self._store.head("move", key, name)
        except NotFound:
            return False
        return True

    async def _move(self, key: Key, source: str, target: Key, name: str) -> None:
        headers = await self._store.head("move", key, source)
        meta = self._store.meta("move", key, headers)
        url = await self._signatures.readable(key, source, READABLE)
        if meta.size <= AT_ONCE:
            await self._at_once(meta, url, target, name, _tier(headers))
        else:
            await self._in_blocks(meta, url, target, name, _described(headers))
        await self._store.remove_version("move", meta, source)

    async def _at_once(
        self, meta: ObjectMeta, url: str, target: Key, name: str, tier: Mapping[str, str]
    ) -> None:
        """Properties and metadata come along."""
        told = {
            "x-ms-requires-sync": "true",
            "x-ms-copy-source": url,
            "x-ms-source-if-match": f'"{meta.etag}"',
        }
        address = self._client.url(name)
        async with self._client.request("move", target, "PUT", address, headers={**told, **tier}, body=[]):
            pass

    async def _in_blocks(
        self, meta: ObjectMeta, url: str, target: Key, name: str, described: Mapping[str, str]
    ) -> None:
        blocks = Blocks(self._client, "move", target, name)
        async with window(COPIES) as copying:
            for start in range(0, meta.size, COPIED):
                stop = min(start + COPIED, meta.size)
                await copying.add(blocks.copy(url, start, stop, meta.etag or ""))
            await copying.empty()
        await blocks.commit(described, meta.size)


def _described(headers: Mapping[str, str]) -> dict[str, str]:
    """What a blob of blocks must be told of the one it's made of."""
    told = {f"x-ms-blob-{name}": headers[name] for name in _PROPERTIES if name in headers}
    told |= {name.lower(): text for name, text in headers.items() if name.lower().startswith(META)}
    return told | _tier(headers)


def _tier(headers: Mapping[str, str]) -> dict[str, str]:
    """The tier, where somebody chose it."""
    chosen = _TIER in headers and headers.get(f"{_TIER}-inferred") != "true"
    return {_TIER: headers[_TIER]} if chosen else {}
