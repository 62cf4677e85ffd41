"""Up and down through a real server: killed at random, restarted, unchanged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.servers import Server
from tests.transfer.client import copied
from tests.transfer.ends import KIB, pending, some_tree

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.stores.remote.store import RemoteOptions, RemoteStore

MIB = 1024 * KIB
TREE = some_tree(*[1000] * 60, *[300 * KIB] * 6, 3 * MIB, 9 * MIB + 5, 0)
SIZE = sum(map(len, TREE.values()))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


@pytest.fixture
def clean(server):
    """The server, without what other tests have sent."""
    shutil.rmtree(server.artifacts / "run", ignore_errors=True)
    return server


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "folder"
    fill(path, TREE)
    return path


def fill(folder: Path, tree) -> None:
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def content(folder: Path) -> dict[str, str]:
    """The digest of every file there is, whatever its name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in files}


async def uploads(server: Server) -> list[Key]:
    """The uploads under way."""
    store = RemoteStore(RemoteOptions(server.uri))
    try:
        return await pending(store)
    finally:
        await store.close()


def stopped(arguments, size: int) -> subprocess.Popen:
    """A client that has moved so many bytes, and waits."""
    program = [sys.executable, "-m", "tests.transfer.client", *map(str, arguments), str(size)]
    client = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status = os.waitpid(client.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"The client has ended, with {status}."
    return client


WHOLE = {name: digest(data) for name, data in TREE.items()}


async def test_a_folder_goes_up_and_comes_down_again(clean, folder, tmp_path):
    up = await copied("UP", folder, clean.uri, tmp_path / "journals")
    assert (content(clean.artifacts / "run"), await uploads(clean)) == (WHOLE, [])
    down = await copied("DOWN", tmp_path / "again", clean.uri, tmp_path / "journals")
    assert content(tmp_path / "again") == WHOLE
    assert (up.sent, down.sent) == (SIZE, SIZE)
    for direction, where in (("UP", folder), ("DOWN", tmp_path / "again")):
        again = await copied(direction, where, clean.uri, tmp_path / "journals")
        assert (again.skipped, again.sent) == (len(TREE), 0)


@pytest.mark.parametrize("direction", ["UP", "DOWN"])
@pytest.mark.parametrize("seed", range(3))
async def test_a_client_killed_again_and_again_gets_there(clean, folder, tmp_path, direction, seed):
    sizes = random.Random(seed)
    if direction == "DOWN":
        await copied("UP", folder, clean.uri, tmp_path / "journals")
        folder = tmp_path / "again"
    arguments = [direction, folder, clean.uri, tmp_path / "journals"]
    for _ in range(3):
        client = stopped(arguments, sizes.randrange(1, SIZE // 4))
        client.kill()
        client.wait()
        seen = content(folder if direction == "DOWN" else clean.artifacts / "run")
        assert {
            name: found for name, found in seen.items() if ".shoso-part" not in name
        }.items() <= WHOLE.items()
    await copied(*arguments)
    assert content(folder if direction == "DOWN" else clean.artifacts / "run") == WHOLE
    assert await uploads(clean) == []


@pytest.mark.parametrize("direction", ["UP", "DOWN"])
@pytest.mark.parametrize("seed", range(2))
async def test_a_server_killed_and_restarted_meanwhile_costs_a_rerun_at_most(
    clean, folder, tmp_path, direction, seed
):
    arguments = [direction, folder, clean.uri, tmp_path / "journals"]
    if direction == "DOWN":
        await copied("UP", *arguments[1:])
        arguments[1] = tmp_path / "again"
    client = stopped(arguments, random.Random(seed).randrange(1, SIZE // 2))
    clean.kill()
    client.send_signal(signal.SIGCONT)
    clean.start()
    client.wait(timeout=60)
    await copied(*arguments)
    assert content(arguments[1] if direction == "DOWN" else clean.artifacts / "run") == WHOLE
    assert await uploads(clean) == []
