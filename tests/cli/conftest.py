"""`shoso …` as a user has it, against a real server: in this process, or in one of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.e2e.raw import Api
from tests.e2e.servers import Server
from tests.servers.faultproxy import FaultProxy

from shoso.cli import main

SHOSO = Path(sys.executable).with_name("shoso")


@pytest.fixture(scope="session")
def server(server_folder):
    """The server that most tests share."""
    server = Server(server_folder()).start()
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
        self._started: list[subprocess.Popen[str]] = []

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
        """A command under way."""
        command = [str(SHOSO), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, env=self.environment, text=True, **(pipes | options))
        self._started.append(process)
        return process

    def stop(self) -> None:
        """End what a test that failed has left behind."""
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def sentence(text: str) -> str:
    """The sentence of an error: one line and nothing else, but usage before it."""
    assert "Traceback" not in text
    error = text[text.index("Error: ") :]
    assert error.count("\n") == 1, error
    return error.removeprefix("Error: ").rstrip()


@pytest.fixture
def proxy(server, shoso):
    """The way to the server, with faults to order; it works while the test waits for a command.

    `cut` and `quieten` are `reset_all` and `deafen` for the test's thread: from there, the loop would not
    wake for them.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    async def now(fault):
        fault()

    proxy = FaultProxy(server.port)
    proxy.cut = lambda: do(now(proxy.reset_all))
    proxy.quieten = lambda: do(now(proxy.deafen))
    do(proxy.__aenter__())
    shoso.environment["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{proxy.port}"
    yield proxy
    do(proxy.__aexit__())
    do(_emptied(loop))
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _emptied(loop) -> None:
    """Nothing is under way any more."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def shoso(environment):
    shell = Shell(environment)
    yield shell
    shell.stop()


@pytest.fixture
def api(server):
    """The server by plain HTTP."""
    api = Api(server.uri)
    yield api
    api.session.close()


@pytest.fixture
def experiment(api, unique):
    """A new experiment's id."""
    return api.create_experiment(unique)


@pytest.fixture
def run_id(api, experiment):
    """A new run's id."""
    return api.run_id(experiment)
