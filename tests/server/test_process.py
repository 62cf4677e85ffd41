"""The server as processes: how they end, what they leave, and that several are one."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from tests.e2e.servers import Server
from tests.server.sockets import API, ARTIFACTS, Wire, get, post, put, read, request
from tests.server.test_transfers import eventually
from tests.server.trees import drafts

MIB = 1 << 20
LOG_METRIC = f"{API}/runs/log-metric"


@pytest.fixture
def start(tmp_path):
    """Start a server that the test may stop, kill and start again."""
    started = []

    def start(*flags: str) -> Server:
        server = Server(tmp_path, *flags)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        if server.process is not None:
            server.kill()


def new_run(server) -> str:
    return post(server, "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"]


def point(run_id: str, step: int, key: str = "m") -> bytes:
    """A log-metric request."""
    body = json.dumps({"run_id": run_id, "key": key, "value": step, "timestamp": step, "step": step}).encode()
    return request("POST", LOG_METRIC, body, content_type="application/json")


def steps_of(server, run_id: str, key: str = "m") -> list[int]:
    history = get(server, f"{API}/metrics/get-history?run_id={run_id}&metric_key={key}").json
    return sorted(metric["step"] for metric in history.get("metrics", []))


def _has_ended(process: psutil.Process) -> bool:
    """Whether it has, though perhaps nobody has asked for its exit code yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def refuses_connections(server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


# -- ending -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_told_to_stop_ends_with_0_and_leaves_no_process(start, workers, number):
    server = start("--workers", workers)
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    with Wire(server) as idle:
        assert idle.ask("GET", "/health").status == 200
        os.kill(server.pid, number)
        started = time.monotonic()
        assert server.process.wait(30) == 0
        assert time.monotonic() - started < 15
        assert idle.is_closed()
    # Python's own tracker of resources ends when it hears that its parent has.
    assert eventually(lambda: all(_has_ended(process) for process in processes))
    assert "Traceback" not in server.log()
    server.stop()


UNHEARD = """if True:
    import signal, sys, weakref
    from shoso.cli import main
    from shoso.server import process

    def announce(*_):
        gone = type("Gone", (), {})()
        left = weakref.ref(gone, lambda _: signal.raise_signal(signal.SIGTERM))
        del gone

    process._announce = announce
    if __name__ == "__main__":
        main(["server", "--port", "0", "--workers", sys.argv[1]])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_that_comes_while_garbage_is_collected_stops_the_server_too(tmp_path, workers):
    (tmp_path / "unheard.py").write_text(UNHEARD)
    done = subprocess.run(
        [sys.executable, "unheard.py", workers],
        cwd=tmp_path, env=Server(tmp_path)._environment(), timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_is_told_to_stop_while_it_starts_ends(tmp_path, workers, delay):
    server = Server(tmp_path, "--workers", workers)
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            server._command(), cwd=tmp_path, env=server._environment(), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(30) in {0, -signal.SIGTERM}
        assert eventually(lambda: not _alive(process.pid))
    finally:
        if _alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in server.log()


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stopping_server_finishes_an_upload_and_takes_no_new_client(start, workers):
    server = start("--workers", workers)
    body = os.urandom(4 * MIB)
    with Wire(server) as wire:
        wire.send(request("PUT", f"{ARTIFACTS}/a", None, content_length=str(len(body))) + body[: 3 * MIB])
        assert eventually(lambda: drafts(server.artifacts))
        os.kill(server.pid, signal.SIGTERM)
        assert eventually(lambda: refuses_connections(server))
        wire.send(body[3 * MIB :])
        answer = wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert server.process.wait(30) == 0
    server.stop()
    server.start()
    assert read(server, "a").body == body
    assert not drafts(server.artifacts)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stopping_server_loses_no_point_that_it_acknowledged(start, workers):
    server = start("--workers", workers)
    run_id = new_run(server)
    acknowledged: list[int] = []
    statuses: set[int] = set()

    def log(first: int) -> None:
        try:
            with Wire(server) as wire:
                for step in range(first, first + 100_000):
                    wire.send(point(run_id, step))
                    statuses.add(wire.answer().status)
                    acknowledged.append(step)
        except OSError:
            return

    threads = [threading.Thread(target=log, args=[number * 100_000]) for number in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: len(acknowledged) > 100)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    server.start()
    kept = steps_of(server, run_id)
    assert set(acknowledged) <= set(kept)
    assert len(kept) - len(acknowledged) <= 4
    assert statuses == {200}


def test_a_client_that_never_ends_holds_up_no_stop(start):
    server = start("--request-silence", "1")
    put(server, "large", b"x" * 64 * MIB)
    with Wire(server) as sender, Wire(server) as reader, Wire(server) as silent:
        sender.send(request("PUT", f"{ARTIFACTS}/a", None, content_length="100000") + b"x" * 10)
        reader.send(request("GET", f"{ARTIFACTS}/large"))
        silent.send(b"GET /hea")
        assert reader.has_begun()
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 15
        assert sender.answer().status == 400


# -- killed -----------------------------------------------------------------------------------------------


def test_a_server_killed_in_an_upload_shows_nothing_of_it_and_sweeps_it_when_it_is_old(start):
    server = start()
    put(server, "a", b"old")
    with Wire(server) as wire:
        wire.send(request("PUT", f"{ARTIFACTS}/a", None, content_length=str(9 * MIB)) + b"x" * 4 * MIB)
        assert eventually(lambda: drafts(server.artifacts))
        server.kill()
    [draft] = drafts(server.artifacts)
    server.start()
    assert read(server, "a").body == b"old"
    assert get(server, f"{ARTIFACTS}?path=").json["files"] == [{"path": "a", "is_dir": False, "file_size": 3}]
    assert drafts(server.artifacts) == [draft]
    server.stop()
    hours_ago = time.time() - 7200
    os.utime(server.artifacts / ".shoso" / "drafts" / draft, (hours_ago, hours_ago))
    server.start()
    assert eventually(lambda: drafts(server.artifacts) == [])
    assert read(server, "a").body == b"old"


def test_workers_end_when_their_parent_is_killed(start):
    server = start("--workers", "2")
    run_id = new_run(server)
    with Wire(server) as wire:
        wire.send(point(run_id, 1))
        assert wire.answer().status == 200
    workers = psutil.Process(server.pid).children(recursive=True)
    os.kill(server.pid, signal.SIGKILL)
    server.process.wait(10)
    assert eventually(lambda: all(_has_ended(worker) for worker in workers))
    server.stop()
    server.start()
    assert steps_of(server, run_id) == [1]


@pytest.mark.parametrize("waited_for", [False, True])
def test_a_worker_that_is_killed_is_replaced(start, waited_for):
    server = start("--workers", "2")
    [serving, _] = first = _serving(server)
    if waited_for:
        os.kill(serving, signal.SIGSTOP)
        time.sleep(1)  # its parent asks every worker for a sign of life twice a second
    os.kill(serving, signal.SIGKILL)
    assert eventually(lambda: len(set(_serving(server)) - {serving}) == 2)
    assert _serving(server) != first
    assert {get(server, "/health").status for _ in range(20)} == {200}
    assert server.stop() == 0


def _serving(server) -> list[int]:
    """The workers that listen."""
    return [child.pid for child in psutil.Process(server.pid).children() if _listens(child.pid, server.port)]


def _listens(pid: int, port: int) -> bool:
    """Whether a process has the server's port open and takes clients from it."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in connections)


# -- several are one --------------------------------------------------------------------------------------

LOGGER = """
import http.client, json, sys
port, run_id, key, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
sys.stdin.readline()
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
statuses = set()
for step in range(count):
    point = {"run_id": run_id, "key": key, "value": step, "timestamp": step, "step": step}
    connection.request("POST", sys.argv[5], json.dumps(point), {"Content-Type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    statuses.add(reply.status)
    if step % 10 == 9:  # another process, perhaps
        connection.close()
print(statuses)
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_eight_client_processes_log_at_once_without_an_error_and_without_loss(start, workers):
    server = start("--workers", workers)
    run_id, count = new_run(server), 100
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", LOGGER, str(server.port), run_id, f"m{number}", str(count), LOG_METRIC],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for client in clients:
        client.stdin.write("go\n")
        client.stdin.flush()
    said = [client.communicate(timeout=120)[0].strip() for client in clients]
    assert said == ["{200}"] * 8
    for number in range(8):
        assert steps_of(server, run_id, f"m{number}") == list(range(count))
    latest = get(server, f"{API}/runs/get?run_id={run_id}").json["run"]["data"]["metrics"]
    assert {metric["step"] for metric in latest} == {count - 1}


def test_both_workers_take_clients_and_see_what_the_other_wrote(start):
    server = start("--workers", "2")
    workers = _serving(server)
    before = {pid: psutil.Process(pid).io_counters().write_chars for pid in workers}

    def work(number: int) -> bool:
        body = os.urandom(100_000)
        assert put(server, f"both/{number}", body).status == 200
        run_id = new_run(server)
        with Wire(server) as wire:
            wire.send(point(run_id, number))
            assert wire.answer().status == 200
        return read(server, f"both/{number}").body == body and steps_of(server, run_id) == [number]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(40)))
    wrote = [psutil.Process(pid).io_counters().write_chars - before[pid] for pid in workers]
    assert all(count > 100_000 for count in wrote), wrote


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_call_on_an_open_connection_takes_no_44_ms(start, workers):
    """Nagle's algorithm against a delayed ACK: what MLflow's server pays for every call."""
    server = start("--workers", workers)
    run_id = new_run(server)
    with Wire(server) as wire:
        for target in ("/health", f"{API}/runs/get?run_id={run_id}"):
            seconds = []
            for _ in range(50):
                started = time.perf_counter()
                assert wire.ask("GET", target).status == 200
                seconds.append(time.perf_counter() - started)
            assert statistics.median(seconds) < 0.010, target
