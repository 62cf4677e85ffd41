"""`shoso migrate`, by real processes: between a server's folder and a bucket, while a real client writes."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts as _download
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tests.e2e.servers import Server
from tests.servers import radosgw

from shoso.cli import main
from shoso.maintenance.migrate.moving import Shard

SHOSO = str(Path(sys.executable).with_name("shoso"))

PLACES = {
    "experiments": "SELECT experiment_id, artifact_location FROM experiments",
    "runs": "SELECT run_uuid, artifact_uri FROM runs",
    "models": "SELECT model_id, artifact_location FROM logged_models",
    "versions": "SELECT name || version, source FROM model_versions",
    "storage": "SELECT name || version, storage_location FROM model_versions",
}


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: Any
    err: str


class World:
    """A server whose artifacts are in its folder, and that may open a bucket, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = radosgw.bucket()
        self.there = f"s3://{self.bucket}/moved"
        self.storage = radosgw.environment()
        self.server = Server(folder, "--allow-artifact-root", f"s3://{self.bucket}", env=self.storage)
        self.server.start()
        self.client = MlflowClient(self.server.uri)

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """`shoso migrate …` and its environment."""
        env = {
            name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))
        }
        own = {
            "SHOSO_STATE": str(self.folder / "state"),
            "MLFLOW_ARTIFACTS_DESTINATION": str(self.server.artifacts),
        }
        own["SHOSO_ALLOW_ARTIFACT_ROOT"] = f"s3://{self.bucket}"
        where = ("--backend-store-uri", self.server.database)
        return [SHOSO, "migrate", *arguments, *where, "--json"], env | self.storage | own

    def migrate(self, *arguments: str) -> Done:
        """What the command came to."""
        [_, *words], env = self.command(*arguments)
        done = CliRunner(env=dict.fromkeys(os.environ) | env).invoke(main, words)
        assert isinstance(done.exception, SystemExit | None), done.exception
        return Done(done.exit_code, json.loads(done.stdout or "null"), done.stderr)

    def move(self, *more: str) -> Done:
        """Move everything to the bucket."""
        return self.migrate("--from", "mlflow-artifacts:/", "--to", self.there, *more)

    def get(self, run: str, path: str) -> str:
        """An artifact, from the server."""
        where = f"{self.server.uri}/get-artifact?run_uuid={run}&path={quote(path)}"
        with urllib.request.urlopen(where, timeout=30) as reply:
            return reply.read().decode()

    def listed(self, run: str, path: str) -> list[str]:
        """What the server lists."""
        where = f"{self.server.uri}/api/2.0/mlflow/artifacts/list?run_id={run}&path={path}"
        with urllib.request.urlopen(where, timeout=30) as reply:
            return [one["path"] for one in json.load(reply)["files"]]

    def places(self) -> dict[str, dict[str, str]]:
        """What every row names."""
        with sqlite3.connect(self.server.database.removeprefix("sqlite:///")) as conn:
            return {name: dict(conn.execute(query)) for name, query in PLACES.items()}

    def objects(self) -> list[str]:
        """What is in the bucket."""
        found = radosgw.client().list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [one["Key"] for one in found]

    def files(self) -> list[str]:
        """What is in the folder."""
        root = self.server.artifacts
        return sorted(
            str(path.relative_to(root))
            for path in root.rglob("*")
            if path.is_file() and ".shoso" not in str(path)
        )


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A server and a bucket; the client of this process reaches both."""
    for name, value in radosgw.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    opened = World(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", opened.server.uri)
    yield opened
    opened.server.stop()


def download_artifacts(uri: str) -> str:
    """Everything at a URI, in a new folder."""
    return _download(uri, dst_path=tempfile.mkdtemp())


class Filled:
    """An experiment with runs, a logged model and a registered version, and what each has."""

    def __init__(self, world: World, runs: int = 3, files: int = 4) -> None:
        client = world.client
        self.world = world
        self.experiment = client.create_experiment("filled")
        self.runs = [client.create_run(self.experiment).info.run_id for _ in range(runs)]
        self.expected = {(run, f"a/{n}.txt"): f"{run} {n}" for run in self.runs for n in range(files)}
        for (run, path), text in self.expected.items():
            client.log_text(run, text, path)
        for run in self.runs[1:]:
            client.set_terminated(run)
        self.model = client.create_logged_model(self.experiment).model_id
        client.log_model_artifacts(self.model, str(self._folder(world.folder / "model")))
        client.create_registered_model("m")
        source = f"{client.get_run(self.runs[0]).info.artifact_uri}/a"
        client.create_model_version("m", source, self.runs[0])

    def _folder(self, folder: Path) -> Path:
        folder.mkdir()
        (folder / "MLmodel").write_text("weights")
        return folder

    def check(self) -> None:
        """Everything is read as it was written: from the server, and by a client that has just begun."""
        for (run, path), text in self.expected.items():
            assert self.world.get(run, path) == text
        _artifact_repos_cache.clear()
        client = MlflowClient(self.world.server.uri)
        for run in self.runs[-2:]:
            paths = {path: text for (of, path), text in self.expected.items() if of == run}
            folder = Path(client.download_artifacts(run, "", str(self._into())))
            got = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.txt")}
            assert got == paths
        uri = client.get_logged_model(self.model).artifact_location
        assert (Path(download_artifacts(uri)) / "MLmodel").read_text() == "weights"
        got = Path(download_artifacts(client.get_model_version_download_uri("m", "1")))
        assert {path.name for path in got.iterdir()} == {
            path[2:] for run, path in self.expected if run == self.runs[0]
        }

    def _into(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.world.folder))


def test_a_move_and_its_way_back_keep_every_artifact_and_every_row(world):
    filled = Filled(world)
    stray = world.server.artifacts / filled.experiment / "traces" / "tr-1" / "artifacts" / "traces.json"
    stray.parent.mkdir(parents=True)
    stray.write_text("{}")
    before = world.places()
    foreseen = world.move("--experiment", "filled", "--dry-run")
    assert foreseen.code == 0
    [only] = foreseen.out["experiments"]
    assert (only["runs"], only["models"], only["versions"], only["copied"]) == (3, 1, 1, 13)
    assert (world.places(), world.objects()) == (before, [])

    moved = world.move()
    assert moved.code == 0, moved
    assert {one["state"] for one in moved.out["experiments"]} == {"moved"}
    assert len(world.objects()) == 13
    assert all(place.startswith(world.there) for place in world.places()["runs"].values())
    filled.check()
    assert [one["state"] for one in world.migrate("status").out] == ["moved", "moved"]
    assert sum(one["copied"] for one in world.move().out["experiments"]) == 0

    run = filled.runs[1]
    filled.expected[run, "late.txt"] = "written to the new place"
    _artifact_repos_cache.clear()
    world.client.log_text(run, filled.expected[run, "late.txt"], "late.txt")
    back = world.migrate("rollback", "--running")
    assert back.code == 0, back
    assert world.places() == before
    assert world.migrate("status").out == []
    filled.check()
    assert len(world.objects()) == 14

    assert world.move().code == 0
    refused = world.migrate("finish")
    assert refused.code == 1
    assert [one["running"] for one in refused.out["experiments"]] == [[], [filled.runs[0]]]
    world.client.set_terminated(filled.runs[0])
    done = world.migrate("finish")
    assert (done.code, done.out["experiments"][0]["state"]) == (0, "finished")
    assert world.files() == [str(stray.relative_to(world.server.artifacts))]
    filled.check()
    assert world.migrate("status").out == []
    assert "nothing that" in world.move().err


class Busy:
    """A client that goes on logging to runs, old ones and new, and one that reads what was acknowledged."""

    def __init__(self, filled: Filled) -> None:
        self.filled, self.failures = filled, list[str]()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._until_ended, args=[each]) for each in (self._log, self._read)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _until_ended(self, work: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._ended.wait(0.02):
                return
            try:
                work(number)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
                self.failures.append(repr(error))

    def _log(self, number: int) -> None:
        client = self.filled.world.client
        if number % 10 == 0:
            self.filled.runs.append(client.create_run(self.filled.experiment).info.run_id)
        run, path = self.filled.runs[-1 - number % 3], f"b/{number}.txt"
        client.log_text(run, f"busy {number}", path)
        self.filled.expected[run, path] = f"busy {number}"

    def _read(self, number: int) -> None:
        (run, path), text = [*self.filled.expected.items()][-1 - number % 7]
        if self.filled.world.get(run, path) != text:
            self.failures.append(f"{run} {path}")


def test_runs_go_on_writing_and_reading_while_their_artifacts_move_there_and_back(world):
    filled = Filled(world)
    with Busy(filled) as busy:
        time.sleep(0.5)
        assert world.move().code == 0
        time.sleep(0.5)
        back = world.migrate("rollback")
        assert (back.code, back.out["experiments"][1]["state"]) == (1, "returned")
        assert back.out["experiments"][1]["running"]
        time.sleep(0.3)
    assert busy.failures == []
    filled.check()
    assert world.migrate("rollback", "--running").code == 0
    assert all(place.startswith("mlflow-artifacts:/") for place in world.places()["runs"].values())
    filled.check()

    run = filled.runs[-1]
    world.client.log_text(run, "early", "early.txt")
    filled.expected[run, "early.txt"] = "early"
    assert world.move().code == 0
    world.client.log_text(run, "late", "late/by who remembers.txt")  # to the old place
    assert f"{run}/artifacts/late/by who remembers.txt" in "".join(world.files())
    _artifact_repos_cache.clear()
    world.client.log_text(run, "new", "late/new.txt")
    assert world.get(run, "late/by who remembers.txt") == "late"
    time.sleep(1.1)
    assert world.listed(run, "late") == ["late/by who remembers.txt", "late/new.txt"]
    filled.expected |= {(run, "late/by who remembers.txt"): "late", (run, "late/new.txt"): "new"}
    done = world.migrate("finish", "--running")
    assert (done.code, sum(one["copied"] for one in done.out["experiments"])) == (0, 1)
    assert world.files() == []
    filled.check()


def test_four_workers_of_dask_move_an_experiment_together(world):
    """The script of docs/guides/migrating.md, as it stands there."""
    filled = Filled(world, runs=8, files=1)
    page = (Path(__file__).parents[2] / "docs" / "guides" / "migrating.md").read_text()
    [script] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = world.folder / "move.py"
    path.write_text(script.replace("s3://bucket/mlflow", world.there))
    _, env = world.command()
    env |= {"PATH": f"{Path(SHOSO).parent}:{env['PATH']}", "MLFLOW_BACKEND_STORE_URI": world.server.database}
    done = subprocess.run(
        [sys.executable, str(path)], env=env, cwd=world.folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ids = [*filled.runs, filled.model]
    assert [int(line.split()[1]) for line in done.stdout.splitlines()] == [
        sum(id_ in Shard(number, 4) for id_ in ids) for number in range(1, 5)
    ]
    assert {one["state"] for one in world.migrate("status").out} == {"moved"}
    filled.check()
    assert world.migrate("finish", "--running").code == 0
    assert world.files() == []


def test_shards_are_all_ids_once_in_even_parts():
    ids = [f"{number:032x}" for number in range(0, 1 << 128, 1 << 118)] + ["m-" + "f" * 32, "odd id", "", "é"]
    for count in (1, 2, 3, 7):
        parts = [[id_ for id_ in ids if id_ in Shard(number, count)] for number in range(1, count + 1)]
        assert sorted(itertools.chain(*parts)) == sorted(ids)
        assert all(abs(len(part) - len(ids) / count) < 6 for part in parts)


def test_a_move_that_is_killed_again_and_again_loses_nothing(world):
    filled, dice = Filled(world, runs=4, files=20), random.Random(6)
    for verb in (["--from", "mlflow-artifacts:/", "--to", world.there], ["finish", "--running"]):
        for _ in range(4):
            command, env = world.command(*verb)
            process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.5 + dice.random())
            process.kill()
            process.wait()
            filled.check()
        done = world.migrate(*verb)
        assert done.code == 0 or "no such" in done.err, done
    filled.check()
    assert world.files() == []


def test_what_can_not_be_moved_is_refused_before_anything_is_copied(world):
    filled = Filled(world, runs=1, files=1)
    before = world.places()
    kept = world.server.artifacts
    for source, target, words in (
        ("mlflow-artifacts:/", str(kept), "--to:.*one place"),
        ("mlflow-artifacts:/", str(kept / "below"), "one lies in"),
        (f"mlflow-artifacts:/{filled.experiment}", "mlflow-artifacts:/", "one lies in"),
        ("s3://nobody/there", world.there, "--from:.*names nothing"),
        ("mlflow-artifacts:/", "dbfs:/x", "no storage that Shoso opens"),
        ("mlflow-artifacts:/", "s3://bucket/../x", "--to: Invalid path"),
    ):
        done = world.migrate("--from", source, "--to", target)
        assert done.code == 1
        assert re.search(words, done.err), done.err
    done = world.migrate("--from", "mlflow-artifacts:/", "--to", f"{world.there}/{'x' * 150}")
    assert "shorter --to" in done.err
    assert done.code == 1
    assert (world.places(), world.objects()) == (before, [])
    world.storage["MLFLOW_S3_ENDPOINT_URL"] = "http://127.0.0.1:9"
    done = world.move()
    assert done.code == 1
    assert "127.0.0.1:9" in done.err
    assert world.places() == before
