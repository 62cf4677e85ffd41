"""OpenSSH's server, with keys, a client configuration and known hosts of its own."""

from __future__ import annotations

import getpass
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

import psutil
from tests.servers.processes import Facts, Launcher, free_ports, in_memory, program, run, shared
from tests.servers.target import Target, around

CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
UseDNS no
MaxStartups 100:30:200
LogLevel VERBOSE
"""

CLIENT = """
Host *
    User {user}
    IdentityFile {folder}/user_key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
"""

_places = count()


def server() -> Facts:
    """The running server: `port`, `folder` (of keys and configuration), `config` (of the client), `data`."""
    return shared("sshd", start)


def start(launcher: Launcher, more: str = "", port: int | None = None) -> Facts:
    """Start a server in the launcher's folder; `more` goes to the end of its configuration."""
    folder, port = launcher.folder, port or free_ports(1)[0]
    Path("/run/sshd").mkdir(exist_ok=True)
    if not (folder / "host_key").exists():
        _write_keys(folder)
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder) + more)
    launcher.start(program("sshd"), "-D", "-e", "-f", folder / "sshd_config")
    launcher.until_port(port)
    return {
        "port": port,
        "folder": str(folder),
        "config": str(folder / "ssh_config"),
        "data": str(in_memory(folder, "data")),
    }


def kill(launcher: Launcher) -> None:
    """End the server and every session on it: those are in groups of their own, and outlive it otherwise."""
    for process in launcher.processes:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
    launcher.stop()
    launcher.processes.clear()


def _write_keys(folder: Path) -> None:
    for name in ("host_key", "user_key"):
        run(program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    (folder / "known_hosts").write_text(f"127.0.0.1 {(folder / 'host_key.pub').read_text()}")
    (folder / "ssh_config").write_text(CLIENT.format(user=getpass.getuser(), folder=folder))


def fresh() -> Target:
    """An empty folder."""
    facts = server()
    path = Path(mkdtemp(dir=facts["data"])) / "root"
    uri = f"sftp://127.0.0.1:{facts['port']}{path}"
    return Target(uri, {"SHOSO_SFTP_CONFIG": facts["config"]}, *around(path), blind=True)
