"""Servers that serve artifacts alone, and servers that leave artifacts to the client."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from tests.e2e.raw import Api, Wire
from tests.e2e.servers import REFERENCE

TRACKING = "/api/2.0/mlflow/experiments/get?experiment_id=0"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def is_disabled(reply) -> bool:
    """MLflow says 503, which its client asks again for four minutes; Shoso may say 404."""
    return reply.status == 503 or (reply.status == 404 and not REFERENCE)


class TestArtifactsOnly:
    """`--artifacts-only`: the proxy without tracking."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, launch):
        return launch("--artifacts-only")

    def test_tracking_is_503(self, wire):
        reply = wire.send("GET", TRACKING)
        assert is_disabled(reply)
        assert b"artifacts-only" in reply.body

    def test_artifacts_are_served(self, wire, unique):
        assert wire.put(f"{unique}/a", b"x").status == 200
        assert wire.get(f"{unique}/a").body == b"x"
        assert b'"a"' in wire.list(unique).body
        assert wire.delete(f"{unique}/a").status == 200

    def test_health_and_version_answer(self, wire):
        assert wire.send("GET", "/health").status == 200
        assert wire.send("GET", "/version").status == 200


class TestNoServeArtifacts:
    """`--no-serve-artifacts`: clients go to the storage themselves."""

    @pytest.fixture(scope="class")
    @classmethod
    def root(cls, tmp_path_factory):
        return tmp_path_factory.mktemp("roots")

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, launch, root):
        return launch("--no-serve-artifacts", "--default-artifact-root", str(root))

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    def test_the_proxy_is_503(self, wire, method):
        reply = wire.send(method, f"{ARTIFACTS}/a", b"x" if method == "PUT" else None)
        assert is_disabled(reply)
        assert is_disabled(wire.send("GET", f"{ARTIFACTS}?path=a"))

    def test_runs_are_given_a_place_below_the_root(self, client, unique, root):
        experiment = client.create_experiment(unique)
        uri = client.create_run(experiment).info.artifact_uri
        assert Path(uri.removeprefix("file://")).is_relative_to(root / experiment)

    def test_the_client_writes_the_files_itself(self, client, unique, root):
        mlflow.set_experiment(unique)
        with mlflow.start_run() as run:
            mlflow.log_text("x", "a.txt")
        [path] = root.rglob(f"{run.info.run_id}/artifacts/a.txt")
        assert path.read_text() == "x"
        assert [info.path for info in client.list_artifacts(run.info.run_id)] == ["a.txt"]

    def test_the_server_lists_and_shows_them(self, server, client, run_id):
        client.log_text(run_id, "x", "d/a.txt")
        files = Api(server.uri).ok("GET", "artifacts/list", run_id=run_id)["files"]
        assert files == [{"path": "d", "is_dir": True}]
        reply = Wire(server.uri).send("GET", f"/get-artifact?run_id={run_id}&path=d/a.txt")
        assert reply.body == b"x"
