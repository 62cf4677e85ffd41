"""MLflow's own client with Shoso beside it: the same script, the same outcome, Shoso's transfers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.servers import Server
from tests.servers import mlflowd

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


def test_a_switch_that_cannot_be_read_is_named(server, folder):
    with pytest.raises(AssertionError, match="SHOSO_MLFLOW_PLUGIN: 'perhaps' is neither"):
        outcome(server, folder, "perhaps")
