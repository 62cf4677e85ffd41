"""Against a plain `mlflow server` the commands do the same, without the extensions."""

from __future__ import annotations

import json

import pytest
from tests.cli.trees import files, tree
from tests.servers import mlflowd

TREE = {"weights.bin": bytes(range(256)) * 4000, "logs/a.log": b"a", "logs/deep/b.txt": b""}


@pytest.fixture
def server():
    """The server that all tests of this process share."""
    return mlflowd.shared()


def test_artifacts_are_sent_listed_fetched_compared_and_deleted(shoso, run_id, tmp_path):
    folder, uri = tree(tmp_path / "data", TREE), f"runs:/{run_id}/data"
    assert shoso.json("artifacts", "put", folder, uri)["copied"] == 3
    assert shoso.json("artifacts", "put", folder, uri)["copied"] == 3  # its listings tell no versions
    assert set(shoso("artifacts", "ls", "-r", uri).split()) == set(TREE)
    shoso("artifacts", "get", uri, tmp_path / "back")
    assert files(tmp_path / "back") == TREE
    assert shoso.json("artifacts", "verify", uri, "--against", folder)["verified"] == 3
    assert "3 of 3" in shoso.result("artifacts", "verify", uri, code=1).stderr
    shoso("artifacts", "cp", "-r", uri, f"runs:/{run_id}/other")
    shoso("artifacts", "rm", "-r", uri)
    left = shoso("artifacts", "ls", "-r", f"runs:/{run_id}").split()
    assert set(left) == {f"other/{path}" for path in TREE}


def test_what_others_have_put_in_its_place_is_never_taken_for_what_was_sent(shoso, run_id, tmp_path):
    uri = f"runs:/{run_id}/last.ckpt"
    for name, data in (("one", b"1" * 1000), ("two", b"2" * 1000), ("one", b"1" * 1000)):
        path = tree(tmp_path / name, {"last.ckpt": data}) / "last.ckpt"
        shoso("artifacts", "put", path, uri)
        shoso("artifacts", "get", uri, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data


def test_a_large_artifact_comes_also_once_the_server_has_shown_that_it_sends_ranges(shoso, run_id, tmp_path):
    shoso.environment["MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE"] = "500000"
    data = {"a.txt": b"a", "b.bin": bytes(range(256)) * 8000, "c.bin": bytes(range(256)) * 8000}
    uri = f"runs:/{run_id}/data"
    shoso("artifacts", "put", tree(tmp_path / "data", data), uri)
    shoso("artifacts", "get", uri, tmp_path / "back")
    assert files(tmp_path / "back") == data


def test_runs_and_experiments_are_found_and_changed(shoso, experiment, run_id, unique):
    assert [run["info"]["run_id"] for run in shoso.json("runs", "list", "-n", unique)] == [run_id]
    assert run_id in shoso("runs", "describe", "--run-id", run_id)
    shoso("runs", "delete", "--run-id", run_id)
    assert shoso.json("runs", "list", "-x", experiment) == []
    shoso("runs", "restore", "--run-id", run_id)
    shoso("experiments", "rename", "-x", experiment, "--new-name", unique + "-b")
    assert shoso.json("experiments", "get", "-n", unique + "-b")["experiment_id"] == experiment
    assert json.loads(shoso("artifacts", "list", "-r", run_id)) == []
