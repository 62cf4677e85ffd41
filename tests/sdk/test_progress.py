"""On a terminal, a script sees how far transfers are: with `import shoso`, or MLflow with Shoso beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from tests.cli.terminal import Terminal
from tests.servers.faultproxy import FaultProxy

MIB = 1024 * 1024

SCRIPT = """
import importlib, os, sys
m = importlib.import_module(sys.argv[1])
with m.start_run() as run:
    m.log_artifacts(sys.argv[2], "data")
if "SHOSO_OUTBOX" not in os.environ:
    m.artifacts.download_artifacts(f"runs:/{run.info.run_id}/data")
m.log_text("small", "small.txt")
m.end_run()
sys.stderr.write("done\\n")
"""

OURS, MLFLOWS = "━", "Downloading artifacts:"


@pytest.fixture
def folder(tmp_path):
    """Two files, 3 MiB together."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.bin", "b.bin"):
        (folder / name).write_bytes(bytes(3 * MIB // 2))
    return folder


@pytest.fixture
def slow(server) -> Iterator[FaultProxy]:
    """The way to the server, which takes two seconds for what is in the folder."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    proxy = FaultProxy(server.port)
    proxy.rate = 0.75 * MIB
    do(proxy.__aenter__())
    yield proxy
    do(proxy.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def shown(library: str, port: int, folder, *, terminal: bool = True, **variables: str) -> str:
    """What the script prints to standard error, which is a terminal or isn't."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"TERM": "xterm", "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    env |= {"MLFLOW_DISABLE_TELEMETRY": "true", **variables}
    command = [sys.executable, "-c", SCRIPT, library, str(folder)]
    if not terminal:
        done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stderr
    screen = Terminal()
    process = subprocess.Popen(command, env=env, stderr=screen.end, stdout=subprocess.DEVNULL, text=True)
    said = screen.close(process)
    assert process.returncode == 0, said
    return said


@pytest.mark.parametrize("library", ["shoso", "mlflow"])
def test_a_bar_tells_how_far_a_slow_transfer_is(slow, folder, library):
    said = shown(library, slow.port, folder)
    up, down = said.index(OURS), said.rindex(OURS)
    assert "\x1b[2K" in said[up:down]  # each is taken away again
    assert " of 2 artifacts, " in said
    assert " of 3.0 MiB, " in said
    assert MLFLOWS not in said


UNWANTED = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


@pytest.mark.parametrize(
    ("library", "without"),
    [("shoso", UNWANTED), ("shoso", {"TERM": "dumb"}), ("shoso", {"terminal": False}), ("mlflow", UNWANTED)],
)
def test_a_bar_that_nobody_wants_isnt_drawn(slow, folder, library, without):
    slow.rate = 2 * MIB  # still longer than a bar waits
    said = shown(library, slow.port, folder, **without)
    assert said.split() == ["done"]


def test_what_is_soon_over_draws_nothing(server, folder):
    assert shown("shoso", server.port, folder) == "done\r\n"


def test_without_the_plugin_mlflow_draws_its_own(server, folder):
    said = shown("mlflow", server.port, folder, SHOSO_MLFLOW_PLUGIN="off")
    assert MLFLOWS in said
    assert OURS not in said


def test_what_an_outbox_ships_draws_nothing(slow, folder, tmp_path):
    assert shown("shoso", slow.port, folder, SHOSO_OUTBOX=str(tmp_path / "outbox")) == "done\r\n"
