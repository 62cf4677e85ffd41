"""Uploads in parts by the server's own URLs: for a storage that signs none."""

from __future__ import annotations

import json
import socket
import struct
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from tests.e2e.servers import Server
from tests.server.sockets import Wire, ask, post, read, request, require_refusal

from shoso.core.keys import ROOT
from shoso.core.types import SignedRequest
from shoso.errors import Kind, StoreError, store_error
from shoso.server import multipart
from shoso.server.direct import Direct
from shoso.stores.memory import MemoryStore
from shoso.wire import requests

MPU = "/api/2.0/mlflow-artifacts/mpu"
PARTS = [b"a" * 3000, b"b" * 3000, b"last"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that takes parts of local files."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.flags += ("--direct-transfers", "--public-endpoint-url", f"http://127.0.0.1:{server.port}")
    server.start()
    yield server
    server.stop()


def _mpu(server: Server, verb: str, folder: str, **fields):
    body = json.dumps({"path": "/home/me/model.bin", **fields}).encode()
    return ask(server, "POST", f"{MPU}/{verb}/{folder}", body, content_type="application/json")


def _begin(server: Server, folder: str, count: int = 3) -> dict:
    answer = _mpu(server, "create", folder, num_parts=count)
    assert answer.status == 200, answer
    assert [credential["part_number"] for credential in answer.json["credentials"]] == [*range(1, count + 1)]
    return answer.json


def _target(begun: dict, number: int) -> str:
    parts = urlsplit(begun["credentials"][number - 1]["url"])
    return f"{parts.path}?{parts.query}"


def _put(server: Server, begun: dict, number: int, data: bytes) -> dict:
    answer = ask(server, "PUT", _target(begun, number), data)
    assert answer.status == 200, answer
    return {"part_number": number, "etag": answer.headers["etag"], "url": "x"}


def test_parts_in_any_order_become_the_artifact(server, unique):
    begun = _begin(server, unique)
    parts = [_put(server, begun, number, PARTS[number - 1]) for number in (3, 1, 2)]
    assert read(server, f"{unique}/model.bin").status == 404
    assert _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=parts).json == {}
    assert read(server, f"{unique}/model.bin").body == b"".join(PARTS)


def test_an_upload_may_be_completed_again_when_the_reply_was_lost(server, unique):
    begun = _begin(server, unique)
    parts = [_put(server, begun, number, PARTS[number - 1]) for number in (1, 2, 3)]
    for _ in range(2):
        assert _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=parts).json == {}
    assert read(server, f"{unique}/model.bin").body == b"".join(PARTS)
    answer = _mpu(server, "complete", f"{unique}/other", upload_id=begun["upload_id"], parts=parts)
    require_refusal(answer, 404, "RESOURCE_DOES_NOT_EXIST", "upload")


async def test_an_upload_whose_parts_cant_be_signed_is_dropped_mock():
    class Unsigning(MemoryStore):
        @property
        def signer(self):
            return self

        async def part(self, ref, number, expires):
            if number == 2:
                raise store_error(Kind.FORBIDDEN, "It may not sign.")
            return SignedRequest("PUT", "https://host/part")

    store = Unsigning()
    services = SimpleNamespace(
        locations=SimpleNamespace(destination=store), direct=Direct(enabled=True, public="", first=store)
    )
    request = requests.CreateMultipartUpload("folder", "/home/me/model.bin", 3)
    with pytest.raises(StoreError, match="may not sign"):
        await multipart.create_upload(services, request)
    assert [ref async for ref in store.uploads.pending(ROOT)] == []


def test_a_lost_connection_costs_one_part(server, unique):
    begun = _begin(server, unique)
    parts = [_put(server, begun, number, PARTS[number - 1]) for number in (1, 3)]
    with Wire(server) as wire:
        whole = request("PUT", _target(begun, 2), PARTS[1])
        wire.send(whole[:-10])
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    refused = _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=[*parts, _named(2)])
    require_refusal(refused, 400, "INVALID_PARAMETER_VALUE", "Part 2")
    parts.append(_put(server, begun, 2, PARTS[1]))
    assert _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=parts).status == 200
    assert read(server, f"{unique}/model.bin").body == b"".join(PARTS)


def _named(number: int, etag: str = "") -> dict:
    return {"part_number": number, "etag": etag, "url": "x"}


def test_parts_without_etags_are_taken_by_number(server, unique):
    begun = _begin(server, unique)
    for number, data in enumerate(PARTS, 1):
        _put(server, begun, number, data)
    parts = [_named(number) for number in (1, 2, 3)]
    assert _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=parts).status == 200
    assert read(server, f"{unique}/model.bin").body == b"".join(PARTS)


def test_the_etag_of_another_part_is_refused(server, unique):
    begun = _begin(server, unique)
    _put(server, begun, 1, PARTS[0])
    parts = [_named(1, '"0123"')]
    answer = _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=parts)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "Part 1")
    assert read(server, f"{unique}/model.bin").status == 404


def test_an_upload_aborted_is_gone_and_may_be_aborted_again(server, unique):
    begun = _begin(server, unique)
    _put(server, begun, 1, PARTS[0])
    for _ in range(2):
        assert _mpu(server, "abort", unique, upload_id=begun["upload_id"]).json == {}
    assert ask(server, "PUT", _target(begun, 2), PARTS[1]).status == 404
    assert _mpu(server, "complete", unique, upload_id=begun["upload_id"], parts=[_named(1)]).status == 404


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("C:\\Users\\me\\model.bin", "model.bin"),
        ("\\\\share\\me\\model.bin", "model.bin"),
        ("model.bin", "model.bin"),
        ("/a/../b/./m.bin", "m.bin"),
        ("/a/back\\slash", "back\\slash"),
    ],
)
def test_of_the_clients_path_only_the_name_counts(server, unique, path, name):
    begun = _mpu(server, "create", unique, path=path, num_parts=1).json
    part = _put(server, begun, 1, b"x")
    done = _mpu(server, "complete", unique, path=path, upload_id=begun["upload_id"], parts=[part])
    assert done.status == 200, done
    assert read(server, f"{unique}/{name.replace(chr(92), '%5C')}").body == b"x"


@pytest.mark.parametrize("path", ["..", "/etc/..", "a/.", "/", ""])
@pytest.mark.parametrize("verb", ["create", "complete", "abort"])
def test_a_path_that_names_no_file_is_refused(server, unique, verb, path):
    answer = _mpu(server, verb, unique, path=path, num_parts=1, upload_id="x", parts=[])
    assert answer.status == 400, answer


@pytest.mark.parametrize("folder", ["../x", "a/%2e%2e/b", ".shoso/uploads", "a//b", "%2Fetc"])
def test_a_folder_that_leads_elsewhere_is_refused(server, folder):
    assert _mpu(server, "create", folder, num_parts=1).status == 400


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_number_of_parts_that_cant_be_is_refused(server, unique, count):
    answer = _mpu(server, "create", unique, num_parts=count)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "num_parts", "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE")


def test_the_server_says_that_it_takes_parts(server):
    info = ask(server, "GET", "/api/3.0/mlflow/server-info").json
    assert info["multipart_uploads_enabled"]
    assert not info["multipart_downloads_enabled"]


def test_a_storage_that_signs_nothing_gives_no_signed_urls(server, run):
    for call, fields in (
        ("presigned-upload-url", {"run_id": run["run_id"], "path": "a"}),
        ("presigned-download-url", {"run_id": run["run_id"], "path": "a"}),
    ):
        answer = post(server, f"artifacts/{call}", fields)
        require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "mlflow-artifacts:")
    answer = ask(server, "GET", "/api/2.0/mlflow-artifacts/presigned/a")
    require_refusal(answer, 501, "NOT_IMPLEMENTED", "Multipart download is not supported")


@pytest.mark.parametrize("fields", [{}, {"run_id": "a", "model_id": "b"}])
def test_a_signed_upload_is_of_a_run_or_of_a_model(server, fields):
    answer = post(server, "artifacts/presigned-upload-url", {"path": "a", **fields})
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "run_id", "model_id")


class TestSwitchedOff:
    @pytest.fixture
    def server(self, shared_server):
        """One with default settings."""
        return shared_server

    def test_the_server_says_that_it_takes_no_parts(self, server):
        info = ask(server, "GET", "/api/3.0/mlflow/server-info").json
        assert not any(info[name] for name in info if name.startswith(("multipart", "presigned")))

    @pytest.mark.parametrize("verb", ["create", "complete", "abort"])
    def test_parts_are_refused_in_the_words_that_mlflow_looks_for(self, server, unique, verb):
        answer = _mpu(server, verb, unique, num_parts=1, upload_id="x", parts=[])
        require_refusal(answer, 501, "NOT_IMPLEMENTED", "--direct-transfers")
        assert answer.json["message"].startswith(
            "Multipart upload is not supported for the current artifact repository"
        )

    def test_a_run_in_another_place_gets_no_signed_url(self, server, unique, tmp_path):
        fields = {"name": unique, "artifact_location": str(server.artifacts / unique)}
        experiment = post(server, "experiments/create", fields).json["experiment_id"]
        run = post(server, "runs/create", {"experiment_id": experiment}).json["run"]["info"]["run_id"]
        answer = post(server, "artifacts/presigned-upload-url", {"run_id": run, "path": "a"})
        require_refusal(answer, 501, "NOT_IMPLEMENTED", "--direct-transfers")
