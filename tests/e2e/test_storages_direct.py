"""MLflow's client goes around the server: to a storage that signs requests, by an address that it knows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.e2e.raw import Wire
from tests.e2e.servers import Server, eventually
from tests.e2e.storages import fresh, root_of

from shoso.stores import open_store

pytestmark = [pytest.mark.shoso_only, pytest.mark.since_3]

MIB = 1 << 20
SIGNING = ["s3", "azure", "gcs"]


@pytest.fixture(scope="module", params=SIGNING)
def storage(request):
    """A fresh place in a storage that signs requests."""
    return fresh(request.param)


@pytest.fixture
def parts(monkeypatch):
    """MLflow's client sends what has 6 MiB or more in parts of 5 MiB."""
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * MIB))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MIB))


@pytest.fixture
def large(tmp_path) -> Path:
    """A file of 11 MiB and a bit."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(11 * MIB + 3))
    return path


@pytest.fixture(scope="module")
def public(storage):
    """The storage's address under another name of this machine."""
    return open_store(storage.uri, storage.environment).info.endpoint.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def server(storage, public, tmp_path_factory):
    """A server that lets its clients go around it."""
    flags = ("--artifacts-destination", storage.uri)
    flags += ("--direct-transfers", "--public-endpoint-url", public)
    server = Server(tmp_path_factory.mktemp("server"), *flags, env=dict(storage.environment)).start()
    yield server
    server.stop()


@pytest.mark.usefixtures("parts")
def test_a_large_file_goes_to_the_storage_and_back(server, client, run_id, large, tmp_path):
    before = len(server.log())
    client.log_artifact(run_id, str(large), "model")
    (tmp_path / "out").mkdir()
    fetched = Path(client.download_artifacts(run_id, "model/large.bin", str(tmp_path / "out")))
    assert fetched.read_bytes() == large.read_bytes()
    assert [info.file_size for info in client.list_artifacts(run_id, "model")] == [large.stat().st_size]
    assert eventually(lambda: "/presigned/" in server.log()[before:])
    log = server.log()[before:]
    assert "/mpu/complete/" in log
    assert "/presigned/" in log
    assert "PUT /api/2.0/mlflow-artifacts/artifacts" not in log
    assert "X-Amz-Signature" not in log
    assert "X-Goog-Signature" not in log
    assert "sig=" not in log


def test_urls_have_the_address_that_clients_know(server, client, run_id, public):
    client.log_text(run_id, "x", "x.txt")
    wire = Wire(server.uri)
    reply = wire.send("GET", f"{wire.root}/presigned/{quote(root_of(client, run_id))}/x.txt")
    assert reply.status == 200, reply
    answer = json.loads(reply.body)
    assert answer["url"].startswith(f"{public}/")
    assert answer["file_size"] == 1


def test_an_upload_that_is_aborted_leaves_nothing(server, client, run_id):
    wire, root = Wire(server.uri), quote(root_of(client, run_id))
    kind = {"Content-Type": "application/json"}
    body = json.dumps({"path": "/x/large.bin", "num_parts": 2})
    begun = json.loads(wire.send("POST", f"{wire.root}/mpu/create/{root}", body, kind).body)
    body = json.dumps({"path": "/x/large.bin", "upload_id": begun["upload_id"]})
    assert wire.send("POST", f"{wire.root}/mpu/abort/{root}", body, kind).status == 200
    pending = wire.send("GET", f"/api/shoso/1/uploads?prefix={root}")
    assert json.loads(pending.body)["uploads"] == []


def test_the_server_says_what_its_clients_may(server):
    info = json.loads(Wire(server.uri).send("GET", "/api/3.0/mlflow/server-info").body)
    assert info["multipart_uploads_enabled"]
    assert info["multipart_downloads_enabled"]


def test_the_switch_alone_is_refused_where_clients_might_not_find_the_storage(storage, tmp_path):
    flags = ("--artifacts-destination", storage.uri, "--direct-transfers")
    server = Server(tmp_path, *flags, env=dict(storage.environment))
    with pytest.raises(RuntimeError, match="--public-endpoint-url"):
        server.start()
