"""A Shoso server and MLflow's own, and an SDK that begins as in a new process."""

from __future__ import annotations

import os
import uuid

import pytest
from tests.e2e.servers import Server
from tests.servers import mlflowd

import shoso
from shoso.client import active

STATE = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID")


@pytest.fixture(scope="session")
def shoso_server(server_folder):
    server = Server(server_folder()).start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def mlflow_server():
    return mlflowd.shared()


@pytest.fixture
def server(shoso_server):
    """The server that a test logs to; a module that wants both overrides it."""
    return shoso_server


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    """No server, no experiment, no run; nothing of the caller's environment."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_", "SHOSO_"))]:
        monkeypatch.delenv(name)
    for name in STATE:  # so that what a test sets is undone
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHOSO_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    yield
    while shoso.active_run():
        shoso.end_run()
    active._experiment_id = None
    active._runs.begin()
    shoso.set_tracking_uri(None)


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return f"sdk-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def experiment(server, unique):
    """A new experiment, the current one."""
    shoso.set_tracking_uri(server.uri)
    return shoso.set_experiment(unique)


@pytest.fixture
def client(server):
    return shoso.Client(server.uri)


@pytest.fixture
def run(experiment):
    """The active run."""
    return shoso.start_run()
