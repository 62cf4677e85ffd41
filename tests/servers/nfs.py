"""NFS between real kernels, in user-mode Linux: one is the server, two mount what it exports.

The kernel of the machine that tests needn't know NFS. Server and clients run in a network and a process
namespace of their own, which end together with the process that started them. Each (`Guest`) sees the
files of the host read-only, so that it runs this project's Python; it takes commands by files in a folder.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.processes import PROJECT, Launcher, cannot, program, run

_NUMBERS = count()
_SERVER, _CLIENTS = "server", ("one", "two")
_GUESTS = (_SERVER, *_CLIENTS)
_MEMORY = {_SERVER: "1536M"}
"""The server's exports are in its memory, which takes the host's only once it's used."""

_OPTIONS = {
    "4.2": "vers=4.2",
    "3": "vers=3,nolock,proto=tcp,mountproto=tcp,mountport=20048",
}
_ROOT = "/run/exports"


@dataclass(frozen=True)
class Done:
    """A command's exit code and what it printed."""

    code: int
    output: str


class Guest:
    """A machine: its own kernel, with this machine's files."""

    def __init__(self, folder: Path) -> None:
        self._jobs = folder / "jobs"

    def start(self, *command: str | Path, env: dict[str, str] | None = None) -> Path:
        """Start a command, in the project's folder; `result` waits for it."""
        job = self._jobs / f"{next(_NUMBERS):04}"
        settings = [f"{name}={value}" for name, value in (env or {}).items()]
        line = shlex.join(["env", *settings, *(str(part) for part in command)])
        job.with_suffix(".new").write_text(f"cd {shlex.quote(str(PROJECT))}\n{line}\n")
        job.with_suffix(".new").rename(job.with_suffix(".job"))
        return job

    def result(self, job: Path, seconds: float = 60) -> Done:
        """The result of what `start` started. Raises TimeoutError with what it printed."""
        deadline = time.monotonic() + seconds
        code, output = job.with_suffix(".code"), job.with_suffix(".out")
        while not code.exists():
            if time.monotonic() > deadline:
                printed = output.read_text(errors="replace") if output.exists() else ""
                raise TimeoutError(f"no result after {seconds:g} s: {printed[-3000:]}")
            time.sleep(0.02)
        return Done(int(code.read_text()), output.read_text(errors="replace"))

    def run(self, *command: str | Path, seconds: float = 60, env: dict[str, str] | None = None) -> Done:
        """Run a command to its end."""
        return self.result(self.start(*command, env=env), seconds)

    def exchange(self, name: str) -> Exchange:
        """A new folder to leave signs in."""
        return Exchange(self._jobs / name)

    def mounting(self, version: str, *more: str, export: str = "export") -> str:
        """The command that mounts an export over NFS of that version, but for the place."""
        options = ",".join([_OPTIONS[version], *more])
        root = "" if version.startswith("4") else _ROOT
        return f"mount -t nfs -o {options} {_address(_SERVER)}:{root}/{export}"

    def mount(self, version: str, *more: str, export: str = "export") -> str:
        """Mount an export, once; the path of the mount."""
        place = "-".join([f"/run/{export}", version, *more])
        mounting = self.mounting(version, *more, export=export)
        done = self.run("sh", "-c", f"mountpoint -q {place} || {{ mkdir {place} && {mounting} {place}; }}")
        if done.code:
            raise RuntimeError(f"{mounting}: {done.output}")
        return place


class Exchange:
    """A folder in which machine and client leave each other signs; `inside` is its path for the client."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.inside = f"/run/jobs/{folder.name}"

    def give(self, sign: str) -> None:
        """Leave one."""
        (self._folder / sign).touch()

    def wait_for(self, sign: str, seconds: float = 60) -> None:
        """Wait for the client's. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not (self._folder / sign).exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the client did not say '{sign}'")
            time.sleep(0.02)


@dataclass(frozen=True)
class Network:
    """One server and two clients of it, in `folder`; `inside` is how to run a program beside them."""

    folder: Path
    inside: tuple[str, ...]

    @property
    def clients(self) -> list[Guest]:
        """Both."""
        return [Guest(self.folder / name) for name in _CLIENTS]

    @contextmanager
    def server_gone(self) -> Iterator[None]:
        """Meanwhile, the server answers nothing."""
        pid = (self.folder / _SERVER / _SERVER / "pid").read_text().strip()
        run(*self.inside, "kill", "-STOP", pid)
        try:
            yield
        finally:
            run(*self.inside, "kill", "-CONT", pid)


@contextmanager
def running() -> Iterator[Network]:
    """Such a network, which ends with the block: its kernels keep a third of a core busy by waiting."""
    with TemporaryDirectory(prefix="nfs-") as folder:
        launcher = Launcher("nfs", Path(folder))
        try:
            yield _start(launcher)
        finally:
            launcher.stop()


def _start(launcher: Launcher) -> Network:
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        cannot("NFS takes root and /dev/net/tun")
    inside = _namespace(launcher)
    for name in _GUESTS:
        run(*inside, "ip", "tuntap", "add", "dev", name, "mode", "tap")
        run(*inside, "ip", "address", "add", f"{_address(name, 1)}/24", "dev", name)
        run(*inside, "ip", "link", "set", name, "up")
    run(*inside, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    _boot(launcher, inside)
    served = Guest(launcher.folder / _SERVER).run(PROJECT / "tests/servers/nfs_server.sh")
    if served.code:
        raise RuntimeError(f"NFS's server did not come up: {served.output}")
    return Network(launcher.folder, inside)


def _address(name: str, host: int = 2) -> str:
    """A guest's address; as host 1, this machine's in the guest's network."""
    return f"10.77.{_GUESTS.index(name)}.{host}"


def _namespace(launcher: Launcher) -> tuple[str, ...]:
    """Network and processes apart from the machine's: how to run a program there."""
    holder = launcher.folder / "namespace"
    # A namespace's first process heeds only signals that it has a trap for; with it, all others end.
    script = f"trap exit TERM; echo up > {shlex.quote(str(holder))}; sleep infinity & wait"
    unshare = launcher.start(
        program("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script
    )
    launcher.until(holder.exists, "the namespace")
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    return (program("nsenter"), "--net", "--mount", "--pid", "--target", children[0], "--")


def _boot(launcher: Launcher, inside: tuple[str, ...]) -> None:
    # User-mode Linux 6.1 hands back too few bytes of registers where the processor has AMX, and panics
    # at once if nobody adds the others. Elsewhere this changes nothing.
    registers = launcher.folder / "xstate.so"
    run(program("gcc"), "-O2", "-shared", "-fPIC", "-o", registers, PROJECT / "tests/servers/nfs_xstate.c")
    for name in _GUESTS:
        folder = launcher.folder / name
        (folder / "jobs").mkdir(parents=True)
        launcher.start(
            *inside, "env", f"LD_PRELOAD={registers}", program("linux.uml"),
            f"mem={_MEMORY.get(name, '512M')}",             f"umid={name}", f"uml_dir={folder}",
            "root=/dev/root", "rootfstype=hostfs", "hostfs=/", "ro",
            f"vec0:transport=tap,ifname={name},depth=64,gro=1",  # without gro, the console is flooded
            f"init={PROJECT}/tests/servers/nfs_guest.sh", f"JOBS={folder}/jobs", f"ADDRESS={_address(name)}",
            f"GATEWAY={_address(name, 1)}", f"NAME={name}", "con=null", "con0=null,fd:1", "quiet",
        )  # fmt: skip
    try:
        for name in _GUESTS:
            launcher.until((launcher.folder / name / "jobs/up").exists, f"guest {name}")
    except RuntimeError:
        log = (launcher.folder / "nsenter.log").read_text(errors="replace")
        if panic := re.search(r"Kernel panic.*", log):
            cannot(f"NFS takes user-mode Linux, which does not run on this machine: {panic.group()}")
        raise
