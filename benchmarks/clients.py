"""The MLflow client processes: started once, driven by JSON lines, used for both servers alike."""

import json
import select
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.environments import ROOT
from benchmarks.servers import child_environment

ANSWER_SECONDS = 300.0


class ClientError(RuntimeError):
    """A client's call failed, or gave no answer in time."""


@dataclass(slots=True)
class Client:
    """One process with the real MLflow client in it, or the SDK (`module`)."""

    python: Path
    log: Path
    module: str = "benchmarks.agent"
    _process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                [self.python, "-m", self.module],
                cwd=ROOT,
                env=child_environment(self.python.parent),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
            )

    def order(self, do: str, **arguments: Any) -> None:
        """Send a command without waiting for it."""
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps({"do": do, **arguments}) + "\n")

    def answer(self, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The next answer; raises ClientError when the call failed, and kills a client that gives none."""
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            self._process.kill()
            raise ClientError(f"the client gave no answer within {timeout:.0f} s")
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise ClientError(f"the client ended: {self.log.read_text(errors='replace').strip()[-400:]}")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise ClientError(found["error"])
        return found

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """A command and its answer."""
        self.order(do, **arguments)
        return self.answer()

    def alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def stop(self) -> None:
        """It ends when its stdin closes; one that doesn't is killed."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _stdin(self) -> Any:
        return self._process.stdin


def ask_all(clients: list[Client], do: str, work: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One command to each client at once; every answer is read before the first error is raised."""
    for client, arguments in zip(clients, work, strict=True):
        client.order(do, **arguments)
    answers, errors = [], []
    for client in clients:
        try:
            answers.append(client.answer())
        except ClientError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return answers


@dataclass(slots=True)
class Clients:
    """As many clients as were ever needed at once; the first is the one for single-client work."""

    python: Path
    home: Path
    _all: list[Client] = field(default_factory=list, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._all:
            client.stop()

    def one(self) -> Client:
        """The client for single-client work."""
        return self.several(1)[0]

    def several(self, count: int) -> list[Client]:
        """`count` clients that have imported mlflow and wait; a dead one is replaced."""
        self._all = [client for client in self._all if client.alive()]
        fresh = [
            Client(self.python, self.home / f"client-{n}-{time.monotonic_ns()}.log")
            for n in range(len(self._all), count)
        ]
        for client in fresh:
            self._all.append(client)
        for client in fresh:
            client.answer()
        return self._all[:count]
