"""MLflow's client before a server whose artifacts are in a storage: each on a real server of its kind."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from tests.e2e.memory import Watch, resident
from tests.e2e.raw import Wire, connect, error_code, names
from tests.e2e.servers import Server
from tests.e2e.storages import STORAGES, fresh, root_of
from tests.servers import hdfs

pytestmark = [pytest.mark.shoso_only, pytest.mark.since_3]

MIB = 1 << 20
FILES = {
    "model.txt": b"at the root",
    "empty": b"",
    "a/b/deep.bin": os.urandom(3 * MIB + 17),
    "a/two words.txt": b"spaces",
    "a/Größe が.txt": "倉".encode(),
}


@pytest.fixture(scope="module", params=STORAGES)
def storage(request):
    """A fresh place in a storage."""
    return fresh(request.param)


@pytest.fixture(scope="module")
def server(storage, tmp_path_factory):
    """A server before it."""
    server = Server(
        tmp_path_factory.mktemp("server"),
        "--artifacts-destination",
        storage.uri,
        env=dict(storage.environment),
    ).start()
    yield server
    server.stop()


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of files to log."""
    for name, data in FILES.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(data)
    return tmp_path / "files"


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_folder_that_was_logged_comes_back(client, run_id, folder, tmp_path):
    client.log_artifacts(run_id, str(folder), "logged")
    client.log_text(run_id, "text", "logged/a/note.txt")
    listed = {info.path: info.file_size for info in client.list_artifacts(run_id, "logged")}
    assert listed == {"logged/a": None, "logged/empty": 0, "logged/model.txt": 11}
    (tmp_path / "out").mkdir()
    fetched = Path(client.download_artifacts(run_id, "logged", str(tmp_path / "out")))
    assert _contents(fetched) == {**FILES, "a/note.txt": b"text"}


def test_a_model_that_was_logged_is_loaded(experiment):
    class Doubler(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[float]) -> list[float]:
            return [2 * number for number in model_input]

    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(name="doubler", python_model=Doubler(), pip_requirements=[])
    assert mlflow.pyfunc.load_model(logged.model_uri).predict([1.0, 2.5]) == [2.0, 5.0]


def test_what_is_stored_is_where_mlflow_would_have_it(storage, client, run_id):
    client.log_text(run_id, "here", "a/b.txt")
    assert storage.get(f"{root_of(client, run_id)}/a/b.txt") == b"here"


def test_what_mlflow_stored_is_served(storage, client, run_id):
    storage.put(f"{root_of(client, run_id)}/theirs/c.txt", b"theirs")
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/theirs/c.txt") == "theirs"


def test_ranges_tags_and_heads(server, client, run_id):
    data = FILES["a/b/deep.bin"]
    wire, path = Wire(server.uri), f"{root_of(client, run_id)}/deep.bin"
    assert wire.put(path, data).status == 200
    whole = wire.get(path)
    assert (whole.status, whole.body) == (200, data)
    part = wire.get(path, Range=f"bytes={MIB}-{2 * MIB}")
    assert (part.status, part.body) == (206, data[MIB : 2 * MIB + 1])
    head = wire.head(path)
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(data)), b"")
    if tag := whole.headers.get("etag"):
        assert head.headers["etag"] == tag
        assert wire.get(path, If_None_Match=tag).status == 304
        assert wire.get(path, If_Match='"another"').status == 412


def test_what_is_missing_is_missing(server, client, run_id):
    wire, root = Wire(server.uri), root_of(client, run_id)
    reply = wire.get(f"{root}/nothing")
    assert (reply.status, error_code(reply)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert names(wire.list(f"{root}/nothing")) == []


def test_a_folder_is_deleted_with_all_that_is_in_it(server, client, run_id, folder):
    client.log_artifacts(run_id, str(folder), "gone")
    client.log_text(run_id, "stays", "stays.txt")
    wire, root = Wire(server.uri), root_of(client, run_id)
    assert wire.delete(f"{root}/gone").status == 200
    assert names(wire.list(root)) == ["stays.txt"]
    assert wire.delete(f"{root}/gone").status == 200


def test_a_digest_that_is_wrong_is_refused(server, client, run_id):
    wire, path = Wire(server.uri), f"{root_of(client, run_id)}/wrong.bin"
    reply = wire.put(path, b"bytes", shoso_digest="0" * 64)
    assert (reply.status, error_code(reply)) == (422, "DATA_LOSS")
    assert wire.get(path).status == 404


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server, client, run_id):
    path = f"{root_of(client, run_id)}/half.bin"

    def half():
        yield os.urandom(MIB)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        Wire(server.uri).put(path, half())
    assert Wire(server.uri).get(path).status == 404
    assert names(Wire(server.uri).list(root_of(client, run_id))) == []


def test_artifacts_outlive_the_server(server, client, run_id):
    client.log_text(run_id, "kept", "kept.txt")
    server.stop()
    server.start()
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/kept.txt") == "kept"


def test_no_secret_is_in_the_log_or_the_database(server, storage, client, run_id):
    client.log_text(run_id, "x", "x.txt")
    Wire(server.uri).get(f"{root_of(client, run_id)}/nothing")
    if not (secrets := _secrets(storage)):
        pytest.skip("no secret opens this storage")
    for path in [server.folder / "server.log", *server.folder.glob("tracking.db*")]:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path


def _secrets(storage) -> list[str]:
    named = ("SECRET", "KEY", "TOKEN", "PASSWORD", "CONNECTION_STRING", "CREDENTIAL")
    found = [
        value
        for name, value in storage.environment.items()
        if any(word in name for word in named) and not Path(value).exists() and "ID" not in name.split("_")
    ]
    _, at, _ = storage.uri.partition("@")
    user = storage.uri.partition("://")[2].partition("@")[0] if at else ""
    return found + ([user.partition(":")[2]] if ":" in user else [])


def test_no_way_around_the_server_is_offered(server):
    info = json.loads(Wire(server.uri).send("GET", "/api/3.0/mlflow/server-info").body)
    assert not info["multipart_uploads_enabled"]
    assert not info["multipart_downloads_enabled"]


def test_a_large_file_goes_through_the_server(server, client, run_id, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(6 * MIB))
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(11 * MIB + 3))
    client.log_artifact(run_id, str(large))
    (tmp_path / "out").mkdir()
    fetched = Path(client.download_artifacts(run_id, "large.bin", str(tmp_path / "out")))
    assert fetched.read_bytes() == large.read_bytes()
    assert "/mpu/" not in server.log()


AT_ONCE = 4


def test_memory_is_constant_however_much_is_under_way(server, client, run_id, storage):
    """Four transfers at once, up and down, of 32 and of 64 MiB each: the peak stays.

    HDFS's writers keep packets that a slow storage hasn't confirmed, the smaller ones perhaps fewer.
    """
    queued = AT_ONCE * hdfs.QUEUED * 1024 if storage.uri.startswith("hdfs:") else 0
    root = root_of(client, run_id)
    _at_once(server, root, MIB)
    idle, growths = resident(server), []
    for size in (32 * MIB, 64 * MIB):
        with Watch(server) as watch:
            _at_once(server, root, size)
        growths.append(watch.peak - idle)
    assert growths[1] < growths[0] + AT_ONCE * 12 * MIB + queued, growths
    assert max(growths) < AT_ONCE * 40 * MIB, growths


def _at_once(server, root: str, size: int) -> None:
    """Artifacts up at once, then all of them down, and gone: their storage may be in memory too."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        paths = [f"{root}/{number}.bin" for number in range(AT_ONCE)]
        assert {reply.status for reply in pool.map(lambda path: _send(server, path, size), paths)} == {200}
        assert set(pool.map(lambda path: _drain(server, path), paths)) == {size}
    assert Wire(server.uri).delete(root).status == 200


def _send(server, path: str, size: int):
    block = os.urandom(MIB)
    return Wire(server.uri).put(path, (block for _ in range(size // MIB)))


def _drain(server, path: str) -> int:
    connection, total = connect(server.uri), 0
    connection.request("GET", f"{Wire(server.uri).root}/artifacts/{path}")
    reply = connection.getresponse()
    while chunk := reply.read(MIB):
        total += len(chunk)
    connection.close()
    return total
