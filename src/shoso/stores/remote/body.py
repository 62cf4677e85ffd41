"""A source on its way to a server: digested as it passes, its digest behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from shoso.core.digest import SIZE, Digester
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, Source, confirm
from shoso.errors import Kind, StoreError, store_error
from shoso.http.credentials import Headers
from shoso.wire.objects import TRAILER_HEADER


class Body:
    """A source on its way to the server: digested as it passes, the digest behind it."""

    def __init__(self, key: Key, source: Source) -> None:
        self._key = key
        self._source = source
        self.digester = Digester()
        self.failure: Exception | None = None

    def headers(self) -> Headers:
        """What announces it."""
        headers = {TRAILER_HEADER: "digest"}
        if self._source.size is not None:
            headers["content-length"] = str(self._source.size + SIZE)
        return headers

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._framed():
                yield data
        except Exception as error:
            self.failure = error  # aiohttp would hide it in an error of the connection
            raise

    async def _framed(self) -> AsyncIterator[bytes]:
        self.digester = Digester()
        announced = self._source.size
        async for data in self._source.open():
            if announced is not None and self.digester.size + len(data) > announced:
                raise self._incomplete(f"more than {announced}")
            if len(data) >= CHUNK:
                await asyncio.to_thread(self.digester.update, data)
            else:
                self.digester.update(data)
            yield bytes(data)
        if announced not in {None, self.digester.size}:
            raise self._incomplete(f"{self.digester.size}")
        confirm(self._key, self._source, self.digester.hex())
        yield bytes.fromhex(self.digester.hex())

    def _incomplete(self, there: str) -> StoreError:
        message = f"'{self._key}' has {there} bytes where {self._source.size} were announced."
        return store_error(Kind.INCOMPLETE, message, op="write", key=self._key)
