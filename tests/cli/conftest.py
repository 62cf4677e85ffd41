"""`shoso …` as a user has it, against a real server: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.e2e.servers import Server

from shoso.cli import main

SHOSO = Path(sys.executable).with_name("shoso")


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server that most tests share."""
    server = Server(tmp_path_factory.mktemp("server")).start()
    yield server
    server.stop()


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return f"cli-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def environment(server, tmp_path):
    """The variables of a process: nothing of this machine's MLflow, a state folder of its own."""
    plain = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    own = {
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "SHOSO_STATE": str(tmp_path / "state"),
    }
    return plain | own


class Shell:
    """Runs `shoso …`."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: Any, code: int = 0, text: str | None = None) -> str:
        """Standard output of a command that ends with that code."""
        return self.result(*arguments, code=code, text=text).stdout

    def result(self, *arguments: Any, code: int = 0, text: str | None = None) -> Result:
        """What a command in this process printed; `text` is typed in."""
        hidden = {name: None for name in os.environ if name.startswith(("MLFLOW_", "SHOSO_"))}
        runner = CliRunner(env=hidden | self.environment)
        done = runner.invoke(main, [*map(str, arguments)], input=text)
        assert done.exit_code == code, done.output
        return done

    def json(self, *arguments: Any, code: int = 0) -> Any:
        """The document that `--json` prints."""
        return json.loads(self(*arguments, "--json", code=code))

    def error(self, *arguments: Any, code: int = 1) -> str:
        """The one sentence of a command that fails; nothing goes to standard output."""
        done = self.result(*arguments, code=code)
        assert done.stdout == ""
        return sentence(done.stderr)

    def process(self, *arguments: Any, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """What a command in a process of its own printed."""
        command = [str(SHOSO), *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False, **options
        )
        assert done.returncode == code, done.stderr
        return done

    def start(self, *arguments: Any, **options: Any) -> subprocess.Popen[str]:
        """A command under way; whoever starts it waits for it."""
        command = [str(SHOSO), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment, text=True, **(pipes | options))


def sentence(text: str) -> str:
    """The sentence of an error: one line and nothing else, but usage before it."""
    assert "Traceback" not in text
    error = text[text.index("Error: ") :]
    assert error.count("\n") == 1, error
    return error.removeprefix("Error: ").rstrip()


@pytest.fixture
def shoso(environment):
    return Shell(environment)


@pytest.fixture
def experiment(shoso, unique):
    """A new experiment's id."""
    return shoso("experiments", "create", "-n", unique).strip()


@pytest.fixture
def api(server):
    """The server by plain HTTP."""
    from tests.e2e.raw import Api

    api = Api(server.uri)
    yield api
    api.session.close()


@pytest.fixture
def run_id(api, experiment):
    """A new run's id."""
    return api.run_id(experiment)
