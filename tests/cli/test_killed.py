"""Two GiB up and down by clients that are killed at random, and a server that is: all of it arrives."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from blake3 import blake3
from tests.e2e.servers import Server

pytestmark = [pytest.mark.large, pytest.mark.timeout(900)]

MIB = 1 << 20
PART = 8 * MIB
PARALLEL = 8
LARGE = {"a/one.bin": 1024 * MIB, "two.bin": 600 * MIB + 5, "a/b/three.bin": 300 * MIB}
MEDIUM = {f"c/{number}.bin": 8 * MIB - number for number in range(16)}
SMALL = {f"d{number % 5}/{number:03}.txt": number * 97 for number in range(300)}
SIZES = LARGE | MEDIUM | SMALL
TOTAL = sum(SIZES.values())

KILLS = 3


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with room for it all, empty afterwards; in memory where that is plenty."""
    memory, enough = Path("/dev/shm"), 3 * TOTAL
    plenty = psutil.virtual_memory().available > 2 * enough
    fits = plenty and memory.is_dir() and shutil.disk_usage(memory).free > enough
    with tempfile.TemporaryDirectory(dir=memory if fits else tmp_path_factory.mktemp("room")) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(room):
    """A server of this module's own: it is killed."""
    (room / "server").mkdir()
    server = Server(room / "server").start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def folder(room):
    """Two GiB, no MiB of it like another."""
    block = os.urandom(MIB)
    for number, (name, size) in enumerate(SIZES.items()):
        path = room / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb", buffering=0) as file:
            for start in range(0, size, MIB):
                mark = number.to_bytes(4, "big") + start.to_bytes(8, "big")
                file.write((mark + block)[: min(MIB, size - start)])
    return room / "folder"


@pytest.fixture
def shoso(shoso):
    """With parts so small that a kill costs little of what was done."""
    for way in ("UPLOAD", "DOWNLOAD"):
        shoso.environment[f"MLFLOW_MULTIPART_{way}_CHUNK_SIZE"] = str(PART)
    return shoso


def content(folder: Path, *, hidden: bool = True) -> dict[str, str]:
    """The digest of every file there is, whatever its name, but for what a store keeps to itself."""
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        name.as_posix(): blake3().update_mmap(path).hexdigest()
        for name, path in files.items()
        if ".shoso" not in name.parts and (hidden or ".shoso-part" not in name.as_posix())
    }


def visible(folder: Path) -> dict[str, str]:
    """What a user sees of that: what is under way is hidden."""
    return content(folder, hidden=False)


def written(pid: int) -> int:
    """Bytes that a process has written so far, to files and connections."""
    return psutil.Process(pid).io_counters().write_chars


class Journey:
    """A command that copies it all, interrupted; what the other end has written tells how far it is."""

    def __init__(self, shoso, server: Server, *command: object) -> None:
        self._shoso, self._server = shoso, server
        self._command = ("artifacts", *command, "--json")
        self._upload = command[0] == "put"
        self.done = 0

    def run(self, sizes: random.Random, check: Callable[[], None]) -> dict:
        """Kill it again and again, then the server under it; what it says of itself when it gets to its end.

        After each, `check` is called.
        """
        for _ in range(KILLS):
            client, size = self._begun(sizes)
            client.kill()
            client.communicate()
            assert client.returncode == -signal.SIGKILL
            self.done += size
            check()
        client, size = self._begun(sizes)
        self._server.kill()
        self._server.start()
        said, error = client.communicate(timeout=300)
        assert "Traceback" not in error
        check()
        if client.returncode:
            assert error.splitlines()[-1].startswith("Error: ")
            self.done += size
            said = self._shoso.process(*self._command).stdout
        return json.loads(said)

    def _begun(self, sizes: random.Random) -> tuple[subprocess.Popen[str], int]:
        """The command, when a random share of the bytes has been written at the other end; and that share."""
        size = sizes.randrange(TOTAL * 8 // 100, TOTAL * 18 // 100)
        before = written(self._server.pid) if self._upload else 0
        client = self._shoso.start(*self._command)
        while written(self._server.pid if self._upload else client.pid) - before < size:
            assert client.poll() is None, client.communicate()
            time.sleep(0.005)
        return client, size


def test_two_gib_arrive_though_everything_is_killed_again_and_again(shoso, server, api, folder, room):
    whole, sizes = content(folder), random.Random(1)
    there, back = server.artifacts / "whole", room / "back"
    up = Journey(shoso, server, "put", folder, "mlflow-artifacts:/whole")
    done = up.run(sizes, lambda: _nothing_half(there, whole))
    assert done["failed"] == 0
    assert done["bytes"] <= TOTAL - up.done + (KILLS + 1) * PARALLEL * PART
    assert content(there) == whole
    assert api.call("GET", "uploads", root="api/shoso/1").json()["uploads"] == []
    shutil.rmtree(folder)
    down = Journey(shoso, server, "get", "mlflow-artifacts:/whole", back)
    done = down.run(sizes, lambda: _nothing_half(back, whole))
    assert done["failed"] == 0
    assert done["bytes"] <= TOTAL - down.done + (KILLS + 1) * PARALLEL * PART
    assert content(back) == whole


def _nothing_half(folder: Path, whole: dict[str, str]) -> None:
    assert visible(folder).items() <= whole.items()
