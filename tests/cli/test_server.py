"""`shoso server`: MLflow's flags and variables; what can't be used is one sentence and an exit code."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

from shoso.cli import gc, main
from shoso.cli.server import NOT_SERVED, server
from shoso.server import process
from shoso.settings import SERVER

SHOSO = Path(sys.executable).with_name("shoso")


@pytest.fixture
def started(monkeypatch):
    """The settings that `serve` was called with; nothing is served."""
    calls = []
    monkeypatch.setattr("shoso.server.process.serve", calls.append)
    for name in tuple(os.environ):
        if name.startswith(("MLFLOW_", "SHOSO_")):
            monkeypatch.delenv(name)
    return calls


def run(*arguments: str, **environment: str):
    """`shoso …` in this process."""
    return CliRunner(env=environment).invoke(main, arguments)


def require_sentence(text: str, *words: str) -> None:
    """One sentence for people: no traceback, nothing of ours but the words."""
    assert "Traceback" not in text
    error = text[text.index("Error: ") :]
    assert error.count("\n") == 1, error
    for word in words:
        assert word in error, (word, error)


# -- what is taken ----------------------------------------------------------------------------------------


def test_every_setting_is_a_flag_that_help_explains(started):
    text = run("server", "--help").output
    for setting in SERVER:
        assert setting.flag in text
        assert setting.variable in "".join(text.split())  # a column may be narrower than a name
    assert run("-h").exit_code == run("server", "--help").exit_code == 0
    assert started == []


def test_flags_reach_the_server(started):
    flags = "--host 0.0.0.0 -p 7 -w 3 --no-serve-artifacts --allowed-hosts a,b --static-prefix /x"
    flags += " --shared-filesystem"
    assert run("server", *flags.split()).exit_code == 0
    [settings] = started
    assert (settings.host, settings.port, settings.workers) == ("0.0.0.0", 7, 3)
    assert (settings.serve_artifacts, settings.allowed_hosts, settings.static_prefix) == (
        False,
        ("a", "b"),
        "/x",
    )


def test_variables_reach_the_server_and_flags_win(started):
    result = run("server", "--port", "8", MLFLOW_PORT="7", MLFLOW_HOST="::1", MLFLOW_ARTIFACTS_ONLY="true")
    assert result.exit_code == 0, result.output
    [settings] = started
    assert (settings.port, settings.host, settings.artifacts_only) == (8, "::1", True)


def test_a_flag_switches_off_what_a_variable_switched_on(started):
    run("server", "--no-serve-artifacts", MLFLOW_SERVE_ARTIFACTS="true")
    run("server", "--serve-artifacts", MLFLOW_SERVE_ARTIFACTS="false")
    assert [settings.serve_artifacts for settings in started] == [False, True]


@pytest.fixture(scope="module")
def mlflow_cli():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's imports
        import mlflow.cli
    return mlflow.cli


@pytest.fixture(scope="module")
def theirs(mlflow_cli):
    """The options of `mlflow server`."""
    return mlflow_cli.server.params


def flags(options):
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


def test_every_flag_of_mlflows_is_served_or_answered_for(mlflow_cli):
    for theirs, ours, refused in (
        (mlflow_cli.server, server, NOT_SERVED),
        (mlflow_cli.gc, gc.gc, gc.NOT_SERVED),
    ):
        assert flags(theirs.params) - flags(ours.params) - {*refused, "--help"} == set()


def test_our_variables_are_mlflows(theirs):
    theirs = {option.name: option.envvar for option in theirs}
    ours = {setting.field: setting.variable for setting in SERVER}
    differing = {n: (theirs[n], ours[n]) for n in ours if theirs.get(n) and theirs[n] != ours[n]}
    assert differing == {}


# -- what is refused --------------------------------------------------------------------------------------


REFUSED = [("server", *each) for each in NOT_SERVED.items()] + [
    ("gc", *each) for each in gc.NOT_SERVED.items()
]


@pytest.mark.parametrize(("command", "flag", "why"), REFUSED)
@pytest.mark.parametrize("form", ["{}", "{}=x"])
def test_a_flag_of_mlflows_that_isnt_served_is_named_with_a_reason(started, command, flag, why, form):
    result = run(command, form.format(flag))
    assert result.exit_code == 2
    require_sentence(result.output, flag, why)
    assert started == []


def test_an_unknown_flag_is_named(started):
    result = run("server", "--frobnicate", "1")
    assert result.exit_code == 2
    require_sentence(result.output, "--frobnicate")
    assert started == []


def test_a_superfluous_argument_is_named(started):
    result = run("server", "somewhere")
    assert result.exit_code == 2
    require_sentence(result.output, "somewhere")
    assert started == []


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--port", "http"], {}, ["--port", "http"]),
        (["--workers", "0"], {}, ["--workers", "0"]),
        (["--static-prefix", "x"], {}, ["--static-prefix", "'x'"]),
        (["--log-format", "xml"], {}, ["--log-format", "xml", "json"]),
        ([], {"MLFLOW_PORT": "http"}, ["MLFLOW_PORT", "http"]),
        ([], {"MLFLOW_SERVE_ARTIFACTS": "yes"}, ["MLFLOW_SERVE_ARTIFACTS", "yes"]),
        (["--artifacts-only", "--no-serve-artifacts"], {}, ["--artifacts-only", "--no-serve-artifacts"]),
    ],
)
def test_a_bad_value_is_named(started, arguments, environment, words):
    result = run("server", *arguments, **environment)
    assert result.exit_code == 1
    require_sentence(result.output, *words)
    assert started == []


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "file").write_text("this is no database, and no folder either: " * 100)
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE songs (name TEXT)")
    database.close()
    return tmp_path


WRONG = {
    "an address of another machine": (["--host", "203.0.113.7"], ["--host"]),
    "no address at all": (["--host", "no such host"], ["--host", "no such host"]),
    "a host that resolves to nothing": (["--host", "nothing.invalid"], ["--host", "nothing.invalid"]),
    "a destination below a file": (["--artifacts-destination", "file/x"], ["file/x"]),
    "a destination that is a file": (["--artifacts-destination", "file"], ["file"]),
    "a destination nobody may write": (["--artifacts-destination", "/proc/x"], ["/proc/x"]),
    "a destination in a bucket": (["--artifacts-destination", "s3://b/x"], ["--artifacts-destination", "s3"]),
    "a destination that is no URI": (["--artifacts-destination", "http://[::1"], ["--artifacts-destination"]),
    "a destination on a host": (["--artifacts-destination", "file://host/x"], ["--artifacts-destination"]),
    "a root below a file": (["--default-artifact-root", "file/x"], ["file/x"]),
    "a root that is no URI": (["--default-artifact-root", "s3://[x"], ["--default-artifact-root"]),
    "a database that is none": (["--backend-store-uri", "sqlite:///file"], ["--backend-store-uri", "file"]),
    "a database of somebody's": (["--backend-store-uri", "sqlite:///other.db"], ["--backend-store-uri"]),
    "a database in no folder": (["--backend-store-uri", "sqlite:///a/b.db"], ["--backend-store-uri", "/a'"]),
    "a database nobody may write": (["--backend-store-uri", "sqlite:////proc/x.db"], ["--backend-store-uri"]),
    "a database in memory": (["--backend-store-uri", "sqlite://"], ["--backend-store-uri"]),
    "a database of another kind": (
        ["--backend-store-uri", "postgresql://u:hunter2@h/d"],
        ["--backend-store-uri"],
    ),
    "a URI that is none": (["--backend-store-uri", "./mlruns"], ["--backend-store-uri"]),
}


@pytest.fixture
def opened(monkeypatch):
    """`serve` listens, opens everything, and is done."""

    def serve(settings):
        process.listen(settings).close()
        asyncio.run(process._open_and_close(settings))

    monkeypatch.setattr("shoso.server.process.serve", serve)


@pytest.mark.parametrize(("flags", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.usefixtures("started", "opened")
def test_what_cant_be_served_is_one_sentence(monkeypatch, folder, flags, words):
    monkeypatch.chdir(folder)
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    result = run("server", "--port", "0", *flags)
    assert result.exit_code == 1, result.output
    require_sentence(result.output, *words)
    assert "hunter2" not in result.output
    for path, content in before.items():
        assert not content or path.read_bytes() == content


def refusal(folder: Path, *flags: str) -> str:
    """What `shoso server` says, in a process of its own, when it ends by itself."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    command = [str(SHOSO), "server", *flags]
    done = subprocess.run(
        command, cwd=folder, env=environment, timeout=60, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_that_cant_serve_ends(folder, workers):
    said = refusal(folder, "--port", "0", "--backend-store-uri", "sqlite:///file", "--workers", workers)
    require_sentence(said, "--backend-store-uri", "file")


def test_a_port_in_use_is_one_sentence(folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        require_sentence(refusal(folder, "--port", port), "--port", port, "in use")
