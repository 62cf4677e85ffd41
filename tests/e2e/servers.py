"""Real servers as child processes: `shoso server`, or the reference, `mlflow server`.

`SHOSO_E2E_SERVER=mlflow` picks the reference: what passes there is true of MLflow. `SHOSO_E2E_URI` attaches
to a server that somebody else started. Only the standard library is imported: an old client's interpreter
loads this file too.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

REFERENCE = os.environ.get("SHOSO_E2E_SERVER", "shoso") == "mlflow"
ATTACHED = os.environ.get("SHOSO_E2E_URI", "")

START_SECONDS = 120
STOP_SECONDS = 45  # a server may finish the requests in flight for 30 s

_MORTAL = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
"""In front of a command: SIGTERM once the thread that started it is gone; xdist's workers call no atexit."""


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A server with a folder of its own (database, artifacts, log); restartable on the same data and port.

    `flags` are added to the command line, `env` to the environment. Of the reference one at a time is
    alive: it takes 400 MiB and ten seconds of a core to start.
    """

    _live: ClassVar[list[Server]] = []
    reference: ClassVar[bool] = REFERENCE
    """Whether it's MLflow's."""

    def __init__(self, folder: Path, *flags: str, env: dict[str, str] | None = None, port: int = 0) -> None:
        self.folder = folder
        self.flags = flags
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.prefix = _value_of("--static-prefix", flags)
        self.uri = f"http://{self.host}{self.prefix}"
        self.process: subprocess.Popen[bytes] | None = None
        self._env = env or {}

    @property
    def artifacts(self) -> Path:
        """The root of `mlflow-artifacts:/` on disk."""
        return self.folder / "artifacts"

    @property
    def pid(self) -> int:
        """The pid of the process that was started."""
        return self._running().pid

    def start(self) -> Server:
        """Start, and return when /health answers. Raises RuntimeError with the end of the log.

        The server is stopped when the thread that called this ends, and with it the process that is killed.
        """
        if REFERENCE:
            for other in tuple(self._live):
                other.stop()
        self.process = self._spawn(self.folder / "server.log")
        self._live.append(self)
        self._wait_for_health()
        return self

    def ensure(self) -> None:
        """Start again a server that had to give way to another one."""
        if self.process is None:
            self.start()

    def stop(self) -> int:
        """SIGTERM, wait, and check that no process is left; the exit code."""
        if self.process is None:
            return 0
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        finally:
            self._bury()

    def kill(self) -> None:
        """`kill -9` of the server and its workers, as a power cut would."""
        os.killpg(self.pid, signal.SIGKILL)
        self._running().wait(STOP_SECONDS)
        self._live.remove(self)
        self.process = None

    def log(self) -> str:
        """What the server has printed so far."""
        return (self.folder / "server.log").read_text(errors="replace")

    def _spawn(self, log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*_MORTAL, *self._command()], cwd=self.folder, env=self._environment(), stdout=out,
                stderr=out, start_new_session=True,
            )  # fmt: skip

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError("The server isn't running.")
        return self.process

    def _command(self) -> list[str]:
        flags = [] if "--artifacts-only" in self.flags else ["--backend-store-uri", self.database]
        if self.reference and "--workers" not in self.flags:
            flags += ["--workers", "1"]
        flags += ["--artifacts-destination", str(self.artifacts)]
        program = Path(sys.executable).with_name("mlflow" if self.reference else "shoso")
        here = ["--host", "127.0.0.1", "--port", str(self.port)]
        return [str(program), "server", *here, *flags, *self.flags]

    @property
    def database(self) -> str:
        """The URI of its database."""
        return f"sqlite:///{self.folder / 'tracking.db'}"

    def _environment(self) -> dict[str, str]:
        env = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
        if self.reference:
            env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        return env | self._env

    def _wait_for_health(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(self.uri):
            if self._running().poll() is not None or time.monotonic() > deadline:
                end = self.log()[-3000:]
                self._bury()
                raise RuntimeError(f"The server did not come up: {' '.join(self._command())}\n{end}")
            time.sleep(0.05)

    def _bury(self) -> None:
        """Forget the process; whatever is left of its group is killed, and that is an error."""
        process, self.process = self._running(), None
        self._live.remove(self)
        if _group_is_gone(process.pid):
            return
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        raise RuntimeError(f"The server left processes behind.\n{self.log()[-2000:]}")


def refusal(folder: Path, *flags: str, **variables: str) -> str:
    """What `shoso server` says when it refuses to start."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    command = [str(Path(sys.executable).with_name("shoso")), "server", "--port", "0", *flags]
    done = subprocess.run(
        command, cwd=folder, env=env | variables, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


def eventually(condition: Callable[[], bool], seconds: float = 15) -> bool:
    """Whether a condition comes true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Attached:
    """A server that somebody else started and will stop."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def ensure(self) -> None:
        """It is there."""


def _value_of(flag: str, flags: tuple[str, ...]) -> str:
    return flags[flags.index(flag) + 1] if flag in flags else ""


def _healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _group_is_gone(group: int) -> bool:
    """True when the process group has ended, or ends within five seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False
