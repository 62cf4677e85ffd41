"""`python -m benchmarks.fsck`: `shoso fsck` over many objects, and its reading beside the engine's copying.

Objects of 1 KiB, twenty a run, are put below a folder, or (`--s3`) into a bucket of radosgw on BlueStore,
and recorded as a server does it; rows, record and listing are then checked by the command, start-up and all.
For `--data`, large and small objects are read, in turn with a copy of the same into a folder; "ratio" is the
speed of the check over that of the copy. Figures are medians; everything is in the page cache.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.servers import radosgw
from tests.servers.processes import Launcher

from shoso.core import keys
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta
from shoso.layers import standard
from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import check
from shoso.maintenance.fsck.findings import Asked, Data, Finding
from shoso.metadata import experiments, objects, runs
from shoso.metadata.connect import Database
from shoso.stores.folder import open_folder
from shoso.transfer import Selection, copy
from shoso.wire.requests import CreateExperiment, CreateRun

KIB, MIB = 1 << 10, 1 << 20
PER_RUN = 20
AT_ONCE = 32
LARGE = 128 * MIB
SMALL = 64 * KIB


class Made:
    """A database and a storage with runs in it."""

    def __init__(self, folder: Path, location: str, environment: Mapping[str, str]) -> None:
        self.location = location
        self.environment = {
            **environment,
            "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ARTIFACTS_DESTINATION": location,
            "SHOSO_STATE": str(folder / "state"),
        }

    async def fill(self, count: int, size: int) -> None:
        """Put so many objects of that size, twenty a run."""
        uri = self.environment["MLFLOW_BACKEND_STORE_URI"]
        await Database.open(uri, artifact_root="mlflow-artifacts:/").close()
        estate = Estate.open({}, self.environment)
        request = CreateExperiment(f"of {size}", None)
        number = await estate.database.write(experiments.create, request, "mlflow-artifacts:/")
        pending = iter(range(-(-count // PER_RUN)))

        async def work() -> None:
            for at in pending:
                info = (await estate.database.write(runs.create, CreateRun(number))).info
                place = await estate.place(info.artifact_uri)
                names = [keys.join(place.key, f"{n}.bin") for n in range(min(PER_RUN, count - at * PER_RUN))]
                await self._put(estate, names, size)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await estate.close()

    async def _put(self, estate: Estate, names: Sequence[Key], size: int) -> None:
        root = (await estate.roots())[0]
        data = os.urandom(size)
        if not self.location.startswith("/"):
            for name in names:
                await root.store.write(name, BytesSource(data))
            return
        assert root.location is not None
        await asyncio.to_thread(_write, Path(self.location), names, data)
        now = time.time_ns() // 1_000_000
        metas = [entry async for entry in root.plain.list(keys.parent(names[0]), deep=True)]
        rows = [
            objects.row(
                root.location.name, ObjectMeta(meta.key, size, meta.modified, meta.etag, digest(data)), now
            )
            for meta in metas
            if isinstance(meta, ObjectMeta)
        ]
        await estate.database.write(objects.write, rows, [])

    def command(self, *arguments: str) -> float:
        """Seconds of the command, which finds nothing."""
        program = Path(sys.executable).with_name("shoso")
        started = time.perf_counter()
        subprocess.run(
            [program, "fsck", "--ignore", "orphan", *arguments], env={**os.environ, **self.environment},
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - started

    async def checked(self) -> float:
        """Seconds of reading everything, listing included."""
        estate, found = Estate.open({}, self.environment), list[Finding]()
        started = time.perf_counter()
        await check(estate, Asked(data=Data()), found.append)
        seconds = time.perf_counter() - started
        await estate.close()
        if found:
            raise RuntimeError(f"{len(found)} findings, e.g. {found[0]}")
        return seconds

    async def copied(self, to: Path) -> float:
        """Seconds of copying everything into a folder."""
        estate = Estate.open({}, self.environment)
        store = (await estate.roots())[0].plain
        folder = standard(open_folder(to))
        started = time.perf_counter()
        await copy(store, folder, Selection(Key("")))
        seconds = time.perf_counter() - started
        await folder.close()
        await estate.close()
        shutil.rmtree(to)
        return seconds


def _write(root: Path, names: Sequence[Key], data: bytes) -> None:
    """As a client of MLflow's writes them: without a sync."""
    (root / names[0]).parent.mkdir(parents=True)
    for name in names:
        (root / name).write_bytes(data)


async def listed(where: Callable[[str], Made], count: int, rounds: int) -> None:
    """Print how fast rows, record and listing are compared."""
    made = where("listed")
    await made.fill(count, KIB)
    seconds = statistics.median(made.command() for _ in range(rounds))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, peak = (used.ru_utime + used.ru_stime) / rounds, used.ru_maxrss / KIB
    rate = f"{count / seconds:,.0f} objects/s"
    print(f"| {count:,} objects | {seconds:.2f} s (cpu {cpu:.2f}) | {rate} | {peak:.0f} MiB |", flush=True)


async def read(folder: Path, where: Callable[[str], Made], mib: int, rounds: int) -> None:
    """Print how fast bytes are compared, beside a copy of them."""
    for size in (LARGE, SMALL):
        made = where(f"read-{size}")
        count = max(1, mib * MIB // size)
        await made.fill(count, size)
        pairs = [
            (await made.copied(folder / f"copy-{size}-{at}"), await made.checked()) for at in range(rounds)
        ]
        theirs, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(copied / checked for copied, checked in pairs)
        what = f"{count:,} × {size // KIB:,} KiB"
        print(f"| --data, {what} | {ours:.2f} s | copy {theirs:.2f} s | {ratio:.2f}× |", flush=True)


def _places(folder: Path, launcher: Launcher | None) -> Callable[[str], Made]:
    """What makes a storage of that name: on this disk, or a bucket of the gateway's."""
    if launcher is None:
        return lambda name: _on_disk(folder / name)
    gateway = radosgw.started(launcher, "bluestore")
    environment = radosgw.environment(gateway.port)
    client = radosgw.client(gateway.port)

    def made(name: str) -> Made:
        client.create_bucket(Bucket=name)
        (folder / name).mkdir()
        return Made(folder / name, f"s3://{name}", environment)

    return made


def _on_disk(folder: Path) -> Made:
    (folder / "artifacts").mkdir(parents=True)
    return Made(folder, str(folder / "artifacts"), {})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--mib", type=int, default=1024, help="of large, and as much of small objects")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--s3", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-fsck-") as scratch:
        folder = Path(scratch)
        launcher = Launcher("radosgw", folder / "ceph")
        launcher.folder.mkdir()
        try:
            where = _places(folder, launcher if arguments.s3 else None)
            asyncio.run(listed(where, arguments.objects, arguments.rounds))
            if arguments.mib:
                asyncio.run(read(folder, where, arguments.mib, arguments.rounds))
        finally:
            launcher.stop()


if __name__ == "__main__":
    main()
