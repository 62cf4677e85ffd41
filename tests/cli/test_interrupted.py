"""A transfer that is stopped goes on with what is missing when the same command is given again."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
from tests.cli.halfway import arrived, fetched, uploads
from tests.cli.trees import files, tree

MIB = 1024 * 1024
PART = 2 * MIB
SIZE = 24 * MIB
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]

TREE = {"large.bin": random.Random(3).randbytes(SIZE), "small.txt": b"small"}

LAST = "Interrupted. Run the same command again: it goes on with what is missing."


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "data", TREE)


MOST = SIZE - PART // 2
"""Bytes on their way: never all of the large file, but more of its parts than are sent at once."""


@pytest.fixture
def held(proxy, shoso):
    """The way to the server, which lets most of the large file pass, in parts, and then holds the rest."""
    for way in ("UPLOAD", "DOWNLOAD"):
        shoso.environment[f"MLFLOW_MULTIPART_{way}_MINIMUM_FILE_SIZE"] = str(PART)
        shoso.environment[f"MLFLOW_MULTIPART_{way}_CHUNK_SIZE"] = str(PART)
    proxy.allowance = MOST
    return proxy


def stopped(shoso, stop: signal.Signals, begun, *arguments: object, last: str = LAST) -> None:
    """Stop a command when it has begun, and check what it says."""
    command = shoso.start(*arguments)
    while not begun():
        assert command.poll() is None, command.stderr.read()
        time.sleep(0.05)
    command.send_signal(stop)
    said, error = command.communicate(timeout=60)
    if stop is signal.SIGKILL:
        assert command.returncode == -stop
    else:
        assert (command.returncode, said) == (130, "")
        assert error.splitlines()[-1] == last


def test_an_upload_by_force(shoso, held, api, run_id, folder):
    command = ("artifacts", "put", folder, f"runs:/{run_id}/data", "--force")
    last = "Interrupted. Run the same command again; with --force, it also sends again what has arrived."
    stopped(shoso, signal.SIGINT, lambda: arrived(api, run_id) >= 2, *command, last=last)
    assert rerun(shoso, held, *command)["copied"] == len(TREE)
    assert rerun(shoso, held, *command)["copied"] == len(TREE)


def rerun(shoso, proxy, *arguments: object) -> dict:
    """What the same command says of itself the next time, when nothing is held."""
    proxy.allowance = None
    done = shoso.process(*arguments, "--json")
    return json.loads(done.stdout)


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_an_upload(shoso, held, api, run_id, folder, stop):
    command = ("artifacts", "put", folder, f"runs:/{run_id}/data")
    stopped(shoso, stop, lambda: arrived(api, run_id) >= 2, *command)
    again = rerun(shoso, held, *command)
    assert again["failed"] == 0
    assert again["bytes"] <= SIZE + 5 - 2 * PART
    done = shoso.process("artifacts", "verify", command[-1], "--against", folder)
    assert "2 artifacts verified" in done.stdout
    assert [upload for upload in uploads(api) if run_id in upload["key"]] == []


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.name)
def test_a_download(shoso, held, run_id, folder, tmp_path, stop):
    uri, target = f"runs:/{run_id}/data", tmp_path / "back"
    held.allowance = None
    shoso.process("artifacts", "put", folder, uri)
    held.allowance = MOST

    stopped(shoso, stop, lambda: fetched(target) >= 2, "artifacts", "get", uri, target)
    assert not (target / "large.bin").exists()
    again = rerun(shoso, held, "artifacts", "get", uri, target)
    assert again["failed"] == 0
    assert again["bytes"] <= SIZE + 5 - 2 * PART
    assert files(target) == TREE


def test_nothing_but_one_line_is_said_of_bytes_on_their_way(shoso, proxy, api, run_id, folder):
    """Parts of 32 MiB, of which each is in the middle when the interrupt comes."""
    with (folder / "large.bin").open("wb") as file:
        file.truncate(160 * MIB)
    proxy.rate = 4 * MIB
    upload = shoso.start("artifacts", "put", folder, f"runs:/{run_id}/data")
    while not any(run_id in each["key"] for each in uploads(api)):
        assert upload.poll() is None, upload.stderr.read()
        time.sleep(0.05)
    time.sleep(2)
    upload.send_signal(signal.SIGINT)
    _, error = upload.communicate(timeout=60)
    assert error == "Interrupted. Run the same command again: it goes on with what is missing.\n"


def test_a_connection_that_is_lost(shoso, held, api, run_id, folder):
    command = ("artifacts", "put", folder, f"runs:/{run_id}/data")
    upload = shoso.start(*command)
    while arrived(api, run_id) < 2:
        assert upload.poll() is None
        time.sleep(0.05)
    held.refuse = True
    held.cut()
    said, error = upload.communicate(timeout=60)
    assert (upload.returncode, "1 failed" in said) == (1, True)
    assert error.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in error
    held.refuse = False
    again = rerun(shoso, held, *command)
    assert again["bytes"] <= SIZE + 5 - 2 * PART
    assert [upload for upload in uploads(api) if run_id in upload["key"]] == []
