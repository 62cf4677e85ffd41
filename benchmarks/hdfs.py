"""`python -m benchmarks.hdfs`: the HDFS store beside bare hdfs-native, on a real NameNode and DataNode.

Both move the same buffers of 1 MiB with the library's asynchronous client; the store also digests what it
sends, writes a draft and renames it, under its standard layers. Rounds alternate, figures are medians in
seconds; "cpu" is the processor time of this process alone. Client, NameNode and DataNode share one machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

from hdfs_native import AsyncClient, WriteOptions
from tests.servers import hdfs

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import BytesSource, StreamSource
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
BLOCK = os.urandom(MIB)
SMALL = b"x" * 4096
AT_ONCE = 32


class Ours:
    """The store under its standard layers."""

    name = "shoso"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put_large(self, mib: int) -> None:
        """One object."""

        async def blocks() -> AsyncIterator[bytes]:
            for _ in range(mib):
                yield BLOCK

        await self._store.write(Key("large"), StreamSource(blocks(), mib * MIB))

    async def get_large(self) -> None:
        """The same back."""
        async with await self._store.read(Key("large")) as reading:
            async for _ in reading.body:
                pass

    async def put_small(self, count: int) -> None:
        """Many, as many at once as the store allows."""
        await asyncio.gather(
            *(self._store.write(Key(f"small/{n}"), BytesSource(SMALL)) for n in range(count))
        )

    async def delete_small(self, count: int) -> None:
        """All of them."""
        await self._store.delete([Key(f"small/{n}") for n in range(count)])


class Theirs:
    """The library alone: no draft, no digest, one file after the other in 32 lanes."""

    name = "hdfs-native"

    def __init__(self, client: AsyncClient, folder: str) -> None:
        self._client, self._folder = client, folder

    async def put_large(self, mib: int) -> None:
        """One file."""
        await self._write("large", [BLOCK] * mib)

    async def get_large(self) -> None:
        """The same back, in the library's stream."""
        reader = await self._client.read(f"{self._folder}/large")
        async for _ in reader.read_range_stream(0, reader.size):
            pass

    async def put_small(self, count: int) -> None:
        """Many."""
        await _lanes([self._write(f"small/{n}", [SMALL]) for n in range(count)])

    async def delete_small(self, count: int) -> None:
        """All of them."""
        await _lanes([self._client.delete(f"{self._folder}/small/{n}") for n in range(count)])

    async def _write(self, name: str, buffers: list[bytes]) -> None:
        writer = await self._client.create(f"{self._folder}/{name}", WriteOptions(overwrite=True))
        for data in buffers:
            await writer.write(data)
        await writer.close()


async def _lanes(work: list[Awaitable[object]]) -> None:
    waiting = iter(work)

    async def lane() -> None:
        for step in waiting:
            await step

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


async def timed(step: Awaitable[None]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    await step
    return time.perf_counter() - clock, time.process_time() - processor


async def contest(name: str, steps: dict[str, Callable[[], Awaitable[None]]], rounds: int) -> None:
    """Run in turns and print the medians."""
    taken: dict[str, list[tuple[float, float]]] = {who: [] for who in steps}
    for number in range(rounds):
        for who in sorted(steps, reverse=number % 2 == 1):
            taken[who].append(await timed(steps[who]()))
    medians = {
        who: [statistics.median(column) for column in zip(*times, strict=True)]
        for who, times in taken.items()
    }
    figures = "  ".join(f"{who} {clock:.2f} s (cpu {cpu:.2f})" for who, (clock, cpu) in medians.items())
    print(f"{name:<22} {figures}  {medians[Theirs.name][0] / medians[Ours.name][0]:.2f}x", flush=True)


async def main() -> None:
    """Every row."""
    options = _options()
    target = hdfs.fresh()
    parts = urlsplit(target.uri)
    store = standard(open_store(target.uri))
    both = (Ours(store), Theirs(AsyncClient(f"hdfs://{parts.netloc}"), f"{parts.path}-bare"))
    rows: dict[str, tuple[int, Callable[[Ours | Theirs], Awaitable[None]]]] = {
        f"put {options.mib} MiB": (options.rounds, lambda it: it.put_large(options.mib)),
        f"get {options.mib} MiB": (options.rounds, lambda it: it.get_large()),
        f"put {options.small} x 4 KiB": (options.rounds, lambda it: it.put_small(options.small)),
        f"put {options.deletes} more": (1, lambda it: it.put_small(options.deletes)),
        f"delete {options.deletes}": (1, lambda it: it.delete_small(options.deletes)),
    }
    for row, (rounds, step) in rows.items():
        await contest(row, {it.name: lambda it=it, step=step: step(it) for it in both}, rounds)
    await store.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hdfs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--deletes", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
