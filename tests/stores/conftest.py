"""A local store, its folder, and a disk that is soon full."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shoso.layers import standard
from shoso.stores.local import LocalOptions, LocalStore


@pytest.fixture(autouse=True)
def unsynced(request, monkeypatch):
    """Nobody pulls the plug here, and a slow disk is no test; test_local_durable.py is one."""
    if request.path.name != "test_local_durable.py" and "SHOSO_TEST_SYNC" not in os.environ:
        monkeypatch.setattr(os, "fsync", lambda _: None)
        monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture
def root(tmp_path):
    """The folder of `local`."""
    return tmp_path / "root"


@pytest.fixture
async def local(root):
    """A local store with nothing in it."""
    store = LocalStore(LocalOptions(root))
    yield store
    await store.close()


@pytest.fixture
def layered(local):
    """The same store as everybody uses it."""
    return standard(local)


@pytest.fixture
def small_disk(tmp_path):
    """The mount point of a file system of 8 MiB; SHOSO_TEST_SMALL_DISK says how to mount another."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = os.environ.get("SHOSO_TEST_SMALL_DISK", "mount -t tmpfs -o size=8m tmpfs").split()
    done = subprocess.run([*mount, str(place)], capture_output=True, text=True, check=False)
    if done.returncode:
        _cannot(f"mounting a small disk takes root: {done.stderr.strip()}")
    for left in place.iterdir():
        shutil.rmtree(left)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def descriptors():
    """Counts this process's open files."""
    return lambda: len([*Path("/proc/self/fd").iterdir()])


def _cannot(why: str) -> None:
    """Skip; on the machine that must run everything, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
