"""Listings beside each other: the entries of two as one, each once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from shoso.core.store import order
from shoso.core.streams import closing
from shoso.core.types import Entry


async def merged(here: AsyncIterator[Entry], there: AsyncIterator[Entry]) -> AsyncIterator[Entry]:
    """Both, which come in the order of keys, in that order; what is in both is shown as it is here."""
    async with closing(here), closing(there):
        other = await anext(there, None)
        async for entry in here:
            while other is not None and order(other) < order(entry):
                yield other
                other = await anext(there, None)
            if other is not None and order(other) == order(entry):
                other = await anext(there, None)
            yield entry
        while other is not None:
            yield other
            other = await anext(there, None)


async def gathered(here: AsyncIterator[Entry], there: AsyncIterator[Entry]) -> AsyncIterator[Entry]:
    """The same where one has no order: all of it is in memory, and then comes in order."""
    async with closing(here), closing(there):
        found = {order(entry): entry async for entry in there}
        found |= {order(entry): entry async for entry in here}
    for place in sorted(found):
        yield found[place]


async def chained(several: Iterable[AsyncIterator[Entry]]) -> AsyncIterator[Entry]:
    """One after the other, and nothing twice that comes twice in a row."""
    last = ""
    for one in several:
        async with closing(one):
            async for entry in one:
                if order(entry) != last:
                    yield entry
                last = order(entry)
