"""The design's promises, each under its name, with a server that is killed, stopped and fought over."""

from __future__ import annotations

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest
from tests.e2e.memory import Watch, resident
from tests.e2e.raw import Api, Wire, connect
from tests.e2e.servers import eventually

MIB = 1 << 20
SENT = 24 * MIB  # of an upload of 32: more than sockets hold, so the server has begun to take it


@pytest.fixture(scope="module")
def server(launch):
    """A server of this module's own: its tests kill it."""
    return launch()


@pytest.fixture
def api(server):
    """A connection of the test's own, for the server may have been restarted."""
    api = Api(server.uri)
    yield api
    api.session.close()


class Disk:
    """What appears on the server's disk from now on, parts of uploads and hidden files too."""

    def __init__(self, server) -> None:
        self.root = server.artifacts
        self.before = self._files()

    def _files(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}

    def new(self) -> set[str]:
        return self._files() - self.before


@pytest.fixture
def disk(server):
    return Disk(server)


@pytest.fixture
def begin(server):
    """Begin a PUT, or any request whose body is still to come; the connection."""
    connections = []

    def begin(path, *headers: str, sent: bytes) -> socket.socket:
        parts = urlsplit(server.uri)
        connection = socket.create_connection((parts.hostname, parts.port), timeout=60)
        connections.append(connection)
        target = f"{Wire(server.uri).root}/artifacts/{path}"
        head = "\r\n".join([f"PUT {target} HTTP/1.1", f"Host: {parts.netloc}", *headers, "", ""])
        connection.sendall(head.encode() + sent)
        return connection

    yield begin
    for connection in connections:
        connection.close()


# -- 1 ----------------------------------------------------------------------------------------------------


def test_acknowledged_means_kept_of_an_upload_when_the_server_is_killed(server, wire, unique):
    content = os.urandom(3 * MIB)
    for i in range(3):
        assert wire.put(f"{unique}/{i}", content).status == 200
    server.kill()
    server.start()
    for i in range(3):
        assert wire.get(f"{unique}/{i}").body == content


def test_acknowledged_means_kept_of_log_calls_when_the_server_is_killed(server, api, run_id):
    acknowledged = _log_until_killed(server, api, run_id)
    server.start()
    reply = Api(server.uri).ok("GET", "metrics/get-history", run_id=run_id, metric_key="m")
    kept = [metric["step"] for metric in reply["metrics"]]
    assert len(acknowledged) > 20
    assert kept[: len(acknowledged)] == acknowledged
    assert len(kept) <= len(acknowledged) + 1


def _log_until_killed(server, api, run_id) -> list[int]:
    """Log points one by one while the server is killed; the steps that were acknowledged."""
    acknowledged: list[int] = []
    enough = threading.Event()
    killer = threading.Thread(target=lambda: (enough.wait(), server.kill()))
    killer.start()
    try:
        for step in range(100_000):
            point = {"run_id": run_id, "key": "m", "value": step, "timestamp": step, "step": step}
            if api.post("runs/log-metric", point).status_code == 200:
                acknowledged.append(step)
            if step == 40:
                enough.set()
    except OSError:
        pass
    finally:
        enough.set()
        killer.join()
    return acknowledged


@pytest.mark.shoso_only
def test_a_batch_is_kept_as_a_whole_or_not_at_all_when_the_server_is_killed(server, api, run_id):
    """MLflow writes params, metrics and tags of a batch in transactions of their own."""
    batches = _log_batches_until_killed(server, api, run_id)
    server.start()
    data = Api(server.uri).ok("GET", "runs/get", run_id=run_id)["run"]["data"]
    params = {int(p["key"][1:].split("-")[0]) for p in data["params"]}
    assert set(range(batches)) <= params
    for number in params:
        for kind in ("params", "metrics"):
            assert sum(item["key"].startswith(f"k{number}-") for item in data[kind]) == 20


def _log_batches_until_killed(server, api, run_id) -> int:
    """Log batches while the server is killed; how many were acknowledged."""
    done = 0
    enough = threading.Event()
    killer = threading.Thread(target=lambda: (enough.wait(), server.kill()))
    killer.start()
    try:
        for number in range(10_000):
            keys = [f"k{number}-{i}" for i in range(20)]
            metrics = [{"key": key, "value": 1, "timestamp": 1, "step": 0} for key in keys]
            params = [{"key": key, "value": "1"} for key in keys]
            body = {"run_id": run_id, "metrics": metrics, "params": params}
            done += api.post("runs/log-batch", body).status_code == 200
            if number == 10:
                enough.set()
    except OSError:
        pass
    finally:
        enough.set()
        killer.join()
    return done


def test_sigterm_finishes_the_requests_in_flight(server, wire, unique, begin):
    connection = begin(f"{unique}/slow", f"Content-Length: {32 * MIB}", sent=b"a" * SENT)
    stopper = threading.Thread(target=server.stop)
    pid = server.pid
    stopper.start()
    assert eventually(lambda: not _accepts(server))
    connection.sendall(b"b" * (32 * MIB - SENT))
    assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    connection.close()
    stopper.join()
    assert not psutil.pid_exists(pid)
    server.start()
    assert wire.get(f"{unique}/slow").body == b"a" * SENT + b"b" * (32 * MIB - SENT)


def _accepts(server) -> bool:
    parts = urlsplit(server.uri)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError:
        return False
    return True


# -- 2 ----------------------------------------------------------------------------------------------------


LENGTHS = [f"Content-Length: {32 * MIB}", "Transfer-Encoding: chunked"]


def body(length: str) -> bytes:
    """The first SENT bytes of a body, as one chunk's beginning where it's in chunks."""
    return (f"{32 * MIB:x}\r\n".encode() if "chunked" in length else b"") + b"x" * SENT


@pytest.mark.parametrize("length", LENGTHS)
def test_whole_or_not_at_all_when_a_client_stops_half_way(wire, unique, disk, begin, length):
    connection = begin(f"{unique}/part", length, sent=body(length))
    assert wire.get(f"{unique}/part").status == 404
    assert b"part" not in wire.list(unique).body
    connection.close()
    assert eventually(lambda: not disk.new())
    assert wire.get(f"{unique}/part").status == 404


@pytest.mark.parametrize("length", LENGTHS)
def test_whole_or_not_at_all_when_the_old_file_is_replaced_half_way(server, wire, unique, begin, length):
    wire.put(f"{unique}/a", b"old")
    disk = Disk(server)
    connection = begin(f"{unique}/a", length, sent=body(length))
    assert wire.get(f"{unique}/a").body == b"old"
    connection.close()
    assert eventually(lambda: not disk.new())
    assert wire.get(f"{unique}/a").body == b"old"


def test_whole_or_not_at_all_when_the_server_is_killed_in_an_upload(server, wire, unique, begin):
    begin(f"{unique}/part", LENGTHS[0], sent=body(LENGTHS[0]))
    server.kill()
    server.start()
    assert wire.get(f"{unique}/part").status == 404
    assert b"part" not in wire.list(unique).body


def test_whole_or_not_at_all_with_two_writers_on_one_path(wire, unique):
    contents = [bytes([letter]) * (4 * MIB) for letter in b"abcd"]
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda content: wire.put(f"{unique}/a", content), contents))
    assert [reply.status for reply in replies] == [200] * 4
    assert wire.get(f"{unique}/a").body in contents


# -- 3 ----------------------------------------------------------------------------------------------------


def test_what_went_in_comes_out_of_many_uploads_at_once(wire, unique):
    def round_trip(number: int) -> bool:
        content = os.urandom(number * 37_000)
        wire.put(f"{unique}/{number}", content)
        return wire.get(f"{unique}/{number}").body == content

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(40)))


def test_a_reader_sees_the_old_file_to_its_end_while_it_is_replaced(server, wire, unique):
    wire.put(f"{unique}/a", b"o" * 32 * MIB)
    connection = connect(server.uri)
    connection.request("GET", f"{wire.root}/artifacts/{unique}/a")
    reply = connection.getresponse()
    first = reply.read(MIB)
    assert wire.put(f"{unique}/a", b"n" * MIB).status == 200
    assert first + reply.read() == b"o" * 32 * MIB
    connection.close()


# -- 5 ----------------------------------------------------------------------------------------------------


def test_constant_memory_during_an_upload_and_a_download(server, wire, unique):
    """256 MiB up and down."""
    wire.put(f"{unique}/warm", b"x" * MIB)
    before = resident(server)
    with Watch(server) as watch:
        reply = wire.put(f"{unique}/big", (b"x" * MIB for _ in range(256)))
        assert reply.status == 200
        assert _length_of(server, wire, f"{unique}/big") == 256 * MIB
    assert watch.peak - before < 32 * MIB


def _length_of(server, wire, path) -> int:
    connection = connect(server.uri)
    connection.request("GET", f"{wire.root}/artifacts/{path}")
    reply = connection.getresponse()
    total = 0
    while chunk := reply.read(MIB):
        total += len(chunk)
    connection.close()
    return total


# -- 6 and 7 ----------------------------------------------------------------------------------------------


def test_nothing_is_deleted_that_was_not_named(wire, unique):
    for name in ("a", "ab", "a%20b", "a.txt", "sub/a"):
        wire.put(f"{unique}/{name}", b"x")
    wire.delete(f"{unique}/a")
    found = {info["path"] for info in json.loads(wire.list(unique).body)["files"]}
    assert found == {"ab", "a b", "a.txt", "sub"}


@pytest.fixture
def outside(server, tmp_path, unique):
    """A folder outside the store, with symlinks to it planted in the store."""
    (tmp_path / "secret").write_text("secret")
    store = server.artifacts / unique
    store.mkdir(parents=True)
    (store / "folder").symlink_to(tmp_path)
    (store / "file").symlink_to(tmp_path / "secret")
    return tmp_path


@pytest.mark.parametrize("path", ["folder/secret", "file"])
def test_nobody_reaches_what_is_not_theirs_by_a_symlink(wire, unique, outside, path):
    for reply in (wire.get(f"{unique}/{path}"), wire.head(f"{unique}/{path}")):
        assert 400 <= reply.status < 500
    assert b"secret" not in wire.list(f"{unique}/folder").body
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.shoso_only
@pytest.mark.parametrize("path", [".shoso", ".shoso/lock", ".shoso/drafts/x"])
def test_nobody_reaches_the_folder_that_the_store_keeps_for_itself(wire, unique, path):
    wire.put(f"{unique}/a", b"x")
    assert b".shoso" not in wire.list("").body
    for reply in (wire.get(path), wire.put(path, b"x"), wire.delete(path)):
        assert 400 <= reply.status < 500
    assert b"lock" not in wire.list(".shoso").body


@pytest.mark.shoso_only
@pytest.mark.parametrize("path", ["folder/secret", "file", "folder/new", "folder"])
def test_nobody_writes_or_deletes_through_a_symlink(wire, unique, outside, path):
    assert wire.put(f"{unique}/{path}", b"evil").status < 500
    wire.delete(f"{unique}/{path}")
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"


# -- 8 ----------------------------------------------------------------------------------------------------


@pytest.mark.shoso_only
def test_a_content_length_that_lies_is_no_file_and_no_5xx(wire, unique, begin):
    connection = begin(f"{unique}/lie", "Content-Length: 100", sent=b"x" * 50)
    connection.shutdown(socket.SHUT_WR)
    answer = connection.recv(4096)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert wire.get(f"{unique}/lie").status == 404
