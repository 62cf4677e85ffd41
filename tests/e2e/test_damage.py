"""A disk that is full and a file that rots, as the real client meets them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from requests import HTTPError
from tests.e2e.servers import Server

pytestmark = pytest.mark.shoso_only  # MLflow answers 500, and sends the file eight times; it checks no digest

MIB = 1 << 20
SECONDS = 30
"""MLflow's client gives up a 500 after four minutes."""


@pytest.fixture
def small(tmp_path):
    """A server whose artifacts are on a disk of 8 MiB."""
    server = Server(tmp_path)
    server.artifacts.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(server.artifacts)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"mounting a small disk takes root: {done.stderr.strip()}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    try:
        yield server.start()
    finally:
        server.stop()
        subprocess.run(["umount", "--lazy", str(server.artifacts)], check=True)


def file_of(folder, name: str, size: int):
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path


def test_a_full_disk_stops_the_client_at_once_and_costs_nothing_else(small, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    client = mlflow.MlflowClient(small.uri)
    run_id = client.create_run("0").info.run_id
    first = file_of(tmp_path, "weights.bin", 5 * MIB)
    client.log_artifact(run_id, str(first))
    kept = first.read_bytes()
    for size in (20 * MIB, 5 * MIB):
        file_of(tmp_path, "weights.bin", size)
        start = time.monotonic()
        with pytest.raises(HTTPError, match="disk is full"):
            client.log_artifact(run_id, str(first))
        assert time.monotonic() - start < SECONDS
    got = mlflow.artifacts.download_artifacts(
        run_id=run_id, artifact_path="weights.bin", tracking_uri=small.uri, dst_path=str(tmp_path / "got")
    )
    assert Path(got).read_bytes() == kept
    client.log_artifact(run_id, str(file_of(tmp_path, "small.bin", MIB)))
    assert {found.path for found in client.list_artifacts(run_id)} == {"weights.bin", "small.bin"}
    assert small.log().count(" 507 PUT ") == 2


def test_a_bit_that_flips_on_disk_is_an_error_of_the_client(server, tmp_path):
    client = mlflow.MlflowClient(server.uri)
    run = client.create_run("0")
    client.log_artifact(run.info.run_id, str(file_of(tmp_path, "model.bin", 3 * MIB)))
    [stored] = server.artifacts.rglob(f"{run.info.run_id}/artifacts/model.bin")
    status = stored.stat()
    with stored.open("r+b") as file:
        file.seek(2 * MIB)
        byte = file.read(1)[0]
        file.seek(2 * MIB)
        file.write(bytes([byte ^ 1]))
    os.utime(stored, ns=(status.st_atime_ns, status.st_mtime_ns))  # rot leaves no trace in the times
    with pytest.raises(MlflowException):
        mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id,
            artifact_path="model.bin",
            tracking_uri=server.uri,
            dst_path=str(tmp_path / "got"),
        )
