"""The drop-in promise: MLflow's server and Shoso's take turns on a database, and see no difference."""

from __future__ import annotations

import json
from contextlib import contextmanager

import mlflow
import pytest
from tests.e2e import dropin
from tests.e2e.servers import Attached, Server, free_port
from tests.metadata import places
from tests.servers import warm
from tests.servers.mlflowd import MlflowServer

from shoso.metadata.schema import USED

pytestmark = [pytest.mark.shoso_only, pytest.mark.parametrize("kind", places.PLACES)]


@pytest.fixture(scope="module")
def server():
    """Nobody: each test says whom it talks to."""
    return Attached("http://127.0.0.1:9")


@pytest.fixture(autouse=True)
def _unmodified(monkeypatch):
    """MLflow's own client, without Shoso's plugin."""
    monkeypatch.setenv("SHOSO_MLFLOW_PLUGIN", "off")
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture
def uri(kind, tmp_path):
    return f"sqlite:///{tmp_path}/mlflow.db" if kind == "sqlite" else places.new(kind)


@pytest.fixture
def port():
    """Where all the servers of a test listen: MLflow's client remembers where a run's artifacts are."""
    return free_port()


@contextmanager
def serving(program, folder, uri, port, *flags):
    """A server on the database, whose artifacts are in the folder; what MLflow's client does goes there."""
    server = program(folder, "--backend-store-uri", uri, *flags, port=port)
    server.start()
    mlflow.set_tracking_uri(server.uri)
    try:
        yield server
    finally:
        server.stop()


def test_what_mlflow_wrote_is_served_the_same_and_handed_back(kind, uri, tmp_path, port):
    workspaces = ["--enable-workspaces"] if kind == "postgres" else []
    with serving(MlflowServer, tmp_path, uri, port, *workspaces) as mlflows:
        empty = dropin.rows(uri)
        dropin.work("theirs", tmp_path)
        theirs = dropin.added(empty, dropin.rows(uri), "theirs")
        dropin.beside(mlflows.uri)
        hidden = work_elsewhere(mlflows.uri, tmp_path) if workspaces else None
        written = dropin.replies(mlflows.uri)
    before = dropin.rows(uri)

    with serving(Server, tmp_path, uri, port) as ours:
        assert dropin.different(dropin.replies(ours.uri), written) == {}
        assert dropin.different(dropin.rows(uri), before) == {}
        dropin.work("ours", tmp_path)
        after = dropin.rows(uri)
        assert dropin.different(dropin.added(before, after, "ours"), theirs) == {}
        dropin.go_on("theirs")
        log_more("theirs")
        changed = dropin.replies(ours.uri)
    after = dropin.rows(uri)
    assert {table for table in before if before[table] != after[table]} <= {table.name for table in USED}

    with serving(MlflowServer, tmp_path, uri, port, *workspaces) as mlflows:
        assert dropin.different(dropin.replies(mlflows.uri), changed) == {}
        if workspaces:
            assert dropin.different(dropin.replies(mlflows.uri, "team"), hidden) == {}
        dropin.go_on("ours", archive=kind != "postgres")


def log_more(label):
    """Log an artifact to a run that was there."""
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(f"{label}-moved")
    [run] = client.search_runs([experiment.experiment_id], f"run_name = '{label}-renamed'")
    client.log_text(run.info.run_id, "more", "notes/more.txt")


def work_elsewhere(uri, folder):
    """Work in another workspace, with the same names; what is in it then."""
    mlflow.create_workspace("team")
    mlflow.set_workspace("team")
    dropin.work("theirs", folder)
    mlflow.set_workspace(None)
    return dropin.replies(uri, "team")


def test_what_shoso_made_and_wrote_is_mlflows(kind, uri, tmp_path, port):
    with serving(Server, tmp_path, uri, port):
        dropin.work("ours", tmp_path)
        written = dropin.seen()
    found, changed = by_mlflow(uri, "ours")
    assert dropin.different(found, written) == {}
    with serving(Server, tmp_path, uri, port):
        assert dropin.different(dropin.seen(), changed) == {}


def by_mlflow(uri, label):
    """What the real MLflow finds in a database, before and after it goes on with a work: without a server."""
    return json.loads(warm.printed("-m", "tests.e2e.dropin", uri, label).splitlines()[-1])
