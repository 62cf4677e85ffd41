"""What holds for every command: exit codes, one sentence for an error, `--json`, help, a quick start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from shoso import __version__
from shoso.cli import main, words
from shoso.cli.shapes import SHAPES
from shoso.core import amounts
from shoso.metadata.connect import Database

WITHOUT_JSON = {("server",), ("completion",), ("artifacts", "cat")} | {
    ("artifacts", name) for name in ("log-artifact", "log-artifacts", "list", "download")
}
"""Whose result is something else, or what MLflow prints."""


def commands(group: click.Group = main, names: tuple[str, ...] = ()):
    """Every command that isn't a group, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


COMMANDS = dict(commands())


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_every_command_prints_json_of_a_documented_shape(names):
    flags = {flag for option in COMMANDS[names].params for flag in option.opts}
    assert ("--json" in flags) == (names in SHAPES) == (names not in WITHOUT_JSON)


def test_the_version_is_told(shoso):
    assert __version__ in shoso.process("--version").stdout


def loaded(*arguments: str) -> set[str]:
    """The modules that a command has imported when it's done."""
    code = (
        "import sys; from shoso.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    plain = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=plain, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", ["--version", "artifacts --help", "runs --help", "artifacts cp --help"])
def test_help_imports_nothing_that_a_command_needs(arguments):
    heavy = {"aiohttp", "asyncio", "msgspec", "rich", "sqlalchemy", "starlette", "uvicorn"}
    assert loaded(*arguments.split()) & heavy == set()


def test_gc_of_a_folder_loads_no_server_no_client_and_no_other_database(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    asyncio.run(Database.open(uri, artifact_root=str(tmp_path)).close())
    heavy = {"aiohttp", "starlette", "uvicorn", "rich", "shoso.server.app", "shoso.transfer.engine"}
    heavy |= {f"sqlalchemy.dialects.{name}" for name in ("mssql", "mysql", "postgresql")}
    heavy |= {"shoso.metadata.mlflow_tables", "shoso.stores.folder", "shoso.wire.requests"}
    heavy |= {"shoso.maintenance.gc.planning", "shoso.maintenance.inventory", "shoso.stores.files.store"}
    heavy |= {"shoso.stores.hdfs", "shoso.stores.sftp", "configparser", "tomllib"}
    assert loaded("gc", "--backend-store-uri", uri) & heavy == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shoso, shell):
    assert "_SHOSO_COMPLETE" in shoso("completion", shell)
    asked = {"_SHOSO_COMPLETE": f"{shell}_complete", "COMP_WORDS": "shoso runs de", "COMP_CWORD": "2"}
    asked |= {"COMP_CWORD": "de"} if shell == "fish" else {}
    shoso.environment |= asked
    assert {"describe", "delete"} <= set(shoso.process().stdout.replace(",", " ").replace("\t", " ").split())


def test_bash_takes_the_script(shoso):
    script = 'eval "$(shoso completion bash)"; complete -p shoso'
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=shoso.environment | path, capture_output=True, text=True, check=True
    )
    assert "_shoso_completion" in done.stdout


# -- errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", ["frobnicate", "runs frobnicate", "runs list --frobnicate", "runs list x"]
)
def test_a_command_line_that_cant_be_understood_ends_with_2(shoso, arguments):
    wrong = arguments.split()[-1]
    assert wrong in shoso.error(*arguments.split(), code=2)


def test_without_a_server_the_setting_is_named(shoso):
    del shoso.environment["MLFLOW_TRACKING_URI"]
    assert "MLFLOW_TRACKING_URI" in shoso.error("runs", "describe", "--run-id", "x")


def test_a_flag_says_which_server(shoso, server, experiment):
    shoso.environment["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    assert experiment in shoso("experiments", "list", "--tracking-uri", server.uri)


def test_what_is_no_server_is_named_as_it_was_given(shoso):
    said = shoso.error("experiments", "list", "--tracking-uri", "sqlite:///mlflow.db")
    assert said.startswith("--tracking-uri: 'sqlite:///mlflow.db' is no server's address")
    assert "shoso server --backend-store-uri sqlite:///mlflow.db" in said
    shoso.environment["MLFLOW_TRACKING_URI"] = "mlruns"
    assert shoso.error("experiments", "list").startswith(
        "MLFLOW_TRACKING_URI: 'mlruns' is no server's address"
    )


def test_an_error_shows_no_password(shoso):
    uri = "http://somebody:hunter2@127.0.0.1:9"
    said = shoso.error("experiments", "list", "--tracking-uri", uri)
    assert "127.0.0.1:9" in said
    assert "hunter2" not in said


def test_a_setting_that_cant_be_used_is_named(shoso):
    shoso.environment["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "many"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" in shoso.error("experiments", "list")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_command_ends_with_130(shoso, number):
    """It is interrupted while it waits for a server that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = shoso.start("experiments", "list", "--tracking-uri", uri)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            command.send_signal(number)
            said, error = command.communicate(timeout=30)
    assert (command.returncode, said, error) == (130, "", "Interrupted.\n")


def test_a_full_disk_behind_standard_output_is_one_sentence(shoso, experiment):
    with Path("/dev/full").open("w") as full:
        command = shoso.start("experiments", "list", stdout=full)
        _, said = command.communicate(timeout=60)
    assert (command.returncode, said) == (1, "Error: No space left on device.\n")


def test_a_reader_that_goes_away_ends_it_quietly(shoso, experiment):
    command = shoso.start("experiments", "list")
    command.stdout.close()
    with command.stderr:
        assert command.stderr.read() == ""
    assert command.wait(60) == 1


# -- words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99.96 * 1024, "100 KiB"),
        (1000 * 1024, "1.0 MiB"),
        (1024**3 * 3.4, "3.4 GiB"),
        (1024**6, "1024 PiB"),
    ],
)
def test_sizes(count, text):
    assert amounts.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, text):
    assert amounts.duration(seconds) == text


def test_a_table_is_aligned_also_where_characters_are_wide():
    rows = [("名前", "1"), ("é", "22"), ("e\u0301", "3")]
    assert words.table(("NAME", "N"), rows).splitlines() == [
        "NAME  N",
        "名前  1",
        "é     22",
        "e\u0301     3",
    ]
