"""A server below a path of its host: `--static-prefix`."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from tests.e2e.raw import Wire

PREFIX = "/team/mlops"


@pytest.fixture(scope="module")
def server(launch):
    return launch("--static-prefix", PREFIX)


def test_the_client_works_below_the_prefix(client, unique, tmp_path):
    mlflow.set_experiment(unique)
    with mlflow.start_run() as run:
        mlflow.log_param("p", 1)
        mlflow.log_metric("m", 2)
        mlflow.log_text("x", "d/a b.txt")
    data = client.get_run(run.info.run_id).data
    assert (data.params, data.metrics) == ({"p": "1"}, {"m": 2.0})
    assert [info.path for info in client.list_artifacts(run.info.run_id, "d")] == ["d/a b.txt"]
    local = client.download_artifacts(run.info.run_id, "d", tmp_path)
    assert (Path(local) / "a b.txt").read_text() == "x"
    assert len(mlflow.search_runs(experiment_names=[unique])) == 1


def test_a_large_upload_works_below_the_prefix(client, run_id, tmp_path):
    content = bytes(range(256)) * 40_000
    (tmp_path / "10 MB").write_bytes(content)
    client.log_artifact(run_id, tmp_path / "10 MB")
    (tmp_path / "out").mkdir()
    local = client.download_artifacts(run_id, "10 MB", tmp_path / "out")
    assert Path(local).read_bytes() == content


@pytest.mark.parametrize("path", ["/health", "/version", "/api/2.0/mlflow/experiments/get?experiment_id=0"])
def test_routes_are_below_the_prefix(wire, path):
    assert wire.send("GET", f"{PREFIX}{path}").status == 200


def test_server_info_is_found_by_the_client(wire):
    found = {wire.send("GET", f"{prefix}/api/3.0/mlflow/server-info").status for prefix in (PREFIX, "")}
    assert 200 in found


def test_artifacts_by_plain_http_are_below_the_prefix(wire, unique):
    assert wire.put(f"{unique}/a", b"x").status == 200
    assert wire.get(f"{unique}/a").body == b"x"
    assert wire.get(f"{unique}/a", Range="bytes=0-0").status == 206
    assert wire.delete(f"{unique}/a").status == 200
    assert wire.get(f"{unique}/a").status == 404


def test_get_artifact_is_below_the_prefix(wire, client, run_id):
    client.log_text(run_id, "x", "a.txt")
    assert wire.send("GET", f"{PREFIX}/get-artifact?run_id={run_id}&path=a.txt").body == b"x"


def test_calls_without_the_prefix_are_404(server):
    wire = Wire(server.uri)
    assert wire.send("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0").status == 404
    assert wire.send("GET", "/health").status == 404
