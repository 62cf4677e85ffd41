"""`python -m benchmarks.sftp`: the SFTP store beside OpenSSH's own `sftp`, on one server of OpenSSH's.

Rounds alternate, figures are medians in seconds; each step makes its own connection. "cpu" is the processor
time of the client alone. `put -f` syncs what it has put, as the store does; `put` alone doesn't. The listing
is compared with MLflow's way, one listing and then two questions an entry, one after another on one
connection (by asyncssh; MLflow uses paramiko).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import stat
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import uvloop
from tests.servers import sshd
from tests.servers.processes import Facts, program

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.streams import StreamSource
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
LARGE = Key("large")
Step = Callable[[], Awaitable[None]]


class Ours:
    """The store under its standard layers, opened anew for each step."""

    def __init__(self, facts: Facts, root: Path) -> None:
        self._uri = f"sftp://127.0.0.1:{facts['port']}{root}"
        self._environment = {"SHOSO_SFTP_CONFIG": facts["config"]}

    async def within(self, work: Callable[[Store], Awaitable[None]]) -> None:
        """Do this with a new store."""
        bare = open_store(self._uri, self._environment)
        await work(standard(bare))
        await bare.close()

    async def put(self, path: Path) -> None:
        """A file."""

        async def work(store: Store) -> None:
            await store.write(LARGE, StreamSource(_blocks(path)))

        await self.within(work)

    async def get(self, path: Path) -> None:
        """Back into a file."""

        async def work(store: Store) -> None:
            with path.open("wb") as file:
                async with await store.read(LARGE) as reading:
                    async for data in reading.body:
                        file.write(data)

        await self.within(work)

    async def list(self, folder: str, count: int) -> None:
        """One folder."""

        async def work(store: Store) -> None:
            assert len([entry async for entry in store.list(Key(folder))]) == count

        await self.within(work)

    async def delete(self, folder: str) -> None:
        """All that is in a folder."""

        async def work(store: Store) -> None:
            await store.delete([entry.key async for entry in store.list(Key(folder), deep=True)])

        await self.within(work)


async def _blocks(path: Path) -> AsyncIterator[bytes]:
    """The file, the next block being read while the last one is sent."""
    with path.open("rb") as file:
        coming = asyncio.ensure_future(asyncio.to_thread(file.read, MIB))
        while data := await coming:
            coming = asyncio.ensure_future(asyncio.to_thread(file.read, MIB))
            yield data


class OpenSsh:
    """The client that comes with every system."""

    def __init__(self, facts: Facts, root: Path) -> None:
        self._command = [program("sftp"), "-q", "-F", facts["config"], "-P", str(facts["port"]), "-b", "-"]
        self._command.append("127.0.0.1")
        self._root = root

    async def run(self, line: str) -> None:
        """One command of its own language."""
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        await process.communicate(line.encode() + b"\n")
        assert process.returncode == 0

    async def put(self, path: Path) -> None:
        """A file."""
        await self.run(f"put {path} {self._root}/theirs")

    async def put_synced(self, path: Path) -> None:
        """A file, synced."""
        await self.run(f"put -f {path} {self._root}/theirs")

    async def get(self, path: Path) -> None:
        """Back into a file."""
        await self.run(f"get {self._root}/theirs {path}")


async def mlflow_listing(facts: Facts, folder: Path) -> None:
    """Listdir, and for each entry isdir and stat, as MLflow's artifact repository has it."""
    async with asyncssh.connect("127.0.0.1", facts["port"], config=[facts["config"]]) as ssh:
        client = await ssh.start_sftp_client()
        for name in await client.listdir(str(folder)):
            if name in {".", ".."}:
                continue
            place = f"{folder}/{name}"
            if not stat.S_ISDIR((await client.stat(place)).permissions or 0):
                await client.stat(place)


def _cpu() -> float:
    """Processor time of this process and of the clients that it has run."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


async def timed(step: Step) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), _cpu()
    await step()
    return time.perf_counter() - clock, _cpu() - processor


async def contest(name: str, steps: dict[str, Step], rounds: int) -> None:
    """Run in turns and print the medians."""
    taken: dict[str, list[tuple[float, float]]] = {who: [] for who in steps}
    for number in range(rounds):
        for who in sorted(steps, reverse=number % 2 == 1):
            taken[who].append(await timed(steps[who]))
    ours = statistics.median(clock for clock, _ in taken["shoso"])
    for who, figures in taken.items():
        clock, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
        every = " ".join(f"{clock:.2f}" for clock, _ in figures)
        print(f"{name:14} {who:12} {clock:7.3f} s, cpu {cpu:6.3f} s; shoso {clock / ours:5.2f}× ({every})")


@contextmanager
def filled(root: Path, count: int) -> Iterator[str]:
    """A folder of so many small files."""
    with tempfile.TemporaryDirectory(dir=root) as folder:
        for number in range(count):
            (Path(folder) / f"{number:06}").write_bytes(b".")
        yield Path(folder).name


async def run(options: argparse.Namespace) -> None:
    """All contests."""
    facts = sshd.server()
    with tempfile.TemporaryDirectory(dir=options.data or facts["data"]) as place:
        root = Path(place)
        ours, theirs, large, back = Ours(facts, root), OpenSsh(facts, root), root / "source", root / "back"
        with large.open("wb") as file:
            for _ in range(options.mib):
                file.write(os.urandom(MIB))
        put = {
            "shoso": lambda: ours.put(large),
            "sftp": lambda: theirs.put(large),
            "sftp -f": lambda: theirs.put_synced(large),
        }
        await contest(f"put {options.mib} MiB", put, options.rounds)
        get = {"shoso": lambda: ours.get(back), "sftp": lambda: theirs.get(back)}
        await contest(f"get {options.mib} MiB", get, options.rounds)
        with filled(root, options.entries) as folder:
            listing = {
                "shoso": lambda: ours.list(folder, options.entries),
                "MLflow's way": lambda: mlflow_listing(facts, root / folder),
            }
            await contest(f"list {options.entries}", listing, options.rounds)
            await contest(f"delete {options.entries}", {"shoso": lambda: ours.delete(folder)}, 1)
            (root / folder).mkdir(exist_ok=True)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sftp", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large file")
    parser.add_argument("--entries", type=int, default=10_000, help="files in the folder")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="where the server keeps the files (in memory)")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
