"""Processes that are killed in the middle of gc, fsck and migrate: forked off one that has imported all.

    victims = Victims(folder)
    victims.run("apply", world.flags, world.environment, calls=7, plan=…)     killed at its seventh call
    victims.run("apply", world.flags, world.environment, seconds=0.2, plan=…) killed after so long
    victims.run("apply", world.flags, world.environment, plan=…)              not killed

A call is what changes or asks a database or a storage, before it is made and after it: a transaction, a
request to S3, a verb of SFTP or HDFS, a system call that changes a folder. The process counts them itself.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).parents[2]

CHANGES = {"os.remove", "os.rename", "os.link", "os.mkdir", "os.rmdir", "os.truncate"}
"""System calls that count, by the names that Python audits them under."""

VERBS = ("create", "rename", "remove", "mkdir", "rmdir", "entries", "join", "open", "status")
"""Of file systems on servers; see stores.files.system."""


class Done(NamedTuple):
    """What became of it: `outcome` as JSON has it, None if it was killed; how many `calls` it made."""

    outcome: dict[str, Any] | None
    calls: int
    seconds: float


class Victims:
    """Starts them, one at a time; what they leave behind is in the folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.log = folder / "log"
        plain = {name: v for name, v in os.environ.items() if not name.startswith(("MLFLOW_", "SHOSO_"))}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.maintenance.victims"],
                cwd=ROOT, env=plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip

    def run(
        self, verb: str, flags: Mapping[str, Any], environment: Mapping[str, str], *,
        calls: int = 0, seconds: float = 0.0, **arguments: Any,
    ) -> Done:  # fmt: skip
        """What the verb comes to, or None."""
        environment = {"SHOSO_STATE": str(self.folder / "state"), **environment}
        job = {"verb": verb, "flags": flags, "environment": environment, "calls": calls}
        job |= {"seconds": seconds, "arguments": arguments, "folder": str(self.folder)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.log.read_text()
        return Done(**json.loads(answer))

    def close(self) -> None:
        """No more of them."""
        self._process.communicate()


# -- in the process that has imported all -----------------------------------------------------------------


class Fuse:
    """Kills the process at a call; `left` is None where it doesn't."""

    def __init__(self) -> None:
        self.calls = 0
        self._counted = itertools.count(1)
        self.at: int | None = None

    def burn(self) -> None:
        """One call more, whichever thread makes it."""
        self.calls = next(self._counted)
        if self.at is not None and self.calls >= self.at:
            os.kill(os.getpid(), signal.SIGKILL)


FUSE = Fuse()


def _heed(event: str, _: tuple[Any, ...]) -> None:
    if event in CHANGES:
        FUSE.burn()


def _counting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def counted(*args: Any, **kwargs: Any) -> Any:
        FUSE.burn()
        result = await method(*args, **kwargs)
        FUSE.burn()
        return result

    return counted


def _write(method: Callable[..., Any]) -> Callable[..., Any]:
    """A transaction is killed before its commit, too."""

    async def write(self: Any, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def worked(*given: Any, **named: Any) -> Any:
            result = work(*given, **named)
            FUSE.burn()
            return result

        return await method(self, worked, *args, **kwargs)

    return _counting(write)


def _count() -> None:
    """Let all calls count."""
    from shoso.metadata.connect import Database
    from shoso.stores.hdfs.system import HdfsFiles
    from shoso.stores.s3.connection import Connection
    from shoso.stores.sftp.system import SftpSystem

    Database.write = _write(Database.write)  # type: ignore[method-assign]
    Database.read = _counting(Database.read)  # type: ignore[method-assign]
    Connection.send = _counting(Connection.send)  # type: ignore[method-assign]
    for system in (SftpSystem, HdfsFiles):
        for verb in VERBS:
            setattr(system, verb, _counting(getattr(system, verb)))
    sys.addaudithook(_heed)


def _serve() -> None:
    from tests.maintenance import verbs

    _count()
    gc.freeze()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line), verbs.VERBS)._asdict()) + "\n")
        sys.stdout.flush()


def _forked(job: dict[str, Any], verbs: Mapping[str, Callable[..., Any]]) -> Done:
    reader, writer = os.pipe()
    begun = time.monotonic()
    if not (child := os.fork()):
        os.close(reader)
        _suffer(job, verbs[job["verb"]], writer)
    os.close(writer)
    if job["seconds"] and not select.select([reader], [], [], job["seconds"])[0]:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as answer:
        said = answer.read()
    os.waitpid(child, 0)
    calls, outcome = json.loads(said) if said else (0, None)
    return Done(outcome, calls, time.monotonic() - begun)


def _suffer(job: dict[str, Any], verb: Callable[..., Any], writer: int) -> NoReturn:
    """Do it, and say what came of it."""
    tempfile.tempdir = job["folder"]
    FUSE.at = job["calls"] or None
    try:
        outcome = asyncio.run(verb(job["flags"], job["environment"], **job["arguments"]))
    except BaseException as error:  # noqa: BLE001 - it is told
        outcome = {"error": f"{type(error).__name__}: {error}"}
    FUSE.at = None
    with os.fdopen(writer, "w") as answer:
        answer.write(json.dumps([FUSE.calls, outcome]))
    os._exit(0)


if __name__ == "__main__":
    from tests.maintenance import victims

    victims._serve()
