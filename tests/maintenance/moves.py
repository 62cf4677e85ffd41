"""What is moved: a server with a folder and a bucket, an experiment in it, and `shoso migrate`."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts as _download
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache
from tests.e2e.servers import Server
from tests.servers import radosgw

from shoso.cli import main

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
