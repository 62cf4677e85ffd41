"""`python -m benchmarks.gcs`: the Cloud Storage store beside Google's own client, on an emulator in memory.

Rounds alternate, figures are medians in seconds; "cpu" is the processor time of this process alone. The
emulator has no XML API, so Google's transfer manager can't send one file in parts: its upload is one stream,
as MLflow's is. Nor do Google's batches work on it: its deletes are single ones, 32 at once.
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

from google.cloud import storage
from google.cloud.storage import transfer_manager
from requests.adapters import HTTPAdapter
from tests.servers import gcs

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import BytesSource, StreamSource
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
SMALL = b"x" * 4096
WORKERS = 32
PARTS = 8

Step = Callable[[], Awaitable[None]]


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
        with (self._folder / "ours").open("wb") as file:
            async with await self._store.read(Key("ours/large")) as reading:
                async for data in reading.body:
                    file.write(data)

    async def put_small(self, count: int) -> None:
        """Many, as many at once as the store allows."""
        await asyncio.gather(
            *(self._store.write(Key(f"ours/small/{n}"), BytesSource(SMALL)) for n in range(count))
        )

    async def get_small(self, count: int) -> None:
        """The same back."""

        async def get(number: int) -> None:
            async with await self._store.read(Key(f"ours/small/{number}")) as reading:
                async for _ in reading.body:
                    pass

        await asyncio.gather(*(get(n) for n in range(count)))

    async def delete_small(self, count: int) -> None:
        """All of them."""
        await self._store.delete([Key(f"ours/small/{n}") for n in range(count)])


class Theirs:
    """Google's client, its transfer manager with threads."""

    name = "google-cloud-storage"

    def __init__(self, bucket: storage.Bucket, folder: Path) -> None:
        self._bucket, self._folder = bucket, folder
        adapter = HTTPAdapter(pool_connections=WORKERS, pool_maxsize=WORKERS)
        bucket.client._http.mount("http://", adapter)  # noqa: SLF001  (as Google's docs say to)

    async def put_large(self, path: Path) -> None:
        """A file, in one stream."""
        await asyncio.to_thread(self._bucket.blob("theirs/large").upload_from_filename, str(path))

    async def get_large(self) -> None:
        """Back into a file, eight ranges of 32 MiB at once."""
        blob = self._bucket.blob("theirs/large")
        await asyncio.to_thread(
            transfer_manager.download_chunks_concurrently, blob, str(self._folder / "theirs"),
            worker_type=transfer_manager.THREAD, max_workers=PARTS, crc32c_checksum=True,
        )  # fmt: skip

    async def put_small(self, count: int) -> None:
        """Many, 32 at once."""
        path = self._folder / "small"
        path.write_bytes(SMALL)
        pairs = [(str(path), self._bucket.blob(f"theirs/small/{n}")) for n in range(count)]
        await asyncio.to_thread(
            transfer_manager.upload_many, pairs, worker_type=transfer_manager.THREAD, max_workers=WORKERS,
            raise_exception=True,
        )  # fmt: skip

    async def get_small(self, count: int) -> None:
        """The same back."""
        target = str(self._folder / "small-back")
        pairs = [(self._bucket.blob(f"theirs/small/{n}"), f"{target}-{n % WORKERS}") for n in range(count)]
        await asyncio.to_thread(
            transfer_manager.download_many, pairs, worker_type=transfer_manager.THREAD, max_workers=WORKERS,
            raise_exception=True,
        )  # fmt: skip

    async def delete_small(self, count: int) -> None:
        """All of them."""

        def delete() -> None:
            with ThreadPoolExecutor(WORKERS) as pool:
                blobs = [self._bucket.blob(f"theirs/small/{number}") for number in range(count)]
                list(pool.map(storage.Blob.delete, blobs))

        await asyncio.to_thread(delete)


async def timed(step: Awaitable[None]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    clock, processor = time.perf_counter(), time.process_time()
    await step
    return time.perf_counter() - clock, time.process_time() - processor


async def contest(name: str, steps: dict[str, Step], rounds: int) -> None:
    """Run in turns and print the medians."""
    taken: dict[str, list[tuple[float, float]]] = {who: [] for who in steps}
    for number in range(rounds):
        for who in sorted(steps, reverse=number % 2 == 1):
            taken[who].append(await timed(steps[who]()))
    medians = {
        who: [statistics.median(column) for column in zip(*times, strict=True)]
        for who, times in taken.items()
    }
    ours, theirs = medians[Ours.name][0], medians[Theirs.name][0]
    figures = "  ".join(f"{who} {clock:.2f} s (cpu {cpu:.2f})" for who, (clock, cpu) in medians.items())
    print(f"{name:<22} {figures}  {theirs / ours:.2f}x", flush=True)


async def main() -> None:
    """Every row."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-gcs-") as name:
        folder, target = Path(name), gcs.fresh()
        store = standard(open_store(target.uri, target.environment))
        path = folder / "large"
        path.write_bytes(os.urandom(MIB) * options.mib)
        both = (Ours(store, folder), Theirs(gcs.bucket(), folder))
        rows: dict[str, Callable[[Ours | Theirs], Awaitable[None]]] = {
            f"put {options.mib} MiB": lambda it: it.put_large(path),
            f"get {options.mib} MiB": lambda it: it.get_large(),
            f"put {options.small} x 4 KiB": lambda it: it.put_small(options.small),
            f"get {options.small} x 4 KiB": lambda it: it.get_small(options.small),
        }
        for row, step in rows.items():
            await contest(row, {it.name: lambda it=it, step=step: step(it) for it in both}, options.rounds)
        for it in both:
            await it.put_small(options.deletes)
        row = f"delete {options.deletes}"
        await contest(row, {it.name: lambda it=it: it.delete_small(options.deletes) for it in both}, 1)
        await store.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gcs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--small", type=int, default=2000)
    parser.add_argument("--deletes", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
