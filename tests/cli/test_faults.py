"""Whatever happens to a transfer: after a rerun all is there, nothing half was seen, nothing is pending."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.cli.conftest import sentence
from tests.cli.halfway import arrived, fetched, uploads
from tests.cli.trees import damage, files, tree
from tests.servers.processes import cannot

KIB, MIB = 1024, 1024 * 1024
PART = MIB
SILENCE = 2
"""Seconds."""

_bytes = random.Random(5).randbytes
TREE = {
    "large.bin": _bytes(24 * MIB + 5),
    "model/medium.bin": _bytes(700 * KIB),
    "model/empty": b"",
    **{f"log/{number:02}.txt": _bytes(number * 300) for number in range(40)},
}
SIZE = sum(map(len, TREE.values()))


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "data", TREE)


@pytest.fixture
def shoso(shoso):
    """In parts of one MiB, with a few retries that follow at once."""
    shoso.environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "4"
    for pause in ("FACTOR", "JITTER"):
        shoso.environment[f"MLFLOW_HTTP_REQUEST_BACKOFF_{pause}"] = "0.1"
    for way in ("UPLOAD", "DOWNLOAD"):
        shoso.environment[f"MLFLOW_MULTIPART_{way}_MINIMUM_FILE_SIZE"] = str(PART)
        shoso.environment[f"MLFLOW_MULTIPART_{way}_CHUNK_SIZE"] = str(PART)
    return shoso


@pytest.fixture
def impatient(shoso):
    for call in ("MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        shoso.environment[call] = str(SILENCE)
    shoso.environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    return shoso


@pytest.fixture
def stored(server, shoso, folder, unique):
    """The URI of TREE on the server, and where that has it on its disk."""
    uri = f"mlflow-artifacts:/{unique}"
    shoso("artifacts", "put", folder, uri)
    return uri, server.artifacts / unique


@dataclass(frozen=True)
class Journey:
    """A command that copies TREE, and the folder where it arrives."""

    shoso: object
    api: object
    name: str
    command: tuple[object, ...]
    to: Path

    def start(self) -> subprocess.Popen[str]:
        """Under way, two parts of the large file in their places."""
        client = self.shoso.start(*self.command, "--json")
        while self.parts() < 2:
            assert client.poll() is None, client.communicate()
            time.sleep(0.02)
        return client

    def parts(self) -> int:
        """Parts of the large file that are there."""
        return arrived(self.api, self.name) if self.command[1] == "put" else fetched(self.to)

    def run(self) -> dict:
        """From here to the end; what it says of itself."""
        done = self.shoso.json(*self.command)
        self.check()
        return done

    def check(self) -> None:
        """All is there, and nothing else, the hidden files of a download neither."""
        assert files(self.to) == TREE
        assert self.pending() == []

    def pending(self) -> list[dict]:
        """The uploads that the server still waits for."""
        return [upload for upload in uploads(self.api) if self.name in upload["key"]]

    def seen(self) -> set[str]:
        """What a user sees, each of it whole."""
        found = files(self.to) if self.to.exists() else {}
        shown = {name: data for name, data in found.items() if ".shoso-part" not in name}
        assert shown.items() <= TREE.items()
        return {*shown}


@pytest.fixture
def upload(shoso, api, server, folder, unique):
    command = ("artifacts", "put", folder, f"mlflow-artifacts:/{unique}")
    return Journey(shoso, api, unique, command, server.artifacts / unique)


@pytest.fixture
def download(shoso, api, stored, tmp_path, unique):
    return Journey(shoso, api, unique, ("artifacts", "get", stored[0], tmp_path / "back"), tmp_path / "back")


@pytest.fixture(params=["upload", "download"])
def journey(request):
    return request.getfixturevalue(request.param)


# -- the network ------------------------------------------------------------------------------------------


def test_connections_that_are_reset_cost_no_rerun(proxy, journey):
    proxy.rate = 2 * MIB
    client = journey.start()
    for parts in (6, 12):
        proxy.cut()
        while journey.parts() < parts and client.poll() is None:
            time.sleep(0.02)
    proxy.rate = None
    _, error = client.communicate(timeout=60)
    assert client.returncode == 0, error
    journey.check()


@pytest.mark.usefixtures("impatient")
def test_connections_that_fall_silent_cost_no_rerun(proxy, journey):
    proxy.rate = MIB
    client = journey.start()
    proxy.quieten()
    proxy.rate = None
    said, error = client.communicate(timeout=60)
    assert client.returncode == 0, error
    assert json.loads(said)["failed"] == 0
    journey.check()


@pytest.mark.usefixtures("impatient")
def test_a_network_that_falls_silent_is_given_up_and_gone_on_with(proxy, journey):
    proxy.rate = MIB
    client = journey.start()
    proxy.blackhole, proxy.rate = True, None
    _, error = client.communicate(timeout=120)
    assert (client.returncode, "Traceback" in error) == (1, False)
    assert re.search(f"(gave no answer|sent nothing).* for {SILENCE} s", error.splitlines()[-1])
    journey.seen()
    proxy.blackhole = False
    assert journey.run()["bytes"] <= SIZE - 2 * PART


@pytest.mark.usefixtures("impatient")
def test_a_network_that_is_slow_is_waited_for(proxy, download):
    """A part takes longer than silence may last: it's silence that is timed, not the transfer."""
    proxy.rate = PART / (SILENCE + 1)
    client = download.start()
    proxy.rate = None
    said, error = client.communicate(timeout=60)
    assert (client.returncode, json.loads(said)["failed"]) == (0, 0), error
    download.check()


@pytest.mark.parametrize("at", [300 * KIB, 30_000])
def test_a_byte_that_changes_on_the_way_costs_another_try(proxy, journey, at):
    proxy.corrupt_up_at = proxy.corrupt_down_at = at
    assert journey.run()["copied"] == len(TREE)
    assert proxy.corrupted == 1


# -- the disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """A disk of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        cannot(f"mounting a small disk takes root: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("part", [PART, 64 * MIB], ids=["parts", "stream"])
def test_a_disk_that_is_full_is_said_at_once_and_gone_on_with(shoso, api, stored, small, unique, part):
    shoso.environment["MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE"] = str(part)
    back = small / "back"
    download = Journey(shoso, api, unique, ("artifacts", "get", stored[0], back), back)
    said = sentence(shoso.result(*download.command, code=1).stderr)
    assert "large.bin" in said
    assert "disk is full" in said
    assert download.seen() == {*(files(back) if back.exists() else ())}
    subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
    download.run()


# -- the source -------------------------------------------------------------------------------------------

NEW = _bytes(len(TREE["large.bin"]))


def rewritten(path: Path) -> bytes:
    """Another file of the same size, in place."""
    path.write_bytes(NEW)
    return NEW


def grown(path: Path) -> bytes:
    with path.open("ab") as file:
        file.write(NEW[:PART])
    return TREE["large.bin"] + NEW[:PART]


def cut(path: Path) -> bytes:
    os.truncate(path, 5 * PART // 2)
    return TREE["large.bin"][: 5 * PART // 2]


def replaced(path: Path) -> bytes:
    path.with_name("other").write_bytes(NEW)
    path.with_name("other").replace(path)
    return NEW


@pytest.mark.parametrize("change", [rewritten, grown, cut, replaced])
def test_a_file_that_changes_half_way_up_arrives_as_it_is_now(proxy, upload, folder, change):
    proxy.rate = MIB
    client = upload.start()
    now = TREE | {"large.bin": change(folder / "large.bin")}
    proxy.rate = None
    said, error = client.communicate(timeout=60)
    assert client.returncode == 0, error
    assert json.loads(said)["failed"] == 0
    assert files(upload.to) == now
    assert upload.pending() == []


def test_a_file_that_is_gone_half_way_up_is_named_and_the_rest_arrives(proxy, upload, folder):
    proxy.rate = MIB
    client = upload.start()
    (folder / "large.bin").unlink()
    proxy.rate = None
    _, error = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "large.bin" in sentence(error)
    assert upload.seen() == {*TREE} - {"large.bin"}
    assert upload.pending() == []


def test_a_file_that_never_rests_is_named_and_the_rest_arrives(shoso, proxy, upload, folder):
    proxy.rate = 4 * MIB
    stop = threading.Event()

    def write():
        with (folder / "large.bin").open("ab") as file:
            while not stop.wait(0.02):
                file.write(b"x")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        error = shoso.result(*upload.command, code=1).stderr
    finally:
        stop.set()
        writer.join()
    assert "large.bin' was changed each of the 3 times" in sentence(error)
    assert upload.seen() == {*TREE} - {"large.bin"}
    assert upload.pending() == []
    shoso(*upload.command)
    assert files(upload.to)["large.bin"] == (folder / "large.bin").read_bytes()


# -- the store --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old"),
    [("large.bin", None), ("large.bin", b"old"), ("model/medium.bin", b"old"), ("log/30.txt", None)],
)
def test_a_file_that_has_rotted_is_never_handed_out(shoso, folder, stored, download, unique, name, old):
    uri, there = stored
    damage(there, *Path(name).parts)
    if old is not None:
        tree(download.to, {name: old})
    said = sentence(shoso.result(*download.command, code=1).stderr)
    assert f"'{unique}/{name}'" in said
    assert "digest" in said
    assert "--force" in said
    found = files(download.to)
    assert found.pop(name, None) == old
    assert found == {path: data for path, data in TREE.items() if path != name}
    shoso("artifacts", "put", folder, uri, "--include", name, "--force")
    download.run()


# -- two at once ------------------------------------------------------------------------------------------


@pytest.fixture
def both(shoso, proxy, upload, tmp_path, state):
    """Two clients half-way, each with an upload of its own; they may share the folder of their journals."""
    proxy.rate, clients = MIB // 2, []
    for place in ("state", state):
        shoso.environment["SHOSO_STATE"] = str(tmp_path / place)
        clients.append(shoso.start(*upload.command))
        while len([one for one in upload.pending() if "large.bin" in one["key"]]) < len(clients):
            assert clients[-1].poll() is None, clients[-1].communicate()
            time.sleep(0.02)
    while upload.parts() < 4:
        time.sleep(0.02)
    return clients


@pytest.mark.parametrize("state", ["state", "other"])
def test_two_clients_that_send_the_same_folder_both_get_there(proxy, upload, both):
    proxy.rate = None
    for client in both:
        _, error = client.communicate(timeout=60)
        assert client.returncode == 0, error
    upload.check()


@pytest.mark.parametrize(("victim", "state"), [(0, "state"), (1, "state"), (1, "other")])
def test_one_of_two_clients_that_is_killed_gets_there_by_a_rerun(
    shoso, proxy, upload, both, tmp_path, state, victim
):
    both[victim].kill()
    both[victim].communicate()
    proxy.rate = None
    _, error = both[1 - victim].communicate(timeout=60)
    assert both[1 - victim].returncode == 0, error
    upload.seen()
    shoso.environment["SHOSO_STATE"] = str(tmp_path / ("state", state)[victim])
    upload.run()
