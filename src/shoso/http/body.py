"""A source on its way to a server: measured and digested as it passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

from shoso.core.digest import SIZE, Digester
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, Source, closing, confirm
from shoso.errors import Kind, StoreError, store_error
from shoso.http.credentials import Headers


class Body:
    """The bytes of a source; with `trailer`, the raw digest behind them.

    What isn't what was announced or claimed never gets its last byte, so that nobody keeps it.
    """

    trailer: ClassVar[bool] = False

    def __init__(self, key: Key, source: Source) -> None:
        self._key = key
        self._source = source
        self.digester = Digester()
        self.failure: Exception | None = None

    def headers(self) -> Headers:
        """What announces it."""
        if self._source.size is None:
            return {}
        return {"content-length": str(self._source.size + SIZE * self.trailer)}

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async with closing(self._checked()) as buffers:
                async for data in buffers:
                    yield data
        except Exception as error:
            self.failure = error  # aiohttp would hide it in an error of the connection
            raise

    async def _checked(self) -> AsyncIterator[bytes]:
        self.digester = Digester()
        held: bytes | None = None
        async with closing(self._source.open()) as buffers:
            async for data in buffers:
                taken = bytes(data)
                await self._take(taken)
                if held:
                    yield held
                held = taken
        self._confirm()
        if held:
            yield held
        if self.trailer:
            yield bytes.fromhex(self.digester.hex())

    async def _take(self, data: bytes) -> None:
        announced = self._source.size
        if announced is not None and self.digester.size + len(data) > announced:
            raise self._incomplete(f"more than {announced}")
        if len(data) >= CHUNK:
            await asyncio.to_thread(self.digester.update, data)
        else:
            self.digester.update(data)

    def _confirm(self) -> None:
        if self._source.size not in {None, self.digester.size}:
            raise self._incomplete(f"{self.digester.size}")
        confirm(self._key, self._source, self.digester.hex())

    def _incomplete(self, there: str) -> StoreError:
        message = f"'{self._key}' has {there} bytes where {self._source.size} were announced."
        return store_error(Kind.INCOMPLETE, message, op="write", key=self._key)
