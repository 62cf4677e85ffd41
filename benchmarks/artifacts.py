"""Rows of artifacts: one big file, many small ones."""

import os
import shutil
import statistics
import threading
import time
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote

from benchmarks import references
from benchmarks.bench import Bench, Contender, Scenario
from benchmarks.load import new_run
from benchmarks.processes import Family, private_bytes
from benchmarks.rows import Reading
from benchmarks.servers import Server
from benchmarks.wire import Connection, ReplyError, request

MIB = 1 << 20
BLOCK = 16 * MIB
SMALL = 4096
FOLDER = "bench"
SPARE = 1 << 30
SAMPLE_SECONDS = 0.05


class CorruptError(RuntimeError):
    """What came back isn't what was sent."""


class Peak:
    """The most private memory a family held while the block ran, sampled every 50 ms."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.samples: list[int] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        pids: list[int] = []
        while not self._done.is_set():
            if len(self.samples) % 20 == 0:
                pids = self.family.members()
            self.samples.append(private_bytes(pids))
            self._done.wait(SAMPLE_SECONDS)


class Transfer(Scenario):
    """Something sent by the MLflow client, fetched again, compared once, and removed on both sides."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.digest = ""
        self.at_rest: dict[int, float] = {}

    def source(self) -> Path:
        """The file or folder to send; made when it isn't there."""
        raise NotImplementedError

    def prepare(self, contender: Contender) -> None:
        """Make the source, and note what memory the server holds before it has moved anything."""
        path = self.source()
        self.digest = self.digest or self.bench.clients.one().ask("digest", path=str(path))["digest"]
        with Peak(contender.running.family) as idle:
            time.sleep(1.0)
        self.at_rest[id(contender)] = statistics.median(idle.samples)

    def exchange(self, contender: Contender, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """One way and back: seconds, CPU of both ends and the server's memory above rest for each."""
        server, source = contender.running, self.source()
        run, target = new_run(server), self.bench.scratch / f"fetched-{contender.kind.name}"
        target.mkdir()
        try:
            up = self._timed(contender, "upload", run=run, path=str(source), folder=FOLDER)
            path = FOLDER if source.is_dir() else f"{FOLDER}/{source.name}"
            down = self._timed(contender, "download", run=run, path=path, into=str(target))
            if number == 0:
                self._compare(down["path"])
        finally:
            shutil.rmtree(target, ignore_errors=True)
            _remove(server, run)
        return up, down

    def _timed(self, contender: Contender, do: str, **work: Any) -> dict[str, Any]:
        family, uri = contender.running.family, contender.running.uri
        os.sync()  # nobody pays for what another one has left in the page cache
        used = family.cpu_seconds()
        with Peak(family) as memory:
            answer = self.bench.clients.one().ask(do, uri=uri, **work)
        above = max(memory.samples) - self.at_rest[id(contender)]
        return answer | {"server_cpu_s": family.cpu_seconds() - used, "memory_mib": above / MIB}

    def _compare(self, path: str) -> None:
        found = self.bench.clients.one().ask("digest", path=path)["digest"]
        if found != self.digest:
            raise CorruptError("what was downloaded differs from what was uploaded")


class BigFile(Transfer):
    """One file of random bytes, in the page cache before it is sent."""

    rows: ClassVar[tuple[str, ...]] = (
        "upload_1gib",
        "upload_1gib_cpu",
        "upload_memory",
        "download_1gib",
        "download_1gib_cpu",
    )

    def source(self) -> Path:
        """Random bytes, which nothing can compress."""
        path = self.bench.scratch / "big.bin"
        if not path.exists():
            _require_space(self.bench.scratch, 5 * self.bench.sizes.big + SPARE)
            with path.open("wb") as file:
                for _ in range(self.bench.sizes.big // BLOCK):
                    file.write(os.urandom(BLOCK))
        return path

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Seconds, server CPU seconds and MiB."""
        up, down = self.exchange(contender, number)
        return [
            Reading("upload_1gib", up["seconds"], {"client_cpu_s": up["client_cpu_s"]}),
            Reading("upload_1gib_cpu", up["server_cpu_s"]),
            Reading("upload_memory", up["memory_mib"]),
            Reading(
                "download_1gib",
                down["seconds"],
                {"client_cpu_s": down["client_cpu_s"], "memory_mib": down["memory_mib"]},
            ),
            Reading("download_1gib_cpu", down["server_cpu_s"]),
        ]

    def references(self) -> dict[str, tuple[float, str]]:
        """The disk's part and the loopback's."""
        os.sync()
        copied = references.copy_and_sync(self.source(), self.bench.scratch / "copy.bin")
        sent = references.loopback(self.bench.sizes.big)
        return {"cp and fsync of the file": (copied, "s"), "the bytes over a loopback socket": (sent, "s")}


class SmallFiles(Transfer):
    """One folder of many files, by log_artifacts and download_artifacts."""

    rows: ClassVar[tuple[str, ...]] = ("small_up", "small_up_cpu", "small_down", "small_down_cpu")

    def source(self) -> Path:
        """Random files, no two alike."""
        folder = self.bench.scratch / "small"
        if not folder.exists():
            folder.mkdir()
            for number in range(self.bench.sizes.files):
                (folder / f"file-{number:05d}.bin").write_bytes(os.urandom(SMALL))
        return folder

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Seconds and server CPU seconds."""
        up, down = self.exchange(contender, number)
        return [
            Reading("small_up", up["seconds"], {"client_cpu_s": up["client_cpu_s"]}),
            Reading("small_up_cpu", up["server_cpu_s"]),
            Reading("small_down", down["seconds"], {"client_cpu_s": down["client_cpu_s"]}),
            Reading("small_down_cpu", down["server_cpu_s"]),
        ]


def _remove(server: Server, run: str) -> None:
    """Delete the run's artifacts through the server, so that rounds don't fill the disk."""
    with Connection(server.port) as connection:
        info = connection.call("GET", "runs/get", {"run_id": run})["run"]["info"]
        root = info["artifact_uri"].partition(":/")[2].strip("/")
        target = f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{root}/{FOLDER}')}"
        status, body = connection.exchange(request("DELETE", target))
    if status != 200:
        raise ReplyError(f"DELETE of the artifacts: {status} {body[:300].decode(errors='replace')}")


def _require_space(home: Path, size: int) -> None:
    free = shutil.disk_usage(home).free
    if free < size:
        raise OSError(f"needs {size / 1e9:.0f} GB of free disk, there are {free / 1e9:.0f}")
