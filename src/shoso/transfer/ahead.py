"""A listing taken a page ahead, so that both ends list at once, and while what was found is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from shoso.core.streams import closing

PAGE = 500
"""Entries that are asked for ahead; as many again may be waiting to be looked at."""

T = TypeVar("T")


class Ahead(Generic[T]):
    """The same entries; the first ones are asked for at once. Whoever leaves it closes it."""

    def __init__(self, stream: AsyncIterator[T]) -> None:
        self._stream = stream
        self._coming = asyncio.create_task(_page(stream))

    async def __aiter__(self) -> AsyncIterator[T]:
        while page := await self._coming:
            self._coming = asyncio.create_task(_page(self._stream))
            for entry in page:
                yield entry

    async def aclose(self) -> None:
        """Ask for no more."""
        async with closing(self._stream):
            self._coming.cancel()
            await asyncio.gather(self._coming, return_exceptions=True)


async def _page(stream: AsyncIterator[T]) -> list[T]:
    page: list[T] = []
    async for entry in stream:
        page.append(entry)
        if len(page) == PAGE:
            break
    return page
