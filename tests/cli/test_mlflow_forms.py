"""`mlflow artifacts …` becomes `shoso artifacts …` by one word, and does the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.cli.trees import files, tree

from shoso.cli.artifacts import artifacts

TREE = {"x.txt": b"x", "deep/y.bin": b"12345"}


@pytest.fixture
def programs(environment):
    """`mlflow artifacts` and `shoso artifacts`, each in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's imports
        from mlflow.store.artifact.cli import commands as mlflow
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}

    def program(group):
        def run(*arguments: object) -> str:
            done = CliRunner(env=environment | quiet).invoke(group, [*map(str, arguments)])
            assert done.exit_code == 0, (done.output, done.exception)
            return done.stdout.strip()

        return run

    return {"mlflow": program(mlflow), "shoso": program(artifacts)}


def test_a_script_changes_one_word(programs, api, experiment, tmp_path):
    folder, found = tree(tmp_path / "data", TREE), {}
    for program, run in programs.items():
        run_id, target = api.run_id(experiment), tmp_path / program
        run("log-artifacts", "--local-dir", folder, "--run-id", run_id, "--artifact-path", "data")
        run("log-artifact", "-l", folder / "x.txt", "-r", run_id)
        listed = [json.loads(run("list", "-r", run_id, *more)) for more in ((), ("-a", "data"))]
        paths = [
            run("download", "--run-id", run_id, "--artifact-path", "data/deep", "--dst-path", target),
            run("download", "-u", f"runs:/{run_id}/x.txt", "-d", target),
            run("download", "-r", run_id, "-d", target / "all"),
        ]
        seen = [str(Path(path).relative_to(target)) for path in paths]
        found[program] = (seen, files(target), [sorted(each, key=str) for each in listed])
    assert found["shoso"] == found["mlflow"]


def test_what_is_on_this_machine_stays_where_it_is(shoso, tmp_path):
    tree(tmp_path, {"x.txt": b"x"})
    assert shoso("artifacts", "download", "-u", tmp_path / "x.txt").strip() == str(tmp_path / "x.txt")


def test_a_download_without_a_target_goes_to_a_new_folder(shoso, run_id, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shoso("artifacts", "log-artifact", "-l", tree(tmp_path / "in", {"x.txt": b"x"}) / "x.txt", "-r", run_id)
    path = Path(shoso("artifacts", "download", "-r", run_id, "-a", "x.txt").strip())
    assert path.read_bytes() == b"x"
    assert path.parent.parent == tmp_path


def test_a_file_and_a_folder_are_told_apart(shoso, run_id, tmp_path):
    tree(tmp_path, {"x.txt": b"x"})
    assert "log-artifacts" in shoso.error("artifacts", "log-artifact", "-l", tmp_path, "-r", run_id, code=2)
    wrong = ("log-artifacts", "-l", tmp_path / "x.txt", "-r", run_id)
    assert "no folder" in shoso.error("artifacts", *wrong, code=2)
    assert "--run-id" in shoso.error("artifacts", "download", code=2)
