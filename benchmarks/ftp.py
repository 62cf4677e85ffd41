"""`python -m benchmarks.ftp`: the FTP store beside curl, and beside MLflow's way to list and delete.

ProFTPD on this machine, in the clear and over TLS. Rounds alternate, figures are medians in seconds. curl
moves one file by one connection, as the store does; it neither digests nor renames nor compares. MLflow lists
by NLST, then CWD and SIZE for each entry; it deletes nothing, so that a DELE after another stands in for it.
Both once more with a tenth of the entries, and 4 ms there and back, as to a server in another building.
"""

from __future__ import annotations

import argparse
import asyncio
import ftplib
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.servers import ftpd
from tests.servers.faultproxy import FaultProxy
from tests.servers.processes import Facts

from shoso.core.keys import Key
from shoso.core.streams import StreamSource
from shoso.layers import standard
from shoso.stores import open_store

MIB = 1 << 20
LATENCY = 0.002
Step = Callable[[], Awaitable[object]]


class Place:
    """A folder of the server, the store on it, and curl's way to it."""

    def __init__(self, facts: Facts, folder: Path, *, tls: bool = False, port: int = 0) -> None:
        self.folder = folder
        self.port = port or facts["tls_port" if tls else "port"]
        name = "secure" if tls else "plain"
        self.home = Path(facts["home"]) / name
        self.home.mkdir(exist_ok=True)
        scheme = "ftps" if tls else "ftp"
        uri = ftpd.uri({"port": self.port}, scheme, name)
        self.store = standard(open_store(uri, {"SSL_CERT_FILE": facts["certificate"]}))
        self._curl = ["curl", "--silent", "--show-error", "--fail", "--user", f"{ftpd.USER}:{ftpd.PASSWORD}"]
        self._curl += ["--ssl-reqd", "--cacert", facts["certificate"]] if tls else []
        self._base = f"ftp://127.0.0.1:{self.port}/{name}"

    async def put(self, path: Path) -> None:
        """A file, by the store."""
        with path.open("rb") as file:

            async def blocks() -> AsyncIterator[bytes]:
                while data := await asyncio.to_thread(file.read, MIB):
                    yield data

            await self.store.write(Key("ours"), StreamSource(blocks(), os.fstat(file.fileno()).st_size))

    async def get(self) -> None:
        """Back into a file."""
        with (self.folder / "ours").open("wb") as file:
            async with await self.store.read(Key("ours")) as reading:
                async for data in reading.body:
                    await asyncio.to_thread(file.write, data)

    async def curl_put(self, path: Path) -> None:
        """The same file, by curl."""
        await self._run(*self._curl, "--upload-file", str(path), f"{self._base}/theirs")

    async def curl_get(self) -> None:
        """Back into a file."""
        await self._run(*self._curl, "--output", str(self.folder / "theirs"), f"{self._base}/theirs")

    async def listed(self) -> int:
        """How many entries the store finds."""
        return len([entry async for entry in self.store.list(Key("many"))])

    async def deleted(self, names: list[str]) -> None:
        """All of them, by the store."""
        await self.store.delete([Key(f"many/{name}") for name in names])

    async def _run(self, *command: str) -> None:
        await asyncio.to_thread(subprocess.run, command, check=True)


def mlflow_listed(port: int) -> int:
    """What MLflow's repository finds, in its way."""
    from mlflow.store.artifact.ftp_artifact_repo import FTPArtifactRepository

    return len(FTPArtifactRepository(ftpd.uri({"port": port}, path="plain")).list_artifacts("many"))


def deleted_singly(port: int, names: list[str]) -> None:
    """One DELE after another on one connection."""
    with ftplib.FTP() as client:
        client.connect("127.0.0.1", port)
        client.login(ftpd.USER, ftpd.PASSWORD)
        for name in names:
            client.delete(f"/plain/many/{name}")


async def contest(row: str, ours: Step, theirs: Step, rounds: int, other: str) -> None:
    """Run both in turns and print the medians."""
    taken: dict[Step, list[float]] = {ours: [], theirs: []}
    for number in range(rounds):
        for step in (ours, theirs) if number % 2 else (theirs, ours):
            began = time.perf_counter()
            await step()
            taken[step].append(time.perf_counter() - began)
    mine, its = (statistics.median(taken[step]) for step in (ours, theirs))
    report(row, mine, its, other)


async def transfers(place: Place, scheme: str, mib: int, rounds: int) -> None:
    """One large file up and down."""
    path = place.folder / "large"
    path.write_bytes(os.urandom(MIB) * mib)
    up, down = f"{scheme} put {mib} MiB", f"{scheme} get {mib} MiB"
    await contest(up, lambda: place.put(path), lambda: place.curl_put(path), rounds, "curl")
    await contest(down, place.get, place.curl_get, rounds, "curl")


async def many(place: Place, count: int, rounds: int, how: str = "") -> None:
    """Many small ones: listed and deleted."""
    names = [f"{number:05}" for number in range(count)]
    places = {name: place.home / "many" / name for name in names}

    async def prepared(step: Step) -> float:
        (place.home / "many").mkdir(exist_ok=True)
        for path in places.values():
            path.write_bytes(b".")
        began = time.perf_counter()
        await step()
        return time.perf_counter() - began

    theirs = await prepared(lambda: asyncio.to_thread(deleted_singly, place.port, names))
    ours = await prepared(lambda: place.deleted(names))
    report(f"delete {count}{how}", ours, theirs, "one by one")
    await prepared(place.listed)
    listed = lambda: asyncio.to_thread(mlflow_listed, place.port)  # noqa: E731
    await contest(f"list {count}{how}", place.listed, listed, rounds, "mlflow")
    await place.deleted(names)


def report(row: str, ours: float, theirs: float, other: str) -> None:
    """One line."""
    print(f"{row:<26} shoso {ours:.2f} s  {other} {theirs:.2f} s  {theirs / ours:.2f}x", flush=True)


async def main() -> None:
    """Every row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ftp", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--entries", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ftp-") as name:
        facts = ftpd.proftpd()
        for scheme in ("ftp", "ftps"):
            place = Place(facts, Path(name), tls=scheme == "ftps")
            await transfers(place, scheme, options.mib, options.rounds)
            await place.store.close()
        place = Place(facts, Path(name))
        await many(place, options.entries, options.rounds)
        await place.store.close()
        async with FaultProxy(facts["port"]) as far:
            far.latency = LATENCY
            place = Place(facts, Path(name), port=far.port)
            await many(place, options.entries // 10, 1, ", 4 ms away")
            await place.store.close()


if __name__ == "__main__":
    asyncio.run(main())
