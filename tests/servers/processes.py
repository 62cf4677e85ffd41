"""Real storage servers as child processes: one of each for all the tests of a run and their children.

`shared(name, start)` starts a server when it's first asked for, by whichever worker of pytest-xdist that is.
Its facts (ports, keys) go into the environment as well, so that a child process finds the running one. It
ends with the process that started it, whatever way that ends: workers end together. What a test counts or
stops must be its own. `tests/servers/install.sh` installs what is started here.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]
CACHE = PROJECT / ".cache" / "servers"
"""Where install.sh puts what no package manager installs system-wide."""

Facts = dict[str, Any]


class Launcher:
    """Starts processes in a folder, and stops all of them."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._signals: dict[int, int] = {}

    def start(
        self, *command: str | Path, env: Mapping[str, str] | None = None, stop: int = signal.SIGTERM
    ) -> subprocess.Popen[bytes]:
        """Start a program whose output goes to `<folder>/<program>.log`; it dies with this process.

        `stop` is the signal at which it ends soon, whoever is connected.
        """
        name = Path(command[0]).name
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *(str(part) for part in command)],
                cwd=self.folder, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        self.processes.append(process)
        self._signals[process.pid] = stop
        return process

    def until(self, ready: Callable[[], bool], what: str, seconds: float = 90) -> None:
        """Wait until it's ready. Raises RuntimeError with the ends of the logs."""
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [process for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {what} did not come up.\n{self._logs()}")
            time.sleep(0.05)

    def _logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.log"))

    def until_port(self, port: int) -> None:
        """Wait until something listens there."""
        self.until(lambda: listens(port), f"port {port}")

    def stop(self) -> None:
        """Stop what was started, last first."""
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, self._signals[process.pid])
        for process in reversed(self.processes):
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def shared(name: str, start: Callable[[Launcher], Facts]) -> Facts:
    """The facts of the server of that name, started if it isn't running yet."""
    return own(name, lambda: json.loads(_once(name, start)))


def own(name: str, start: Callable[[], Facts]) -> Facts:
    """The facts of a server that this process has, started if it isn't running yet; its children find it."""
    variable = f"TESTED_{name.upper()}"  # SHOSO_ would be a setting that there is not
    if variable not in os.environ:
        os.environ[variable] = json.dumps(start())
    facts: Facts = json.loads(os.environ[variable])
    return facts


def _once(name: str, start: Callable[[Launcher], Facts]) -> str:
    """The facts that the first worker wrote down; the others wait for it."""
    of = os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())
    path = Path(tempfile.gettempdir()) / f"{name}-of-{of}.json"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        atexit.register(path.unlink, missing_ok=True)
        file.seek(0)
        if not (facts := file.read()):
            facts = json.dumps(_started(name, start))
            file.write(facts)
    return facts


def _started(name: str, start: Callable[[Launcher], Facts]) -> Facts:
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    launcher = Launcher(name, folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(launcher.stop)
    facts = start(launcher)
    atexit.register(launcher.stop)  # and before its data go, which `in_memory` has registered by now
    return facts


def in_memory(folder: Path, name: str) -> Path:
    """That folder in `folder`, its files in memory: what a server syncs waits for no disk."""
    place, memory = folder / name, Path("/dev/shm")
    if not place.exists() and memory.is_dir():
        place.symlink_to(tempfile.mkdtemp(prefix=f"{folder.name}-{name}-", dir=memory))
        atexit.register(shutil.rmtree, place.resolve(), ignore_errors=True)
    place.mkdir(exist_ok=True)
    return place.resolve()


AS_NOBODY: tuple[str, ...] = ()
"""Before a command of a server that refuses to run as root: it runs as nobody then."""

if os.geteuid() == 0:
    AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")


def give_away(*folders: Path) -> None:
    """Let the user that AS_NOBODY commands run as own these."""
    if AS_NOBODY:
        for folder in folders:
            shutil.chown(folder, "nobody", "nogroup")


def mortal(word: str) -> tuple[str, ...]:
    """Before a command behind AS_NOBODY, once more: the signal for when its parent dies.

    A process that changes its user forgets what it was told to do then.
    """
    return "setpriv", "--pdeathsig", word, "--"


def program(name: str, *places: str) -> str:
    """The path of an installed program; without it, the test can't run."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *places])
    return shutil.which(name, path=search) or cannot(f"there is no {name}; run tests/servers/install.sh")


def cannot(why: str) -> Any:
    """Skip; on the machine that must run everything, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def run(
    *command: str | Path, env: Mapping[str, str] | None = None, text: str = "", seconds: float = 120
) -> str:
    """Run a program to its end; what it printed. Raises RuntimeError with that, and TimeoutExpired."""
    done = subprocess.run(
        [str(part) for part in command], env={**os.environ, **(env or {})}, input=text, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=seconds,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stdout[-3000:]}")
    return done.stdout


def free_ports(count: int) -> Sequence[int]:
    """So many different ports that nobody listens on right now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Whether somebody listens on that port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
