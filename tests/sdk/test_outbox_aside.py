"""A server that fails on one call, again and again: it's set aside, the rest goes on, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.e2e.servers import Server

import shoso
from shoso.cli import main
from shoso.client.outbox import FIRST

POISONED = """
import os, signal, sys, time
from pathlib import Path
import shoso
from shoso.client import outbox

outbox.FIRST = float(sys.argv[3])
with shoso.start_run(run_name=sys.argv[1]):
    shoso.log_param("rate", 0.1)
    for step in range(50):
        shoso.log_metric("loss", 0.5, step=step)
    shoso.log_metric("poison", 1, step=7)
    shoso.set_tag("after", "the poison")
    for step in range(50, 100):
        shoso.log_metric("loss", 0.5, step=step)
    shoso.log_text("all of it", "notes/text.txt")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    while sys.argv[2] == "die when it is aside" and not [*Path(os.environ["SHOSO_OUTBOX"]).glob("*/aside")]:
        time.sleep(0.01)
    if sys.argv[2] == "die when it is aside":
        os.kill(os.getpid(), signal.SIGKILL)
with shoso.start_run(run_name="other"):
    shoso.log_param("rate", 0.2)
"""

FAILS = "BEGIN SELECT json('{'); END"  # an error that SQLite has no name for: a 500, each time
TRIGGERS = {
    "metric": f"BEFORE INSERT ON metrics WHEN NEW.key = 'poison' {FAILS}",
    "run": f"BEFORE INSERT ON runs WHEN NEW.name = 'poison' {FAILS}",
}
EVERY_METRIC = {"metric": f"BEFORE INSERT ON metrics {FAILS}"}


@pytest.fixture
def own(tmp_path):
    """A server that a test may stop, and spoil."""
    server = Server(tmp_path / "server")
    server.folder.mkdir()
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def outbox(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOSO_OUTBOX", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


def spoil(server, triggers=TRIGGERS) -> None:
    """Let the server fail on the metric and on the run that are called poison."""
    change(server, [f"CREATE TRIGGER {name} {trigger}" for name, trigger in triggers.items()])


def mend(server) -> None:
    change(server, [f"DROP TRIGGER {name}" for name in TRIGGERS])


def change(server, statements) -> None:
    with closing(sqlite3.connect(server.folder / "tracking.db", timeout=30)) as database, database:
        for statement in statements:
            database.execute(statement)


def logged(server, name="trained", how="live", first=FIRST / 50):
    """The script in a process of its own: its exit code, and what it warned of.

    It makes as many attempts as any, but the first pause between them, which is half the second, is of
    `first` seconds.
    """
    env = {**os.environ, "MLFLOW_TRACKING_URI": server.uri}
    command = [sys.executable, "-c", POISONED, name, how, str(first)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr.splitlines()


def synced(outbox):
    """What `shoso sync` says of the one journal, its exit code, and its words without --json."""
    done = CliRunner().invoke(main, ["sync", str(outbox), "--json"])
    return json.loads(done.stdout), done.exit_code


def aside(outbox) -> list[dict]:
    """The calls that are set aside."""
    [path] = outbox.glob("*/aside")
    return [json.loads(line) for line in path.read_text().splitlines()]


def require(server, name: str, status: str | None, *, poison: bool) -> None:
    """What was logged to the run is there, once."""
    client = shoso.Client(server.uri)
    [run] = client.search_runs(["0"], f"attributes.run_name = '{name}'")
    assert run.data.params == {"rate": "0.1"}
    assert run.data.tags["after"] == "the poison"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted(point.step for point in history) == [*range(100)]
    assert [point.step for point in client.get_metric_history(run.info.run_id, "poison")] == [7] * poison
    shoso.set_tracking_uri(server.uri)
    assert shoso.artifacts.load_text(f"runs:/{run.info.run_id}/notes/text.txt") == "all of it"
    assert run.info.status == status


def test_a_call_that_the_server_fails_on_is_set_aside_and_the_rest_goes_on(own, outbox):
    spoil(own)
    code, warnings = logged(own, first=FIRST)
    assert code == 0
    assert len(warnings) == 1, warnings
    [warning] = warnings
    assert "database failed" in warning
    assert f"set aside in {next(outbox.glob('*/aside'))}" in warning
    assert f"shoso sync {outbox}" in warning
    require(own, "trained", "FINISHED", poison=False)
    [call] = aside(outbox)
    assert call["call"]["batch"]["metrics"][0]["key"] == "poison"
    [outcome], code = synced(outbox)
    assert (outcome["shipped"], outcome["aside"], outcome["waits"], code) == (0, 1, None, 1)
    mend(own)
    [outcome], code = synced(outbox)
    assert (outcome["shipped"], outcome["aside"], outcome["waits"], code) == (1, 0, None, 0)
    require(own, "trained", "FINISHED", poison=True)
    assert [*outbox.iterdir()] == []


@pytest.mark.parametrize("when", ["die", "die when it is aside"])
def test_a_killed_process_loses_nothing_of_it(own, outbox, when):
    spoil(own)
    assert logged(own, how=when)[0] == -signal.SIGKILL
    assert synced(outbox)[1] == 1
    require(own, "trained", "RUNNING", poison=False)
    mend(own)
    assert synced(outbox)[1] == 0
    require(own, "trained", "RUNNING", poison=True)
    assert [*outbox.iterdir()] == []


def test_only_the_call_itself_is_set_aside_of_those_that_are_sent_together(own, outbox):
    own.stop()
    logged(own, how="die")
    own.start()
    spoil(own)
    [outcome], _ = synced(outbox)
    assert (outcome["aside"], outcome["refused"]) == (1, 0)
    require(own, "trained", "RUNNING", poison=False)
    assert len(aside(outbox)) == 1


def test_what_is_logged_to_a_run_that_cannot_be_made_goes_with_it(own, outbox):
    spoil(own)
    code, warnings = logged(own, "poison")
    assert (code, len(warnings)) == (0, 1)
    client = shoso.Client(own.uri)
    [other] = client.search_runs(["0"])
    assert (other.info.run_name, other.info.status, other.data.params) == (
        "other",
        "FINISHED",
        {"rate": "0.2"},
    )
    assert aside(outbox)[0]["call"]["type"] == "create"
    assert synced(outbox)[0][0]["shipped"] == 0
    mend(own)
    [outcome], code = synced(outbox)
    assert (outcome["aside"], outcome["refused"], code) == (0, 0, 0)
    require(own, "poison", "FINISHED", poison=True)
    assert [*outbox.iterdir()] == []


def test_a_server_that_fails_on_all_that_goes_together_is_warned_of_once(own, outbox):
    own.stop()
    logged(own, how="die")
    own.start()
    spoil(own, EVERY_METRIC)
    done = subprocess.run(
        [Path(sys.executable).with_name("shoso"), "sync", outbox], capture_output=True, text=True, check=False
    )
    assert "101 set aside" in done.stdout
    assert done.stderr.count("is set aside in") == 2  # 51 metrics, a tag between, 50 metrics


def test_a_sync_that_is_killed_is_made_again(own, outbox):
    """As if it had died before it could say what it tried again."""
    spoil(own)
    logged(own, "poison", "die when it is aside")
    [journal] = outbox.iterdir()
    mend(own)
    before = {path: path.read_bytes() for path in journal.rglob("*") if path.is_file()}
    assert synced(outbox)[1] == 0
    for path, content in before.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert synced(outbox)[1] == 0
    require(own, "poison", "RUNNING", poison=True)


def test_a_line_that_a_full_disk_tore_hides_no_other(own, outbox):
    spoil(own)
    logged(own)
    [path] = outbox.glob("*/aside")
    path.write_bytes(path.read_bytes() + b'{"error": "torn')
    logged(own, how="die")  # in a journal of its own
    assert len(synced(outbox)[0]) == 2
    mend(own)
    assert synced(outbox)[1] == 0
    assert [*outbox.iterdir()] == []


def test_what_was_to_be_uploaded_stays_beside_the_call_that_is_refused(own, outbox):
    shoso.set_tracking_uri(own.uri)
    shoso.Client().log_text("f" * 32, "bytes", "a.txt")  # there is no such run
    shoso.flush_async_logging()
    assert [path.read_text() for path in outbox.glob("*/files/*/a.txt")] == ["bytes"]
