"""NFS between real kernels: nfs-ganesha exports a folder, user-mode Linux mounts it.

The kernel of the machine that tests needn't know NFS. Server and clients run in a network and a process
namespace of their own, which end together with the process that started them. A client (`Guest`) sees the
files of the host read-only, so that it runs this project's Python; it takes commands by files in a folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.servers.processes import PROJECT, Facts, Launcher, cannot, program, run, shared

_NUMBERS = count()
_NAMES = ("one", "two")
_PORTS = {"nfs": 2049, "mount": 20048, "locks": 20049}
_OPTIONS = {
    "4.2": "vers=4.2",
    "3": "vers=3,nolock,proto=tcp,mountproto=tcp,mountport=20048",
}

_GANESHA = """
NFS_CORE_PARAM {{
    Protocols = 3, 4; NFS_Port = {nfs}; MNT_Port = {mount}; NLM_Port = {locks};
    Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
    Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha;
}}
NFSv4 {{
    Graceless = true; RecoveryBackend = fs; RecoveryRoot = "{folder}/recovery"; Minor_Versions = 0, 1, 2;
    Only_Numeric_Owners = true;
}}
LOG {{ Default_Log_Level = EVENT; }}
"""

_EXPORT = """
EXPORT {{
    Export_Id = {number}; Path = "{folder}/{name}"; Pseudo = "/{name}"; Squash = {squash};
    Access_Type = RW; SecType = sys; Protocols = 3, 4; Transports = TCP; FSAL {{ Name = VFS; }}
}}
"""

_EXPORTS = (
    ("export", "1g", "No_Root_Squash"),
    ("small", "8m", "No_Root_Squash"),
    ("squashed", "1m", "Root_Squash"),
)
"""Name, size, and whom root is taken for."""


@dataclass(frozen=True)
class Done:
    """A command's exit code and what it printed."""

    code: int
    output: str


class Guest:
    """A client machine: its own kernel, with this machine's files."""

    def __init__(self, folder: Path, subnet: int) -> None:
        self._jobs = folder / "jobs"
        self._gateway = f"10.77.{subnet}.1"

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
        path = f"/{export}" if version.startswith("4") else self._jobs.parent.parent / export
        return f"mount -t nfs -o {options} {self._gateway}:{path}"

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


@contextmanager
def server_gone() -> Iterator[None]:
    """Meanwhile, the server answers nothing."""
    facts = shared("nfs", _start)
    pid = (Path(facts["folder"]) / "ganesha.pid").read_text().strip()
    run(*facts["inside"], "kill", "-STOP", pid)
    try:
        yield
    finally:
        run(*facts["inside"], "kill", "-CONT", pid)


def guests() -> list[Guest]:
    """Two clients of one server."""
    facts = shared("nfs", _start)
    return [Guest(Path(facts["folder"]) / name, subnet) for subnet, name in enumerate(_NAMES)]


def _start(launcher: Launcher) -> Facts:
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        cannot("NFS takes root and /dev/net/tun")
    folder = launcher.folder
    (folder / "recovery").mkdir()
    inside = _namespace(launcher)
    settings = _GANESHA.format(folder=folder, **_PORTS)
    for number, (name, size, squash) in enumerate(_EXPORTS, 1):
        (folder / name).mkdir()
        run(*inside, "mount", "-t", "tmpfs", "-o", f"mode=755,size={size}", "tmpfs", folder / name)
        settings += _EXPORT.format(number=number, folder=folder, name=name, squash=squash)
    (folder / "ganesha.conf").write_text(settings)
    for subnet in range(len(_NAMES)):
        tap = f"tap{subnet}"
        run(*inside, "ip", "tuntap", "add", "dev", tap, "mode", "tap")
        run(*inside, "ip", "address", "add", f"10.77.{subnet}.1/24", "dev", tap)
        run(*inside, "ip", "link", "set", tap, "up")
    run(*inside, "ip", "link", "set", "lo", "up")
    launcher.start(*inside, program("rpcbind"), "-f", "-w")
    launcher.until(lambda: _answers(inside, 111), "rpcbind")
    launcher.start(
        *inside, program("ganesha.nfsd"), "-F", "-f", folder / "ganesha.conf", "-L", folder / "ganesha.log",
        "-p", folder / "ganesha.pid",
    )  # fmt: skip
    launcher.until(lambda: _answers(inside, _PORTS["nfs"]), "nfs-ganesha")
    _boot(launcher, inside)
    return {"folder": str(folder), "inside": inside}


def _namespace(launcher: Launcher) -> tuple[str, ...]:
    """Network and processes apart from the machine's: how to run a program there."""
    holder = launcher.folder / "namespace"
    script = f"echo up > {shlex.quote(str(holder))}; exec sleep infinity"
    unshare = launcher.start(
        program("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script
    )
    launcher.until(holder.exists, "the namespace")
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children").read_text().split()
    return (program("nsenter"), "--net", "--mount", "--pid", "--target", children[0], "--")


def _answers(inside: tuple[str, ...], port: int) -> bool:
    probe = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
    command = [*inside, sys.executable, "-c", probe]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _boot(launcher: Launcher, inside: tuple[str, ...]) -> None:
    # User-mode Linux 6.1 hands back too few bytes of registers where the processor has AMX, and panics
    # at once if nobody adds the others. Elsewhere this changes nothing.
    registers = launcher.folder / "xstate.so"
    run(program("gcc"), "-O2", "-shared", "-fPIC", "-o", registers, PROJECT / "tests/servers/nfs_xstate.c")
    for subnet, name in enumerate(_NAMES):
        folder = launcher.folder / name
        (folder / "jobs").mkdir(parents=True)
        launcher.start(
            *inside, "env", f"LD_PRELOAD={registers}", program("linux.uml"), "mem=512M",
            f"umid={name}", f"uml_dir={folder}", "root=/dev/root", "rootfstype=hostfs", "hostfs=/", "ro",
            f"vec0:transport=tap,ifname=tap{subnet},depth=64,gro=1",  # without gro, the console is flooded
            f"init={PROJECT}/tests/servers/nfs_guest.sh", f"JOBS={folder}/jobs", f"ADDRESS=10.77.{subnet}.2",
            "con=null", "con0=null,fd:1", "quiet",
        )  # fmt: skip
    try:
        for name in _NAMES:
            launcher.until((launcher.folder / name / "jobs/up").exists, f"client {name}")
    except RuntimeError:
        log = (launcher.folder / "nsenter.log").read_text(errors="replace")
        if panic := re.search(r"Kernel panic.*", log):
            cannot(f"NFS takes user-mode Linux, which does not run on this machine: {panic.group()}")
        raise
