"""Asks a store many things at once for some seconds, whatever comes of it; prints how many were answered.

In a process of its own, since a thread that waits with the interpreter's lock held stops everything in it.
"""

from __future__ import annotations

import asyncio
import sys
import time

from shoso.core.keys import Key
from shoso.errors import NotFound, StoreError
from shoso.stores import open_store

AT_ONCE, SECONDS = 32, 3.0


async def answered(uri: str) -> int:
    """How many questions the NameNode answered."""
    store = open_store(uri)
    counts = await asyncio.gather(*(_asked(store, number) for number in range(AT_ONCE)))
    await store.close()
    return sum(counts)


async def _asked(store, number: int) -> int:
    count, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            await store.stat(Key(f"nothing/{number}"))
        except NotFound:
            count += 1
        except StoreError:
            await asyncio.sleep(0)
    return count


if __name__ == "__main__":
    sys.stdout.write(str(asyncio.run(answered(sys.argv[1]))))
