"""`python -m benchmarks.azure`: the Azure store beside bare obstore, both on one Azurite, in turns.

A gibibyte up and down, 2,000 objects of 4 KiB up and down, and as many deleted. Azurite is one process of
node's: what it can't do faster, nobody measures here.
"""

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import obstore
from obstore.store import AzureStore as Obstore
from tests.servers import azurite

from shoso.core.keys import ROOT, Key
from shoso.core.store import Store
from shoso.core.streams import BytesSource
from shoso.core.types import Buffer
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
BLOCK = os.urandom(4 * MIB)
SMALL = os.urandom(4096)
AT_ONCE = 32


class Big:
    """Bytes of that size, made of one block."""

    reopenable = True

    def __init__(self, size: int) -> None:
        self.size = size

    async def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        """The blocks."""
        for _ in range(start, self.size, len(BLOCK)):
            yield BLOCK

    def expected(self) -> str | None:
        """Nobody claims a digest."""
        return None


class Ours:
    """The store under the standard layers, as everybody uses it."""

    name = "shoso"

    def __init__(self) -> None:
        target = azurite.fresh()
        self._store: Store = standard(open_store(target.uri, target.environment))

    async def put_big(self, size: int) -> None:
        """One large object."""
        await self._store.write(Key("big"), Big(size))

    async def get_big(self, size: int) -> None:
        """The same, digest and all."""
        async with await self._store.read(Key("big")) as reading:
            assert sum([len(data) async for data in reading.body]) == size

    async def put_small(self, names: list[str]) -> None:
        """Many small ones."""
        await _all(lambda name: self._store.write(Key(name), BytesSource(SMALL)), names)

    async def get_small(self, names: list[str]) -> None:
        """The same."""
        await _all(self._get, names)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._store.close()

    async def _get(self, name: str) -> None:
        async with await self._store.read(Key(name)) as reading:
            assert sum([len(data) async for data in reading.body]) == len(SMALL)

    async def delete(self, names: list[str]) -> None:
        """All of them."""
        await self._store.delete([Key(name) for name in names])
        assert not [entry async for entry in self._store.list(ROOT, deep=True) if entry.key != "big"]


class Bare:
    """obstore with nothing around it."""

    name = "obstore"

    def __init__(self) -> None:
        self._store = Obstore(
            azurite.container().client.container_name, account_name=azurite.ACCOUNT,
            account_key=azurite.KEY, endpoint=azurite.endpoint(), client_options={"allow_http": True},
        )  # fmt: skip

    async def put_big(self, size: int) -> None:
        """One large object."""
        blocks = (BLOCK for _ in range(0, size, len(BLOCK)))
        await obstore.put_async(self._store, "big", blocks, chunk_size=len(BLOCK), max_concurrency=3)

    async def get_big(self, size: int) -> None:
        """The same."""
        found = await obstore.get_async(self._store, "big")
        assert sum([len(data) async for data in found.stream(min_chunk_size=MIB)]) == size

    async def put_small(self, names: list[str]) -> None:
        """Many small ones."""
        await _all(lambda name: obstore.put_async(self._store, name, SMALL), names)

    async def get_small(self, names: list[str]) -> None:
        """The same."""
        await _all(self._get, names)

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def _get(self, name: str) -> None:
        found = await obstore.get_async(self._store, name)
        assert len(await found.bytes_async()) == len(SMALL)

    async def delete(self, names: list[str]) -> None:
        """All of them; one by one, for Azurite resets the connection of its batches of 256."""
        await _all(lambda name: obstore.delete_async(self._store, name), names)


async def _all(call: Callable[[str], Awaitable[Any]], names: list[str]) -> None:
    """So many at once; obstore's calls begin when they are made, so each is made in its turn."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with room:
            await call(name)

    await asyncio.gather(*(one(name) for name in names))


async def _seconds(call: Awaitable[None]) -> float:
    start = time.perf_counter()
    await call
    return time.perf_counter() - start


async def _round(side: Ours | Bare, number: int, options: argparse.Namespace) -> dict[str, float]:
    size = options.mib * MIB
    names = [f"{number}/{place:05}" for place in range(options.objects)]
    taken = {
        f"put {options.mib} MiB": await _seconds(side.put_big(size)),
        f"get {options.mib} MiB": await _seconds(side.get_big(size)),
        f"put {len(names)} × 4 KiB": await _seconds(side.put_small(names)),
        f"get {len(names)} × 4 KiB": await _seconds(side.get_small(names)),
    }
    more = [f"{number}/more/{place:05}" for place in range(options.deletes - len(names))]
    await side.put_small(more)
    taken[f"delete {options.deletes}"] = await _seconds(side.delete([*names, *more]))
    return taken


async def _contest(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    taken: dict[str, dict[str, list[float]]] = {}
    sides = (Ours(), Bare())
    for number in range(options.rounds):
        for side in sides if number % 2 else reversed(sides):
            for row, seconds in (await _round(side, number, options)).items():
                taken.setdefault(row, {}).setdefault(side.name, []).append(seconds)
    for side in sides:
        await side.close()
    return taken


def main() -> None:
    """Run it and print the medians; above 1 the store is the faster one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.azure", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--deletes", type=int, default=2000)
    taken = asyncio.run(_contest(parser.parse_args()))
    print(f"{'':22}{'shoso':>10}{'obstore':>10}{'obstore / shoso':>18}")
    for row, sides in taken.items():
        ours, bare = (statistics.median(sides[name]) for name in ("shoso", "obstore"))
        print(f"{row:22}{ours:9.2f}s{bare:9.2f}s{bare / ours:18.2f}")


if __name__ == "__main__":
    main()
