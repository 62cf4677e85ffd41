"""Programs that need MLflow, in forks of a process that has imported it: seconds of a core less for each.

    process = start(["-m", "mlflow", "server", …], env=env, cwd=folder, out=folder / "server.log")

A program finds its arguments, environment, folder and output as in an interpreter of its own. It leads a
session of its own, and is told SIGTERM when this process is gone. What looks at the environment while it is
imported (`mlflow.server`) is imported by each anew; who serves for `mlflow server` is forked as well.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
SET_PDEATHSIG = 1
STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store")


class Forked:
    """A program under way, as Popen has it; `ended` tells a process's exit code, or None while it runs."""

    def __init__(self, pid: int, ended: Callable[[int], int | None]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._ended(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        begun = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() > begun + timeout:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.02)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def start(
    arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, out: Path, err: Path | None = None
) -> Forked:
    """Begin `python` with these arguments: `-m` and a module, or a file; what it prints is added to files."""
    job = {"run": [*arguments], "env": {**env}, "cwd": str(cwd), "out": str(out), "err": str(err or out)}
    return Forked(_asked(job), lambda pid: _asked({"ended": pid}))


def printed(*arguments: str, env: Mapping[str, str] = os.environ, seconds: float = 120) -> str:
    """What such a program prints, in the folder of the project; it has to end well."""
    with TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        program = start(arguments, env=env, cwd=ROOT, out=out, err=err)
        try:
            code = program.wait(seconds)
        finally:
            program.send_signal(signal.SIGKILL)
        assert code == 0, out.read_text()[-8000:] + err.read_text()[-8000:]
        return out.read_text()


def _asked(job: dict[str, Any]) -> Any:
    process = _warm()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@cache
def _warm() -> subprocess.Popen[str]:
    plain = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "tests.servers.warm"], cwd=ROOT,
        env=plain | {"MLFLOW_DISABLE_TELEMETRY": "true"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    atexit.register(process.communicate)
    return process


# -- in the process that has imported it ------------------------------------------------------------------


def main() -> None:
    """Fork as asked, and tell what became of it, until nobody asks any more."""
    _import_all()
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        answer = _ended(job["ended"]) if "ended" in job else os.fork() or _become(job)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _import_all() -> None:
    with warnings.catch_warnings(action="ignore"):
        for name in ("mlflow.cli", "mlflow.server.fastapi_app", "uvicorn.main", *STORES):
            import_module(name)
    for name in [name for name in sys.modules if f"{name}.".startswith(("mlflow.server.", "mlflow.cli."))]:
        del sys.modules[name]


def _ended(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _become(job: dict[str, Any]) -> NoReturn:
    """Be that program."""
    _die_with_the_parent()
    os.setsid()
    os.chdir(job["cwd"])
    _live_in(job["env"])
    _speak_to(job["out"], job["err"])
    warnings.simplefilter("ignore")
    if job["run"][:3] == ["-m", "mlflow", "server"]:
        _fork_who_serves()
    _run(job["run"])


def _live_in(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _die_with_the_parent() -> None:
    ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGTERM)


def _speak_to(*places: str) -> None:
    for number, (path, mode) in enumerate([(os.devnull, "rb"), *((path, "ab") for path in places)]):
        with Path(path).open(mode) as file:
            os.dup2(file.fileno(), number)


def _run(arguments: list[str]) -> NoReturn:
    """As `python` does, to the end of the process; but what it leaves in memory nobody clears away."""
    code: Any = 0
    try:
        _main(*arguments)
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:  # noqa: BLE001 - whatever it is, as the interpreter prints it
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else code is not None)


def _main(first: str, *others: str) -> None:
    if first == "-m":
        sys.argv = [*others]
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [first, *others]
        sys.path.insert(0, str(Path(first).parent))
        runpy.run_path(first, run_name="__main__")


def _fork_who_serves() -> None:
    """A process that becomes the one that MLflow's command starts, once it does."""
    heard, said = Pipe(duplex=False)
    if (pid := os.fork()) == 0:
        said.close()
        _serve(heard)
    import mlflow.server

    def begin(command: list[str], *, extra_env: dict[str, str], **_: Any) -> Forked:
        said.send((command, {**os.environ, **extra_env}))
        return Forked(pid, _ended)

    mlflow.server._exec_cmd = begin


def _serve(heard: Connection) -> NoReturn:
    _die_with_the_parent()
    try:
        (_, *arguments), env = heard.recv()
    except EOFError:  # the command came to nothing
        os._exit(0)
    _live_in(env)
    _run(arguments)


if __name__ == "__main__":
    main()
