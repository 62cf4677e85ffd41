"""One script, with `import mlflow` and with `import shoso`, against either server: the runs are the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from tests.servers import warm

import shoso
from shoso.core.digest import digest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow

SCRIPT = Path(__file__).with_name("script.py")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module", params=["shoso", "mlflow"])
def both(request, tmp_path_factory):
    """What each library has logged to that server."""
    server = request.getfixturevalue(f"{request.param}_server")
    return {
        library: logged(server.uri, library, tmp_path_factory.mktemp(library))
        for library in ("mlflow", "shoso")
    }


def logged(uri: str, library: str, folder: Path) -> dict[str, dict]:
    """Runs by name, as MLflow's client sees them."""
    repository(folder)
    script = folder / "train.py"
    script.write_bytes(SCRIPT.read_bytes())
    (folder / "work").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    environment |= {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "SHOSO_MLFLOW_PLUGIN": "off",  # MLflow as it is without us
    }
    trained(library, folder / "work", environment, "../train.py", library, uri, f"by {library}")
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name(f"by {library}")
    runs = client.search_runs([experiment.experiment_id])
    parents = {run.info.run_id: run.info.run_name for run in runs}
    seen = {f"{run.info.run_name}": described(client, uri, run, parents) for run in runs}
    unnamed = [name for name in seen if name not in {"everything", "child"}]
    return {**seen, "implicit": seen.pop(*unnamed), "experiment": {"tags": experiment.tags}}


def trained(library: str, folder: Path, environment: dict[str, str], *command: str) -> None:
    """The script has run, in that folder."""
    if library == "mlflow":
        out = folder.with_name("out")
        assert warm.start(command, env=environment, cwd=folder, out=out).wait(240) == 0, out.read_text()
        return
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def repository(folder: Path) -> None:
    """A git repository with one commit, the same every time."""
    fixed = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
             {"NAME": "n", "EMAIL": "e", "DATE": "2026-01-01T00:00:00Z"}.items()}  # fmt: skip
    for command in (
        ["init", "-q", "-b", "trunk"],
        ["remote", "add", "origin", "https://user:secret@example.com/repository.git"],
        ["commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(folder), *command], env=os.environ | fixed, check=True)


def described(client, uri: str, run, parents: dict[str, str]) -> dict:
    tags = {key: parents.get(value, value) for key, value in run.data.tags.items()}
    implicit = run.info.run_name not in {"everything", "child"}
    if implicit:
        tags.pop("mlflow.runName")
    return {
        "name": implicit or run.info.run_name,
        "status": run.info.status,
        "user": run.info.user_id,
        "params": run.data.params,
        "tags": tags,
        "metrics": {
            key: points(client, run, key) for key in run.data.metrics if not re.fullmatch("m[0-9]{4}", key)
        },
        "last": {key: str(value) for key, value in run.data.metrics.items()},
        "artifacts": artifacts(uri, run),
        "inputs": [used.to_dictionary() for used in run.inputs.dataset_inputs],
    }


def points(client, run, key: str) -> list[tuple]:
    timed = run.info.start_time
    return [
        (point.step, str(point.value), point.timestamp if point.timestamp < timed else "now")
        for point in client.get_metric_history(run.info.run_id, key)
    ]


def artifacts(uri: str, run) -> dict[str, str]:
    """The digest of each artifact, by its path, in which chance has no part."""
    return {
        _UUID.sub("<uuid>", path): digest(shoso.client.artifacts.read(f"{run.info.artifact_uri}/{path}", uri))
        for path in paths(uri, run.info.artifact_uri, "")
    }


def paths(uri: str, root: str, folder: str):
    for info in mlflow.artifacts.list_artifacts(f"{root}/{folder}", tracking_uri=uri):
        path = "/".join(part for part in (folder, info.path.rpartition("/")[2]) if part)
        if info.is_dir:
            yield from paths(uri, root, path)
        else:
            yield path


@pytest.mark.parametrize(
    "what", ["name", "status", "user", "params", "tags", "metrics", "last", "artifacts", "inputs"]
)
@pytest.mark.parametrize("run", ["everything", "child", "implicit"])
def test_the_runs_are_the_same(both, run, what):
    assert both["shoso"][run][what] == both["mlflow"][run][what]


def test_the_experiments_are_the_same(both):
    ours, theirs = both["shoso"]["experiment"]["tags"], both["mlflow"]["experiment"]["tags"]
    assert ours["kind"] == theirs["kind"] == "test"


def test_the_script_logs_what_it_says(both):
    """So that two empty runs aren't the same."""
    run = both["shoso"]["everything"]
    assert len(run["params"]) == 159
    assert len(run["artifacts"]) == 32
    assert {used["dataset"]["name"] for used in run["inputs"]} == {"train", "dataset", "more"}
    assert len(run["metrics"]["loss"]) == 5
    assert run["tags"]["mlflow.source.git.repoURL"] == "https://example.com/repository.git"
    assert both["shoso"]["child"]["tags"]["mlflow.parentRunId"] == "everything"
