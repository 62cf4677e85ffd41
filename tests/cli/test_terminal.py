"""On a terminal there are a bar and a question before a deletion; elsewhere there are lines now and then."""

from __future__ import annotations

import signal

import pytest
from tests.cli.terminal import Terminal
from tests.cli.trees import tree
from tests.e2e.servers import eventually

from shoso.client import progress
from shoso.client.progress import Counter, Meter
from shoso.core.keys import Key
from shoso.errors import Kind, store_error

MIB = 1024 * 1024


@pytest.fixture
def folder(tmp_path):
    """Some folder of 8 MiB."""
    return tree(tmp_path / "data", {"a.bin": bytes(4 * MIB), "b.bin": bytes(4 * MIB), "c.txt": b"c"})


@pytest.fixture
def slow(proxy):
    """It takes a few seconds for what is in the folder."""
    proxy.rate = 1.5 * MIB
    return proxy


def on_terminal(shoso, *arguments: object) -> tuple[str, str]:
    """Standard output of a command, and what it shows on a terminal."""
    terminal = Terminal()
    command = shoso.start(*arguments, stderr=terminal.end)
    said = command.stdout.read()
    command.stdout.close()
    shown = terminal.close(command)
    assert command.returncode == 0, shown
    return said, shown


def test_a_bar_tells_how_far_it_is_and_how_long_it_takes(shoso, slow, folder, run_id):
    shoso.environment["TERM"] = "xterm"
    said, shown = on_terminal(shoso, "artifacts", "put", folder, f"runs:/{run_id}/a")
    assert "Copied 3 artifacts" in said
    assert "━" in shown
    assert " of 3 artifacts, " in shown
    assert " of 8.0 MiB, " in shown
    assert "MiB/s, " in shown
    assert "s left" in shown
    assert "\n\n" not in shown.replace("\r", "")


@pytest.mark.parametrize("setting", ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "TERM"])
def test_a_bar_isnt_shown_where_nobody_wants_one(shoso, folder, run_id, setting):
    shoso.environment |= {"TERM": "xterm"} | {setting: "false" if setting.startswith("MLFLOW") else "dumb"}
    said, shown = on_terminal(shoso, "artifacts", "put", folder, f"runs:/{run_id}/a")
    assert "Copied 3 artifacts" in said
    assert shown == ""


def test_elsewhere_there_are_lines_at_intervals(shoso, slow, folder, run_id, monkeypatch):
    monkeypatch.setattr(progress, "LINES", 0.5)
    done = shoso.result("artifacts", "put", folder, f"runs:/{run_id}/a")
    lines = done.stderr.splitlines()
    assert lines
    assert " of 3 artifacts, " in lines[-1]
    assert "\x1b" not in done.stderr
    shoso.environment["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    assert shoso.result("artifacts", "verify", f"runs:/{run_id}/a").stderr == ""


def test_what_is_soon_over_says_nothing_on_the_way(shoso, folder, run_id):
    assert shoso.result("artifacts", "put", folder, f"runs:/{run_id}/a").stderr == ""


# -- a question -------------------------------------------------------------------------------------------


@pytest.fixture
def stored(shoso, folder, run_id):
    uri = f"runs:/{run_id}/data"
    shoso("artifacts", "put", folder, uri)
    return uri


def asked(shoso, uri: str, answer: str) -> tuple[int, str]:
    """Exit code of `rm -r` on a terminal, and what that shows; the question is answered, or interrupted."""
    terminal = Terminal()
    command = shoso.start("artifacts", "rm", "-r", uri, stdin=terminal.end, stderr=terminal.end)
    with command.stdout:
        assert eventually(lambda: "[y/N]" in terminal.shown, 60)
        if answer:
            terminal.type(answer)
        else:
            command.send_signal(signal.SIGINT)
        shown = terminal.close(command)
    return command.returncode, shown


def left(shoso, uri: str) -> int:
    run = uri.removesuffix("/data")
    return len(shoso.json("artifacts", "ls", "-r", run))


def test_a_deletion_is_asked_about(shoso, stored):
    code, shown = asked(shoso, stored, "n\n")
    assert (code, left(shoso, stored)) == (1, 3)
    assert f"There are 3 artifacts (8.0 MiB) at {stored}" in shown
    assert "Nothing was deleted" in shown
    assert asked(shoso, stored, "")[0] == 130
    assert left(shoso, stored) == 3
    assert asked(shoso, stored, "y\n")[0] == 0
    assert left(shoso, stored) == 0


def test_who_says_yes_isnt_asked(shoso, stored):
    terminal = Terminal()
    command = shoso.start("artifacts", "rm", "-r", "--yes", stored, stdin=terminal.end, stderr=terminal.end)
    with command.stdout:
        shown = terminal.close(command)
    assert (command.returncode, "Delete?" in shown) == (0, False)
    assert left(shoso, stored) == 0


# -- the meter --------------------------------------------------------------------------------------------


def test_the_meter_counts_what_ended_however_it_ended():
    meter = Meter(0.0)
    for name in "abc":
        meter.planned(Key(name), MIB)
    assert meter.words(0.0) == "0 artifacts, 0 B"
    meter.moved(MIB)
    meter.finished(Key("a"), MIB)
    meter.skipped(Key("b"), MIB)
    meter.total = (3, 3 * MIB)
    assert meter.words(2.0) == "2 of 3 artifacts, 2.0 MiB of 3.0 MiB, 512 KiB/s, 2.0 s left"
    meter.failed(Key("c"), store_error(Kind.CORRUPT, "no"))
    assert meter.words(4.0).startswith("3 of 3 artifacts")


def test_the_rate_is_that_of_late():
    meter = Meter(0.0)
    meter.planned(Key("a"), 1000 * MIB)
    meter.total = (1, 1000 * MIB)
    for second in range(100):
        meter.words(float(second))
        meter.moved(MIB if second > 80 else 0)
    assert "1.0 MiB/s" in meter.words(100.0)


def test_more_than_was_foreseen_is_counted_all_the_same():
    meter = Meter(0.0)
    meter.total = (1, MIB)
    meter.planned(Key("a"), MIB)
    meter.planned(Key("b"), MIB)
    assert " of 2 artifacts, 0 B of 2.0 MiB" in meter.words(0.0)


def test_of_a_deletion_only_artifacts_are_counted():
    meter = Counter(0.0)
    meter.planned(Key("a"), MIB)
    meter.finished(Key("a"), MIB)
    assert meter.words(1.0) == "1 artifact"
