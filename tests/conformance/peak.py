"""How much memory a large object takes: prints the growth of the peak in KiB, of a write and of a read.

python -m tests.conformance.peak SUBJECT DRESS FOLDER BYTES
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path

from tests.conformance.sources import Endless
from tests.conformance.subjects import opened

from shoso.core.keys import Key
from shoso.core.store import Store, read_bytes
from shoso.core.streams import BytesSource

KEY = Key("large")


def resident(field: str) -> int:
    """VmRSS, what is in memory now, or VmHWM, the most that ever was, in KiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def forget_peak() -> int:
    """Begin a new peak; what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


async def written(store: Store, size: int) -> int:
    """The growth while an object of that size is written, its size announced to nobody."""
    start = forget_peak()
    meta = await store.write(KEY, Endless(size, announced=False))
    assert meta.size == size
    return resident("VmHWM") - start


async def read(store: Store, size: int) -> int:
    """The growth while it is read."""
    start, seen = forget_peak(), 0
    async with await store.read(KEY) as reading:
        async for data in reading.body:
            seen += len(data)
    assert seen == size
    return resident("VmHWM") - start


async def measure(subject: str, dress: str, folder: str, size: int) -> dict[str, int]:
    """Both, after a small object has set everything up."""
    async with opened(subject, dress, Path(folder)) as fresh:
        await fresh.store.write(Key("small"), BytesSource(b"."))
        await read_bytes(fresh.store, Key("small"))
        growth = {"written": await written(fresh.store, size), "read": await read(fresh.store, size)}
        await fresh.store.delete([KEY])  # its server may keep it in memory
        return growth


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(*sys.argv[1:4], int(sys.argv[4])))))  # noqa: T201
