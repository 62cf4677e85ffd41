"""MLflow's client sends a large file in parts, to a server that offers it."""

from __future__ import annotations

import os
from pathlib import Path

import mlflow
import pytest
from tests.e2e.servers import Server, eventually

pytestmark = [pytest.mark.shoso_only, pytest.mark.since_3]

SIZE = 3 * 1024 * 1024 + 17


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server on a local folder that takes parts."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.flags += ("--direct-transfers", "--public-endpoint-url", f"http://127.0.0.1:{server.port}")
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("forced", ["", "true"], ids=["as the server says", "forced"])
def test_a_large_file_goes_in_parts_and_comes_back(server, experiment, tmp_path, monkeypatch, forced):
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000000")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", "1000000")
    if forced:
        monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", forced)
    data = os.urandom(SIZE)
    (tmp_path / "weights.bin").write_bytes(data)
    before = len(server.log())
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "weights.bin"), "model")
    assert eventually(lambda: server.log()[before:].count("PUT /api/shoso/1/uploads/") == 4)
    found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model/weights.bin")
    assert Path(found).read_bytes() == data


def test_a_server_that_offers_no_parts_gets_the_file_whole(experiment, tmp_path, monkeypatch, launch):
    plain = launch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", plain.uri)
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1000000")
    data = os.urandom(SIZE)
    (tmp_path / "weights.bin").write_bytes(data)
    mlflow.set_experiment("whole")
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(tmp_path / "weights.bin"))
    [stored] = plain.artifacts.rglob("weights.bin")
    assert stored.read_bytes() == data
    assert run.info.run_id in str(stored)
