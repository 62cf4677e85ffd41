"""A file larger than 4 GiB, by MLflow's client."""

from __future__ import annotations

from pathlib import Path

import pytest
from blake3 import blake3
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from tests.e2e.raw import Wire

pytestmark = [pytest.mark.large, pytest.mark.timeout(900), pytest.mark.usefixtures("_retries")]

MIB = 1 << 20


@pytest.fixture(scope="module")
def server(launch):
    """One with its folder on disk: this would be much in memory."""
    return launch()


@pytest.fixture
def _retries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def giant(tmp_path):
    """A sparse file of 4 GiB and 5 MiB, with marks at its ends and across the 4 GiB line."""
    path = tmp_path / "giant.bin"
    with path.open("wb") as file:
        for position in (0, (1 << 32) - 3, (1 << 32) + 5 * MIB - 6):
            file.seek(position)
            file.write(b"marked")
    yield path
    path.unlink()


def test_a_file_over_4_gib_comes_back(server, client, run_id, giant, tmp_path):
    client.log_artifact(run_id, giant)
    [info] = client.list_artifacts(run_id)
    assert info.file_size == giant.stat().st_size == (1 << 32) + 5 * MIB
    (tmp_path / "out").mkdir()
    got = Path(client.download_artifacts(run_id, giant.name, tmp_path / "out"))
    try:
        assert digest(got) == digest(giant)
    finally:
        got.unlink()
    _range_across_4_gib(server, client, run_id, giant.name)
    get_artifact_repository(client.get_run(run_id).info.artifact_uri).delete_artifacts(giant.name)


def _range_across_4_gib(server, client, run_id, name) -> None:
    root = client.get_run(run_id).info.artifact_uri.removeprefix("mlflow-artifacts:/")
    reply = Wire(server.uri).get(f"{root}/{name}", Range=f"bytes={(1 << 32) - 3}-{(1 << 32) + 2}")
    assert (reply.status, reply.body) == (206, b"marked")


def digest(path: Path) -> str:
    return blake3().update_mmap(path).hexdigest()
