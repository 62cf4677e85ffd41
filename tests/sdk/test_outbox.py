"""An outbox between a script and its server: nothing waits, nothing is lost, nothing comes twice."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from tests.e2e.servers import Server

import shoso
from shoso.cli import main
from shoso.client import link
from shoso.entities import Dataset, DatasetInput
from shoso.errors import ShosoError

TRAINING = """
import sys
import shoso
with shoso.start_run(run_name="trained") as run:
    print(run.info.run_id, flush=True)
    shoso.log_param("rate", 0.1)
    for step in range(200):
        shoso.log_metric("loss", 1 / (step + 1), step=step)
    shoso.log_text("all of it", "notes/text.txt")
    shoso.log_artifacts(sys.argv[1], "data")
    if len(sys.argv) > 2:
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def own(tmp_path):
    """A server that a test may stop."""
    server = Server(tmp_path / "server")
    server.folder.mkdir()
    yield server.start()
    server.stop()


@pytest.fixture
def outbox(tmp_path, monkeypatch):
    """A folder that is everybody's outbox."""
    monkeypatch.setenv("SHOSO_OUTBOX", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


@pytest.fixture
def data(tmp_path):
    """A folder to log."""
    for number in range(5):
        path = tmp_path / "data" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
    return tmp_path / "data"


def train(server, *arguments):
    """Run the training in a process of its own; the run's id, seconds, exit code, what it warned of."""
    env = {**os.environ, "MLFLOW_TRACKING_URI": server.uri}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, *map(str, arguments)],
        env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout.strip(), time.monotonic() - began, done.returncode, done.stderr


def synced(server, outbox):
    """What `shoso sync` says, and its exit code."""
    variables = {"MLFLOW_TRACKING_URI": server.uri}
    done = CliRunner(env=variables).invoke(main, ["sync", str(outbox), "--json"])
    return json.loads(done.stdout), done.exit_code


def only_run(server):
    """The one run that there is."""
    [run] = shoso.Client(server.uri).search_runs(["0"])
    return run


def require_everything(server):
    """Everything that the training logged is there, once."""
    run = only_run(server)
    client = shoso.Client(server.uri)
    assert run.info.run_name == "trained"
    assert run.data.params == {"rate": "0.1"}
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [point.step for point in history] == list(range(200))
    assert {info.path for info in client.list_artifacts(run.info.run_id, "data")} == {
        f"data/{number}.txt" for number in range(5)
    }
    assert shoso.artifacts.load_text(f"mlflow-artifacts:/0/{run.info.run_id}/artifacts/notes/text.txt") == (
        "all of it"
    )
    return run


def test_what_is_logged_arrives_and_the_outbox_is_empty(own, outbox, data):
    _, _, code, warnings = train(own, data)
    assert (code, warnings) == (0, "")
    shoso.set_tracking_uri(own.uri)
    assert require_everything(own).info.status == "FINISHED"
    assert list(outbox.iterdir()) == []


def test_a_server_that_is_down_costs_a_warning(own, outbox, data):
    own.stop()
    run_id, _, code, warnings = train(own, data)
    assert code == 0
    assert len(run_id) == 32
    assert "is kept in" in warnings
    assert f"shoso sync {outbox}" in warnings
    own.start()
    [outcome], code = synced(own, outbox)
    assert (outcome["waits"], outcome["refused"], code) == (None, 0, 0)
    shoso.set_tracking_uri(own.uri)
    assert require_everything(own).info.status == "FINISHED"
    assert list(outbox.iterdir()) == []
    assert synced(own, outbox) == ([], 0)


def test_a_nested_run_finds_its_parent_whenever_the_server_comes_back(own, outbox):
    shoso.set_tracking_uri(own.uri)
    own.stop()
    with shoso.start_run(run_name="parent"):
        with shoso.start_run(run_name="while it is down", nested=True):
            shoso.log_metric("loss", 1)
        own.start()
        shoso.flush_async_logging()
        with shoso.start_run(run_name="when it is back", nested=True):
            shoso.log_metric("loss", 1)
    shoso.flush_async_logging()
    runs = {run.info.run_name: run for run in shoso.Client(own.uri).search_runs(["0"])}
    parent = runs.pop("parent").info.run_id
    assert {name: run.data.tags["mlflow.parentRunId"] for name, run in runs.items()} == {
        "while it is down": parent,
        "when it is back": parent,
    }


def test_what_a_killed_process_leaves_is_shipped_by_sync(own, outbox, data):
    _, _, code, _ = train(own, data, "die")
    assert code == -signal.SIGKILL
    assert synced(own, outbox)[1] == 0
    shoso.set_tracking_uri(own.uri)
    assert require_everything(own).info.status == "RUNNING"


def test_calls_that_are_shipped_twice_change_nothing(own, outbox, data):
    own.stop()
    train(own, data, "die")
    [journal] = outbox.iterdir()
    before = (journal / "calls").read_bytes()
    own.start()
    # as if the process that ships had died before it could say how far it was
    copied = {path: path.read_bytes() for path in (journal / "files").rglob("*") if path.is_file()}
    assert synced(own, outbox)[1] == 0
    for path, content in {**copied, journal / "calls": before}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert synced(own, outbox)[1] == 0
    shoso.set_tracking_uri(own.uri)
    require_everything(own)


def test_a_server_that_comes_back_gets_what_was_logged_meanwhile(own, outbox, data):
    shoso.set_tracking_uri(own.uri)
    with shoso.start_run() as run:
        own.stop()
        began = time.monotonic()
        for step in range(100):
            shoso.log_metric("loss", 0.5, step=step)
        shoso.log_artifacts(data, "data")
        assert time.monotonic() - began < 10
        own.start()
    deadline = time.monotonic() + 60
    client = shoso.Client(own.uri)
    while client.get_run(run.info.run_id).info.status != "FINISHED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 100


def test_inputs_and_streams_go_the_same_way(own, outbox):
    used = DatasetInput(Dataset("d", "1", "local", "{}"))
    shoso.set_tracking_uri(own.uri)
    with shoso.start_run() as run:
        own.stop()
        shoso.Client().log_inputs(run.info.run_id, [used])
        shoso.log_stream(io.BytesIO(b"bytes"), "a.bin")
        own.start()
    shoso.flush_async_logging()
    run = only_run(own)
    assert run.inputs.dataset_inputs == (used,)
    assert shoso.artifacts.load_text(f"runs:/{run.info.run_id}/a.bin") == "bytes"


def test_what_the_server_refuses_is_put_aside_and_the_rest_goes_on(own, outbox, caplog):
    shoso.set_tracking_uri(own.uri)
    with shoso.start_run() as run:
        shoso.log_param("rate", 1)
        shoso.log_param("rate", 2)  # a param can't be changed
        shoso.log_metric("loss", 0.5)
    shoso.flush_async_logging()
    assert only_run(own).data.metrics == {"loss": 0.5}
    [refused] = outbox.glob("*/refused")
    line = json.loads(refused.read_text())
    assert "rate" in line["error"]
    assert line["call"]["batch"]["run_id"] == run.info.run_id
    assert str(refused) in caplog.text


def test_of_a_folder_what_cannot_be_kept_is_left_out_with_a_warning(own, outbox, data, caplog):
    (data / "gone").symlink_to("nowhere")
    (data / "itself").symlink_to(".")
    os.mkfifo(data / "pipe")
    own.stop()  # nobody else could take it
    shoso.set_tracking_uri(own.uri)
    shoso.Client().log_artifacts("0" * 32, data)
    assert {path.name for path in outbox.glob("*/files/*/data/**/*")} == {f"{n}.txt" for n in range(5)}
    assert [f"'{data / name}' isn't logged" in caplog.text for name in ("gone", "pipe")] == [True, True]
    own.start()
    link.to(None).sink.flush()
    assert [path.name for path in outbox.glob("*/files/*/*")] == ["data"]  # no such run, but nothing is lost


def test_nothing_is_left_of_a_copy_that_fails(own, outbox, data, monkeypatch, caplog):
    def full(_source, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    shoso.set_tracking_uri(own.uri)
    run_id = shoso.Client().create_run("0").info.run_id
    shoso.Client().log_artifacts(run_id, data)
    assert "can't take what is logged: [Errno 28]" in caplog.text
    assert [*outbox.glob("*/files/*")] == []
    assert len(shoso.Client().list_artifacts(run_id)) == 5


def test_threads_that_log_at_once_have_one_outbox(own, outbox):
    shoso.set_tracking_uri(own.uri)
    together = threading.Barrier(8)

    def sink(_):
        together.wait()
        return link.to(None).sink

    with ThreadPoolExecutor(8) as pool:
        assert len({*pool.map(sink, range(8))}) == 1
    assert len([*outbox.iterdir()]) == 1


def test_where_it_is_not_known_how_far_it_was_all_is_shipped_again(own, outbox, data):
    own.stop()
    train(own, data, "die")
    [journal] = outbox.iterdir()
    (journal / "shipped").write_bytes(b"")  # as a machine may leave it that lost its power
    own.start()
    [outcome], code = synced(own, outbox)
    assert (outcome["waits"], outcome["refused"], code) == (None, 0, 0)


def test_a_copy_that_somebody_removed_is_put_aside_and_the_rest_goes_on(own, outbox, data):
    own.stop()
    train(own, data, "die")
    [journal] = outbox.iterdir()
    shutil.rmtree(journal / "files")
    own.start()
    [outcome], code = synced(own, outbox)
    assert (outcome["waits"], outcome["refused"], code) == (None, 2, 1)
    assert "is gone" in (journal / "refused").read_text()
    assert len(shoso.Client(own.uri).get_metric_history(only_run(own).info.run_id, "loss")) == 200


def test_a_damaged_line_is_named_and_nothing_behind_it_is_lost(own, outbox, data):
    own.stop()
    train(own, data, "die")
    [journal] = outbox.iterdir()
    lines = (journal / "calls").read_bytes().splitlines(keepends=True)
    damaged = [*lines[:3], b"{not JSON}\n", *lines[3:]]
    (journal / "calls").write_bytes(b"".join(damaged))
    own.start()
    [outcome], code = synced(own, outbox)
    assert f"is damaged at byte {sum(map(len, lines[:3]))}: mend that line" in outcome["waits"]
    assert code == 1
    (journal / "calls").write_bytes(b"".join(lines))
    assert synced(own, outbox)[1] == 0
    shoso.set_tracking_uri(own.uri)
    require_everything(own)


def test_sync_goes_to_the_server_that_was_logged_to(own, server, outbox, data):
    train(own, data, "die")
    assert synced(server, outbox)[1] == 0  # MLFLOW_TRACKING_URI names another
    shoso.set_tracking_uri(own.uri)
    require_everything(own)


def test_an_outbox_that_cannot_be_written_to_is_named(own, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SHOSO_OUTBOX", str(tmp_path / "file"))
    shoso.set_tracking_uri(own.uri)
    with pytest.raises(ShosoError, match=r"SHOSO_OUTBOX: .* can't be written to"):
        shoso.start_run()


def test_the_outbox_of_a_running_process_is_left_to_it(own, outbox):
    shoso.set_tracking_uri(own.uri)
    with shoso.start_run():
        [outcome], code = synced(own, outbox)
    assert "is running" in outcome["waits"]
    assert code == 1


INTERRUPTED = """if True:
    import os, signal, sys, threading, time
    import shoso
    shoso.start_run()
    shoso.log_param("kept", 1)
    os.kill(int(sys.argv[1]), signal.SIGSTOP)
    shoso.log_param("waits", 1)
    threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGINT)).start()
    began = time.monotonic()
    try:
        shoso.flush_async_logging()
    except KeyboardInterrupt:
        print(time.monotonic() - began, flush=True)
    os._exit(0)
"""


def test_ctrl_c_ends_the_wait_for_a_server_whichever_thread_gets_it(own, outbox):
    try:
        done = subprocess.run(
            [sys.executable, "-c", INTERRUPTED, str(own.pid)],
            env={**os.environ, "MLFLOW_TRACKING_URI": own.uri}, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    finally:
        os.kill(own.pid, signal.SIGCONT)
    assert 0.5 <= float(done.stdout) < 5, done.stderr
