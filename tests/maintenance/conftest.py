"""File stores that real versions of MLflow wrote, servers to bring them to, and worlds to kill in.

How often each verb is killed on each storage is SHOSO_TEST_KILLS; where, by SHOSO_TEST_SEED.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner
from tests.e2e import storages
from tests.e2e.servers import Server
from tests.maintenance import moves, world
from tests.maintenance.proof import Proof
from tests.maintenance.victims import Victims
from tests.maintenance.world import World
from tests.servers import radosgw, warm
from tests.servers.target import Target, around

from shoso.cli import main

ROOT = Path(__file__).parent.parent.parent
WRITER = Path(__file__).with_name("filestore_writer.py")
INSTALLED = "3.17.2"


class Written(NamedTuple):
    """A file store, and what the MLflow that wrote it reads from it."""

    folder: Path
    seen: dict[str, Any]


def interpreter(version: str) -> Path:
    """Python with that MLflow; built once, in .cache."""
    home = ROOT / ".cache" / f"mlflow-skinny-{version}"
    home.parent.mkdir(exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "built").is_file():
            _build(home, [f"mlflow-skinny=={version}", "setuptools<80"])
            (home / "built").touch()
    return home / "bin" / "python"


def _build(home: Path, requirements: list[str]) -> None:
    shutil.rmtree(home, ignore_errors=True)
    python = home / "bin" / "python"
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *requirements], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *requirements], check=True)


def written(version: str, folder: Path) -> Written:
    """A file store in that folder, by that version."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    if version == INSTALLED:
        return Written(folder, json.loads(warm.printed(str(WRITER), str(folder), env=env).splitlines()[-1]))
    command = [str(interpreter(version)), "-W", "ignore", str(WRITER), str(folder)]
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Written(folder, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="session")
def template(tmp_path_factory) -> Written:
    """A file store of the installed MLflow; copy it, don't change it."""
    return written(INSTALLED, tmp_path_factory.mktemp("template") / "mlruns")


@pytest.fixture
def mlruns(template, tmp_path) -> Path:
    """A copy of it to damage; what it recorded as places stays that of the template."""
    return Path(shutil.copytree(template.folder, tmp_path / "mlruns", symlinks=True))


@pytest.fixture
def launch(tmp_path):
    """Start servers with flags of one's own."""
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Server:
            folder = tmp_path / f"server {len(list(tmp_path.glob('server *')))}"
            folder.mkdir()
            server = Server(folder, *flags).start()
            stack.callback(server.stop)
            return server

        yield start


class Done(NamedTuple):
    """What `shoso import` came to."""

    code: int
    out: dict[str, Any]
    err: str


@pytest.fixture
def bring(monkeypatch):
    """`shoso import … --json`, in this process."""
    for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
        monkeypatch.delenv(name)

    def run(source: Path, to: str, *flags: str) -> Done:
        done = CliRunner().invoke(main, ["import", str(source), "--to", to, "--json", *flags])
        assert isinstance(done.exception, SystemExit | None), done.exc_info
        return Done(done.exit_code, json.loads(done.stdout or "{}"), done.stderr)

    return run


KILLS = int(os.environ.get("SHOSO_TEST_KILLS", "3"))
SEED = int(os.environ.get("SHOSO_TEST_SEED") or random.SystemRandom().randrange(10**6))

STORAGES = {"local": "sqlite", "s3": "postgres", "sftp": "mariadb", "hdfs": "sqlite"}


def place(storage: str, folder: Path) -> Target:
    """An empty place in a storage of that name."""
    if storage != "local":
        return storages.fresh(storage)
    folder.mkdir()
    return Target(str(folder), {}, *around(folder))


@pytest.fixture(scope="session")
def victims(tmp_path_factory):
    """A process that has imported all, and is told what to do and when to die."""
    started = Victims(tmp_path_factory.mktemp("victims"))
    yield started
    started.close()


@pytest.fixture(params=STORAGES)
async def proof(request, victims, tmp_path):
    """An empty world on each storage, and another place in the next one."""
    sys.stdout.write(f"SHOSO_TEST_SEED={SEED}\n")
    names = [*STORAGES]
    here = place(request.param, tmp_path / "artifacts")
    there = place(names[(names.index(request.param) + 1) % len(names)], tmp_path / "there")
    flags = await world.database(STORAGES[request.param], tmp_path)
    flags |= {"artifacts_destination": here.uri, "allow_artifact_root": (there.uri,)}
    environment = {**here.environment, **there.environment, **SMALL_PARTS}
    opened = World(flags, environment | {"SHOSO_STATE": str(tmp_path / "state")})
    made = Proof(opened, victims, random.Random(f"{SEED} {request.node.name}"), KILLS, here, there.uri)
    yield made
    await opened.close()
    sys.stdout.write(f"killed: {made.kills}\n")


SMALL_PARTS = {
    f"MLFLOW_MULTIPART_{way}_{what}": f"{size << 20}"
    for way in ("UPLOAD", "DOWNLOAD")
    for what, size in (("MINIMUM_FILE_SIZE", 2), ("CHUNK_SIZE", 1))
}
"""So that files of some megabytes go in parts."""


@pytest.fixture(name="world")
def moving(tmp_path, monkeypatch):
    """A server and a bucket; the client of this process reaches both."""
    for name, value in radosgw.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = moves.World(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", opened.server.uri)
    yield opened
    opened.server.stop()
