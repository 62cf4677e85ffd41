"""The two servers, started with default flags, each on its own fresh database and artifact directory."""

import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import Family, Memory
from benchmarks.wire import Connection, request

HEALTH = request("GET", "/health")
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class ServerError(RuntimeError):
    """The server didn't start, or died; the text holds the end of its log."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Kind:
    """A program that can be measured: its name in the tables and the executable that takes `server`.

    `destination` is where its artifacts go, by default a folder of its own; `environment` what that needs.
    """

    name: str
    executable: Path
    destination: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Server:
    """One running server; `stop` leaves no process and no file behind."""

    kind: Kind
    home: Path
    port: int = field(default_factory=_free_port)
    family: Family = field(default_factory=lambda: Family(uuid.uuid4().hex))
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def uri(self) -> str:
        """What MLFLOW_TRACKING_URI would be set to."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, database: str = "") -> float:
        """Seconds until the first 200 on /health; on the database of that URI, else on a new file."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / "server.log").open("wb") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                self._command(database or f"sqlite:///{self.home / 'tracking.db'}"),
                cwd=self.home,
                env=child_environment(self.kind.executable.parent)
                | self.family.environment
                | {**self.kind.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._wait_for_health(began)

    def _command(self, database: str) -> list[str]:
        return [
            str(self.kind.executable),
            "server",
            *("--host", "127.0.0.1"),
            *("--port", str(self.port)),
            *("--backend-store-uri", database),
            *("--artifacts-destination", self.kind.destination or str(self.home / "artifacts")),
        ]

    def _wait_for_health(self, began: float) -> float:
        while (elapsed := time.perf_counter() - began) < START_SECONDS:
            self.check_alive()
            if self.healthy():
                return time.perf_counter() - began
            time.sleep(0.005)
        raise ServerError(f"{self.kind.name}: no 200 on /health in {elapsed:.0f} s: {self.log_end()}")

    def healthy(self) -> bool:
        """Whether /health answers 200 on a new connection."""
        with suppress(OSError), Connection(self.port, timeout=5.0) as connection:
            return connection.exchange(HEALTH)[0] == 200
        return False

    def check_alive(self) -> None:
        """Raise ServerError when the first process has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise ServerError(f"{self.kind.name}: the server ended with code {code}: {self.log_end()}")

    def log_end(self) -> str:
        """The last lines that the server wrote, as far as they fit into a sentence."""
        lines = (self.home / "server.log").read_text(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:])[-400:]

    def settle(self, *, quiet: float = 3.0, limit: float) -> bool:
        """Wait until the family used less than 10 % of a core over `quiet` seconds: start-up work is over.

        False when it was still at work after `limit` seconds.
        """
        deadline = time.monotonic() + limit
        used = self.family.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(quiet)
            before, used = used, self.family.cpu_seconds()
            if used - before < 0.1 * quiet:
                return True
        return False

    def memory(self) -> Memory:
        """What all processes hold now."""
        return self.family.memory()

    def freeze(self) -> None:
        """Take the server off the machine's cores while another one is measured."""
        self.family.freeze()

    def thaw(self) -> None:
        """Let it run again, and wait until it answers and has done what piled up."""
        self.family.thaw()
        deadline = time.monotonic() + 10
        while not self.healthy() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.check_alive()
        self.settle(quiet=0.5, limit=5)

    def stop(self) -> None:
        """End it as an operator would, then by force; remove its files."""
        if self._process is not None:
            self.family.thaw()
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self.family.kill()
            self._process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


def child_environment(*path: Path) -> dict[str, str]:
    """The environment of every child: no settings of the caller's MLflow or Shoso, no proxy, no telemetry.

    Byte code may be written: a package without it imports three to four times slower.
    """
    dropped = ("MLFLOW_", "SHOSO_", "PYTHON", "VIRTUAL_ENV", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(dropped)}
    path_text = os.pathsep.join([*map(str, path), kept.get("PATH", os.defpath)])
    return kept | {"PATH": path_text, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
