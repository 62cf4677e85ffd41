"""What the server prints: a line a request that nobody can forge, and no request that waits for a reader."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.e2e.servers import Server
from tests.server.sockets import API, ARTIFACTS, ask, get, post, put
from tests.server.test_transfers import eventually

from shoso.server.access_log import AccessLog
from shoso.server.exchange import Exchange
from shoso.server.lines import HELD, Lines, LinesHandler, escaped

TEXT_LINE = re.compile(r"\d\d:\d\d:\d\d (\d{3}) ([A-Z]+) (\S+) \d+\.\d ms (\d+) B((?: \w+='[^']*')*)")


# -- a line a request -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(launch):
    """A server that logs for machines."""
    return launch("--log-format", "json")


def lines_of(server, *words: str) -> list[str]:
    """The lines with all of these words, once there are any."""

    def found() -> list[str]:
        return [line for line in server.log().splitlines() if all(word in line for word in words)]

    assert eventually(found), words
    return found()


def test_a_line_for_people_says_what_was_asked_and_how_it_went(server, run):
    put(server, f"{run['experiment_id']}/{run['run_id']}/artifacts/a", b"12345")
    [line] = lines_of(server, run["run_id"], " PUT ")
    status, method, route, size, subject = TEXT_LINE.fullmatch(line).groups()
    assert (status, method, route, size) == ("200", "PUT", ARTIFACTS + "/{path:path}", "5")
    assert subject == f" experiment_id='{run['experiment_id']}' run_id='{run['run_id']}'"


def test_a_line_for_machines_says_the_same(machine, unique):
    experiment = post(machine, "experiments/create", {"name": unique}).json["experiment_id"]
    run_id = post(machine, "runs/create", {"experiment_id": experiment}).json["run"]["info"]["run_id"]
    point = {"run_id": run_id, "key": "m", "value": 1, "timestamp": 1}
    answer = post(machine, "runs/log-metric", point)
    [line] = [json.loads(text) for text in lines_of(machine, run_id, "log-metric")]
    assert time.time() - 60 < line.pop("time") <= time.time()
    assert 0 < line.pop("ms") < 60_000
    assert line == {
        "method": "POST",
        "route": f"{API}/runs/log-metric",
        "status": 200,
        "bytes_in": len(json.dumps(point)),
        "bytes_out": len(answer.body),
        "run_id": run_id,
    }


def test_every_line_for_machines_is_json(machine):
    get(machine, "/nothing")
    ask(machine, "PUT", f"{ARTIFACTS}/..", b"x")
    assert lines_of(machine, "/{path:path}")
    for line in machine.log().splitlines():
        assert {"time"} < set(json.loads(line))


SUBJECTS = {
    "an experiment": (f"{API}/experiments/get?experiment_id=subject1", "experiment_id"),
    "a run": (f"{API}/runs/get?run_id=subject2", "run_id"),
    "a run by its old name": (f"{API}/runs/get?run_uuid=subject3", "run_id"),
    "a model": (f"{API}/logged-models/subject4", "model_id"),
    "a run's file": ("/get-artifact?run_id=subject5&path=a", "run_id"),
    "a proxied path": (f"{ARTIFACTS}/subject6/a", "experiment_id"),
    "a proxied path of a run": (f"{ARTIFACTS}/1/subject7/artifacts/a", "run_id"),
    "a proxied path of a model": (f"{ARTIFACTS}/1/models/subject8/artifacts/a", "run_id"),
}


@pytest.mark.parametrize(("target", "name"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_line_names_the_run_experiment_or_model(machine, target, name):
    get(machine, target)
    subject = re.search(r"subject\d", target)[0]
    assert any(json.loads(line).get(name) == subject for line in lines_of(machine, subject, '"method"'))


def test_a_request_for_no_route_is_logged_without_its_path(server, unique):
    get(server, f"/{unique}")
    post(server, "nothing", {"run_id": unique})
    lines_of(server, " 404 POST - ")
    assert unique not in server.log()


# -- forgery ----------------------------------------------------------------------------------------------

FORGED = "12:00:00 200 GET /forged 1.0 ms 0 B"
EVIL = f"x\r\n{FORGED}\n\x1b[2J\x1b]0;owned\x07\x9b31m\u2028{FORGED}\u202e\x00"


def test_no_path_query_or_body_forges_a_line(server, machine):
    quoted = "".join(f"%{byte:02x}" for byte in EVIL.encode())
    for target in (server, machine):
        for path in (
            quoted,
            f"{quoted}/a",
            f"1/{quoted}/artifacts/a",
            quoted.replace("%00", "").replace("%0a", ""),
        ):
            put(target, path, b"x")
            get(target, f"{ARTIFACTS}/{path}")
        get(target, f"{API}/runs/get?run_id={quoted}")
        get(target, f"/get-artifact?run_id={quoted}&path={quoted}")
        post(target, "runs/log-metric", {"run_id": EVIL, "key": "m", "value": 1, "timestamp": 1})
        post(target, "runs/get", {"run_id": EVIL})
        ask(target, "GET", "/health", user_agent="x\x1b[2J", host="localhost")
        lines_of(target, "owned")
        text = target.log()
        assert not [line for line in re.split(r"[\r\n\x85\u2028\u2029]", text) if line.startswith(FORGED)]
        assert all(char.isprintable() for char in text.replace("\n", ""))


@given(st.text(max_size=20))
def test_whatever_a_message_holds_it_stays_on_its_line(text):
    shown = escaped(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert text.isprintable() <= (shown == text)


@given(st.text(max_size=200), st.sampled_from(["text", "json"]))
def test_whatever_an_id_holds_it_stays_on_its_line(text, form):
    out = Gathered()
    log = AccessLog(form, out)
    log._lines.append(log._format(exchange_about(text), time.time(), 1.0))
    log.flush()
    assert out.text.count("\n") == 1
    assert out.text.endswith("\n")
    assert out.text[:-1].isprintable()
    assert len(out.text) < 1500


def exchange_about(run_id: str) -> Exchange:
    exchange = Exchange({"method": "GET", "headers": []}, None, None, "/x", 1.0)
    exchange.subject = {"run_id": run_id}
    exchange.status = 200
    return exchange


class Gathered:
    """Lines, kept."""

    text = ""

    def write(self, text: str) -> None:
        self.text += text


# -- a reader that doesn't read ---------------------------------------------------------------------------


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        try:
            os.close(end)
        except OSError:
            continue


def read_all(reader: int) -> bytes:
    """What is in the pipe, once its writer is closed."""
    text = b""
    while piece := os.read(reader, 1 << 16):
        text += piece
    return text


def test_lines_come_out_in_order(pipe):
    reader, writer = pipe
    lines = Lines(writer)
    for number in range(500):
        lines.write(f"{number}\n")
        if number % 50 == 0:
            time.sleep(0.001)
    lines.close()
    os.close(writer)
    assert read_all(reader) == b"".join(b"%d\n" % number for number in range(500))


def test_a_pipe_nobody_reads_holds_nobody_up_and_the_loss_is_told(pipe):
    reader, writer = pipe
    lines = Lines(writer)
    piece = "x" * 1023 + "\n"
    started = time.monotonic()
    for _ in range(10 * HELD):
        lines.write(piece)
    assert time.monotonic() - started < 2
    kept, again = b"", 0
    while b"that nobody read" not in kept:
        kept += os.read(reader, 1 << 16)
        lines.write("again\n")
        again += 1
        time.sleep(0.001)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(read_all, reader)
        lines.close()
        os.close(writer)
        kept += rest.result()
    told = [int(number) for number in re.findall(rb"\(dropped (\d+) lines", kept)]
    assert sum(told) >= 7 * HELD  # the rest waited, was being written, or in the pipe
    assert kept.count(b"\n") - len(told) + sum(told) == 10 * HELD + again


def test_a_reader_that_has_gone_holds_nobody_up(pipe):
    reader, writer = pipe
    os.close(reader)
    lines = Lines(writer)
    for _ in range(100):
        lines.write("x\n")
    lines.close()
    lines.close()


def test_closing_waits_only_so_long_for_a_reader_and_nothing_is_written_later(pipe):
    reader, writer = pipe
    lines = Lines(writer)
    lines.write("x" * (1 << 20) + "\n")
    received = os.read(reader, 1)  # it is being written now, and the pipe holds less
    for _ in range(2 * HELD):
        lines.write("late\n")
    started = time.monotonic()
    lines.close()
    assert time.monotonic() - started < 10
    os.set_blocking(reader, False)
    while lines._thread.is_alive():
        assert time.monotonic() - started < 30
        with suppress(BlockingIOError):
            received += os.read(reader, 1 << 16)
    with suppress(BlockingIOError):
        received += os.read(reader, 1 << 20)
    assert len(received) == (1 << 20) + 1
    assert b"late" not in received


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_keeps_to_its_record(form):
    out = Gathered()
    handler = LinesHandler(out, form)
    with pytest.raises(ValueError, match="owned") as caught:
        int(EVIL)
    info = (caught.type, caught.value, caught.tb)
    handler.handle(logging.LogRecord("shoso", logging.ERROR, "", 0, "%s failed", (EVIL,), info))
    assert "ValueError" in out.text
    if form == "json":
        assert "Traceback" in json.loads(out.text)["traceback"]
    else:
        first, *rest = re.split(r"[\r\n\x85\u2028\u2029]", out.text.rstrip("\n"))
        assert " ERROR shoso " in first
        assert rest
        assert all(line.startswith("    ") for line in rest)


class Unread(Server):
    """A server whose stderr is a pipe that nobody reads."""

    def start(self) -> Server:
        reader, writer = os.pipe()
        self.reader = reader
        self.process = subprocess.Popen(
            self._command(), cwd=self.folder, env=self._environment(), stdout=writer, stderr=writer,
            start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        self._live.append(self)
        self._wait_for_health()
        return self


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_answers_and_stops_though_nobody_reads_what_it_prints(tmp_path, workers):
    server = Unread(tmp_path, "--workers", workers)
    server.start()
    try:
        for number in range(1500):
            long = f"/get-artifact?run_id={'r' * 100}&path=x{number}"
            assert get(server, long).status == 404
            if number % 10 == 0:
                assert get(server, f"{ARTIFACTS}/{number}/missing").status == 404
        assert put(server, "a", b"x").status == 200
    finally:
        assert server.stop() == 0
        os.close(server.reader)


def test_the_first_line_tells_where_the_server_listens(server, machine):
    told = f"Shoso listens on http://{machine.host} (pid {machine.pid})"
    assert json.loads(machine.log().splitlines()[0])["message"] == told
    assert server.log().splitlines()[0].endswith(f"Shoso listens on http://{server.host} (pid {server.pid})")
