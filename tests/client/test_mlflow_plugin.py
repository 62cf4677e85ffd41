"""MLflow's own client with Shoso beside it: the same script, the same outcome, Shoso's transfers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from tests.e2e.servers import Server
from tests.servers import mlflowd

from shoso.client.mlflow_plugin import ShosoArtifactRepository

SCRIPT = Path(__file__).with_name("plugin_script.py")
OURS = "ShosoArtifactRepository"


@pytest.fixture(scope="module", params=["shoso", "mlflow"])
def server(request, tmp_path_factory):
    if request.param == "mlflow":
        yield mlflowd.shared()
        return
    server = Server(tmp_path_factory.mktemp("shoso")).start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def folder(tmp_path):
    """A tree with a name that must be encoded in a URL, and an empty folder."""
    for number in range(30):
        path = tmp_path / "data" / "a" / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"number {number}")
    (tmp_path / "data" / "a" / "b").mkdir()
    (tmp_path / "data" / "a" / "b" / "grün & 20.txt").write_text("odd")
    (tmp_path / "data" / "empty").mkdir()
    return tmp_path / "data"


def outcome(server, folder, switch):
    """What the script saw."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    env |= {"SHOSO_MLFLOW_PLUGIN": switch, "SHOSO_STATE": str(folder.parent / "state")}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    command = [sys.executable, str(SCRIPT), server.uri, str(folder)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_script_sees_with_the_plugin_what_it_sees_without(server, folder):
    ours, theirs = outcome(server, folder, "on"), outcome(server, folder, "off")
    assert ours.pop("class") == OURS
    assert theirs.pop("class") == "MlflowArtifactsRepository"
    assert ours.pop("missing") == "RESOURCE_DOES_NOT_EXIST"  # MLflow: INTERNAL_ERROR, or what the server says
    theirs.pop("missing")
    assert ours == theirs
    assert ours["whole"]["data/a/b/grün & 20.txt"] == "odd"
    assert len(ours["whole"]) == 33
    assert ours["unlogged"] == ["FileNotFoundError", "", ""]


@pytest.mark.parametrize("server", ["shoso"], indirect=True)
def test_nothing_is_fetched_out_of_the_folder_that_is_asked_for(server, monkeypatch, tmp_path):
    monkeypatch.setenv("SHOSO_STATE", str(tmp_path / "state"))
    inside = ShosoArtifactRepository("mlflow-artifacts:/plugin", server.uri)
    outside = tmp_path / "outside" / "file.txt"
    outside.parent.mkdir()
    (tmp_path / "file.txt").write_text("bytes")
    (tmp_path / "into").mkdir()
    inside.log_artifact(str(tmp_path / "file.txt"), str(outside.parent).strip("/"))
    found = inside.download_artifacts(str(outside), str(tmp_path / "into"))
    assert Path(found).read_text() == "bytes"
    assert Path(found).is_relative_to(tmp_path / "into")
    assert not outside.exists()
    with pytest.raises(MlflowException, match=r"a '\.\.' segment"):
        inside.download_artifacts("a/../../b", str(tmp_path / "into"))


def test_mlflows_own_server_goes_on_by_itself():
    code = (
        "import os; from mlflow.server.constants import BACKEND_STORE_URI_ENV_VAR as name;"
        "from shoso.client.mlflow_plugin import repository;"
        "kind = lambda: type(repository('mlflow-artifacts:/0', 'http://127.0.0.1:9')).__name__;"
        "first = kind(); os.environ[name] = 'sqlite:///mlflow.db'; print(first, kind())"
    )
    env = {**os.environ, "SHOSO_MLFLOW_PLUGIN": "on"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert printed.stdout.split() == [OURS, "MlflowArtifactsRepository"]


def test_a_switch_that_cannot_be_read_is_named(server, folder):
    with pytest.raises(AssertionError, match="SHOSO_MLFLOW_PLUGIN: 'perhaps' is neither"):
        outcome(server, folder, "perhaps")
