"""How much memory a copy takes: prints the growth of the peak in KiB.

python -m tests.transfer.peak many|large|medium|small
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from tests.conformance.peak import forget_peak, resident
from tests.conformance.sources import Endless

from shoso.core.keys import Key
from shoso.core.store import StoreInfo
from shoso.core.types import ALL, Capabilities, Digests, ObjectMeta, Part, Reading, UploadRef, span
from shoso.layers import standard
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy, Selection, copy

MIB = 1 << 20
SHAPES = {
    "many": (100_000, 10),
    "large": (1, 400 * MIB),
    "medium": (60, 6 * MIB),
    "small": (2000, 200 * 1024),
}
"""Objects, and bytes of each."""


class Plenty(MemoryStore):
    """Objects made as they are asked for."""

    batches = None
    capabilities = Capabilities(digests=Digests.NONE)

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.info = StoreInfo("plenty", f"plenty-{count}")
        self._count, self._size = count, size

    def _meta(self, key: Key) -> ObjectMeta:
        return ObjectMeta(key, self._size, 1.0, f"{key}-etag")

    async def stat(self, key) -> ObjectMeta:
        return self._meta(key)

    async def read(self, key, wanted=ALL, if_match=None) -> Reading:
        start, stop = span(wanted, self._size)
        return Reading(self._meta(key), start, stop, Endless(stop - start, MIB).open())

    async def list(self, prefix, deep=False, after=None) -> AsyncIterator[ObjectMeta]:
        for number in range(self._count):
            if number % 1000 == 0:
                await asyncio.sleep(0)  # a page
            yield self._meta(Key(f"folder-{number // 1000:06}/object-{number:09}"))


class Sink(Plenty):
    """Takes everything and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(0, 0)
        self._uploads = self

    async def write(self, key, source, mode=None, content_type=None) -> ObjectMeta:
        return ObjectMeta(key, await self._taken(source), 1.0)

    async def begin(self, key, *more) -> UploadRef:
        return UploadRef(key, "id")

    async def put(self, ref, number, source) -> Part:
        return Part(number, await self._taken(source), "etag")

    async def finish(self, ref, parts, digest=None) -> ObjectMeta:
        return ObjectMeta(ref.key, sum(part.size for part in parts), 1.0)

    async def _taken(self, source) -> int:
        size = 0
        async for data in source.open():
            size += len(data)
            await asyncio.sleep(0)
        return size


async def measure(shape: str) -> int:
    """The growth while it's copied; of so many that copying takes long, while they are listed and planned."""
    count, size = SHAPES[shape]
    ends = standard(Plenty(count, size)), standard(Sink())
    await copy(standard(Plenty(3, size)), ends[1], Selection())
    start = forget_peak()
    report = await copy(*ends, Selection(), Policy(dry_run=shape == "many"))
    assert (report.copied, report.sent) == (count, count * size)
    return resident("VmHWM") - start


if __name__ == "__main__":
    print(asyncio.run(measure(sys.argv[1])))  # noqa: T201
