"""`python -m benchmarks.s3`: the S3 store beside bare obstore and boto3, on Ceph's radosgw with bluestore.

Rounds alternate, figures are medians in seconds; "cpu" is the processor time of this process alone. Shoso
runs under its standard layers, digests and all; the others as their documentation shows, 32 calls at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store
from tests.servers import radosgw
from tests.servers.processes import Launcher

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import BytesSource, StreamSource
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
SMALL = b"x" * 4096
WORKERS = 32
BUCKET = "bench"


async def at_once(count: int, call: Callable[[int], Awaitable[Any]]) -> None:
    """Make the calls of these numbers, 32 at once."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await call(number)

    await asyncio.gather(*(work() for _ in range(WORKERS)))


class Ours:
    """The store under its standard layers."""

    name = "shoso"

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._folder = store, folder

    async def put_large(self, path: Path) -> None:
        """A file."""
        with path.open("rb") as file:

            async def blocks() -> AsyncIterator[bytes]:
                while data := await asyncio.to_thread(file.read, MIB):
                    yield data

            size = os.fstat(file.fileno()).st_size
            await self._store.write(Key("ours/large"), StreamSource(blocks(), size))

    async def get_large(self) -> None:
        """Back into a file."""
        with (self._folder / "back").open("wb") as file:
            async with await self._store.read(Key("ours/large")) as reading:
                async for data in reading.body:
                    file.write(data)

    async def put_small(self, count: int) -> None:
        """Many."""
        await at_once(count, lambda n: self._store.write(Key(f"ours/{n}"), BytesSource(SMALL)))

    async def get_small(self, count: int) -> None:
        """The same back."""

        async def get(number: int) -> None:
            async with await self._store.read(Key(f"ours/{number}")) as reading:
                async for _ in reading.body:
                    pass

        await at_once(count, get)

    async def delete_small(self, count: int) -> None:
        """All of them."""
        await self._store.delete([Key(f"ours/{n}") for n in range(count)])


class Bare:
    """obstore."""

    name = "obstore"

    def __init__(self, store: S3Store, folder: Path) -> None:
        self._store, self._folder = store, folder

    async def put_large(self, path: Path) -> None:
        """A file."""
        await obstore.put_async(self._store, "bare/large", path)

    async def get_large(self) -> None:
        """Back into a file."""
        with (self._folder / "back").open("wb") as file:
            async for data in (await obstore.get_async(self._store, "bare/large")).stream(min_chunk_size=MIB):
                file.write(data)

    async def put_small(self, count: int) -> None:
        """Many."""
        await at_once(count, lambda n: obstore.put_async(self._store, f"bare/{n}", SMALL))

    async def get_small(self, count: int) -> None:
        """The same back."""

        async def get(number: int) -> None:
            await (await obstore.get_async(self._store, f"bare/{number}")).bytes_async()

        await at_once(count, get)

    async def delete_small(self, count: int) -> None:
        """All of them."""
        await obstore.delete_async(self._store, [f"bare/{n}" for n in range(count)])


class Boto:
    """boto3: its transfer manager, and threads."""

    name = "boto3"

    def __init__(self, client: Any, folder: Path) -> None:
        self._client, self._folder = client, folder

    async def put_large(self, path: Path) -> None:
        """A file."""
        await asyncio.to_thread(self._client.upload_file, str(path), BUCKET, "boto/large")

    async def get_large(self) -> None:
        """Back into a file."""
        target = str(self._folder / "back")
        await asyncio.to_thread(self._client.download_file, BUCKET, "boto/large", target)

    async def put_small(self, count: int) -> None:
        """Many."""
        await self._threads(
            count, lambda n: self._client.put_object(Bucket=BUCKET, Key=f"boto/{n}", Body=SMALL)
        )

    async def get_small(self, count: int) -> None:
        """The same back."""
        await self._threads(
            count, lambda n: self._client.get_object(Bucket=BUCKET, Key=f"boto/{n}")["Body"].read()
        )

    async def delete_small(self, count: int) -> None:
        """All of them, a thousand a request."""
        for start in range(0, count, 1000):
            named = [{"Key": f"boto/{n}"} for n in range(start, min(start + 1000, count))]
            await asyncio.to_thread(self._client.delete_objects, Bucket=BUCKET, Delete={"Objects": named})

    async def _threads(self, count: int, call: Callable[[int], Any]) -> None:
        def work() -> None:
            with ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(call, range(count)))

        await asyncio.to_thread(work)


class BotoInTurn(Boto):
    """boto3 as MLflow's client uses it: one object after another."""

    name = "boto3 in turn"

    async def _threads(self, count: int, call: Callable[[int], Any]) -> None:
        await asyncio.to_thread(lambda: [call(number) for number in range(count)])


Contender = Ours | Bare | Boto


async def timed(step: Awaitable[None]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    await step
    return time.perf_counter() - clock, time.process_time() - processor


async def contest(
    row: str, step: Callable[[Contender], Awaitable[None]], all_of: tuple[Contender, ...], rounds: int
) -> None:
    """Run in turns and print the medians."""
    taken: dict[str, list[tuple[float, float]]] = {it.name: [] for it in all_of}
    for number in range(rounds):
        for it in all_of if number % 2 == 0 else all_of[::-1]:
            taken[it.name].append(await timed(step(it)))
    medians = {
        who: [statistics.median(column) for column in zip(*times, strict=True)]
        for who, times in taken.items()
    }
    ours = medians[Ours.name][0]
    print(
        f"{row:<20}",
        "  ".join(
            f"{who} {clock:.2f} s (cpu {cpu:.2f}, {clock / ours:.2f}x)"
            for who, (clock, cpu) in medians.items()
        ),
        flush=True,
    )


async def main(port: int, folder: Path) -> None:
    """Every row."""
    options = _options()
    client = radosgw.client(port, WORKERS)
    client.create_bucket(Bucket=BUCKET)
    store = standard(open_store(f"s3://{BUCKET}", radosgw.environment(port)))
    all_of = (Ours(store, folder), Bare(radosgw.bare(BUCKET, port), folder), Boto(client, folder))
    small = (*all_of, BotoInTurn(client, folder))
    path = folder / "large"
    with path.open("wb") as file:
        for _ in range(options.mib // 16):
            file.write(os.urandom(16 * MIB))
    rows: dict[str, Callable[[Contender], Awaitable[None]]] = {
        f"put {options.mib} MiB": lambda it: it.put_large(path),
        f"get {options.mib} MiB": lambda it: it.get_large(),
        f"put {options.small} x 4 KiB": lambda it: it.put_small(options.small),
        f"get {options.small} x 4 KiB": lambda it: it.get_small(options.small),
    }
    for row, step in rows.items():
        await contest(row, step, small if "x 4" in row else all_of, options.rounds)
    for it in all_of:
        await it.put_small(options.deletes)
    await contest(f"delete {options.deletes}", lambda it: it.delete_small(options.deletes), all_of, 1)
    await store.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--deletes", type=int, default=10_000)
    return parser.parse_args()


def run() -> None:
    """Start the cluster, measure, stop it."""
    import uvloop

    _options()
    with tempfile.TemporaryDirectory(prefix="bench-s3-") as name:
        folder = Path(name)
        launcher = Launcher("radosgw", folder / "ceph")
        launcher.folder.mkdir()
        try:
            gateway = radosgw.started(launcher, "bluestore")
            uvloop.run(main(gateway.port, folder))
        finally:
            launcher.stop()


if __name__ == "__main__":
    run()
