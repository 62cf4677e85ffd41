"""Real FTP servers: ProFTPD and vsftpd (Debian's), and pyftpdlib; in the clear and over TLS."""

from __future__ import annotations

import grp
import itertools
import json
import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.servers.certificates import self_signed
from tests.servers.processes import CACHE, Facts, Launcher, free_ports, program, run, shared
from tests.servers.target import Target

USER, PASSWORD = "shoso", "made-up-secret"

# AllowStoreRestart belongs in the virtual host again. A server over TLS asks for a data connection of the
# same TLS session, unless it is told not to.
_PROFTPD = """
LoadModule mod_tls.c
ServerName test
ServerType standalone
DefaultServer on
UseIPv6 off
DefaultAddress 127.0.0.1
Port {port}
SocketBindTight on
PidFile {folder}/pid
ScoreboardFile {folder}/scoreboard
DelayEngine off
UseReverseDNS off
MaxInstances 200
WtmpLog off
TransferLog none
SystemLog {folder}/system.log
{common}
<VirtualHost 127.0.0.1>
Port {tls_port}
TLSEngine on
TLSRequired on
TLSECCertificateFile {certificate}
TLSECCertificateKeyFile {key}
TLSVerifyClient off
TLSLog {folder}/tls.log
{common}
</VirtualHost>
"""
_COMMON = {
    "AuthOrder": "mod_auth_file.c",
    "AuthUserFile": "{folder}/passwd",
    "RequireValidShell": "off",
    "RootLogin": "on",
    "DefaultRoot": "~",
    "AllowOverwrite": "on",
    "AllowStoreRestart": "on",
    "AllowRetrieveRestart": "on",
    "TimeoutIdle": "600",
    "TLSOptions": "NoSessionReuseRequired",
}

# Anonymous users only, as others would need PAM. Their root may not be theirs to write to.
_VSFTPD = """
listen=YES
listen_ipv6=NO
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
anon_root={folder}/root
secure_chroot_dir={folder}/empty
seccomp_sandbox=NO
xferlog_enable=NO
"""

SERVERS = 6
"""ProFTPD takes no connection for 200 ms after one has ended; several servers take turns."""

_places, _turns = itertools.count(), itertools.count()


def proftpd(number: int = 0) -> Facts:
    """ProFTPD on `port` and, over TLS that is asked for (AUTH TLS), on `tls_port`; files in `home`."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # it waits for no other's connections
    return shared(f"proftpd_{number}{worker}", start_proftpd)


def start_proftpd(launcher: Launcher, *, home: Path | None = None, **changes: str) -> Facts:
    """One of one's own; `changes` are directives, e.g. AllowOverwrite="off"."""
    facts = {**_ports("port", "tls_port"), **_facts(launcher.folder, home)}
    folder = launcher.folder
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    directives = {**_COMMON, "User": user, "Group": group, **changes}
    common = "\n".join(f"{name} {value}" for name, value in directives.items() if value)
    text = _PROFTPD.format(common=common.format(folder=folder), folder=folder, **facts)
    (folder / "proftpd.conf").write_text(text)
    hashed = run("openssl", "passwd", "-6", PASSWORD).strip()
    users = f"{USER}:{hashed}:{os.getuid()}:{os.getgid()}::{facts['home']}:/bin/false\n"
    (folder / "passwd").write_text(users)
    (folder / "passwd").chmod(0o600)
    launch_proftpd(launcher, facts)
    return facts


def launch_proftpd(launcher: Launcher, facts: Facts) -> None:
    """Start what was configured, once more if need be."""
    launcher.start(program("proftpd"), "-n", "-q", "-c", launcher.folder / "proftpd.conf")
    for port in ("port", "tls_port"):
        launcher.until_port(facts[port])


def vsftpd() -> Facts:
    """vsftpd on `port`, without MLST and MLSD; whoever is anonymous may write in `home`, its /pub."""
    return shared("vsftpd", start_vsftpd)


def start_vsftpd(launcher: Launcher) -> Facts:
    """The same, of one's own."""
    facts = {**_ports("port"), "home": str(launcher.folder / "root/pub")}
    for name, mode in (("", 0o755), ("empty", 0o755), ("root", 0o755), ("root/pub", 0o777)):
        (launcher.folder / name).mkdir(exist_ok=True)
        (launcher.folder / name).chmod(mode)
    (launcher.folder / "vsftpd.conf").write_text(_VSFTPD.format(folder=launcher.folder, **facts))
    launcher.start(program("vsftpd", str(CACHE / "vsftpd/usr/sbin")), launcher.folder / "vsftpd.conf")
    launcher.until_port(facts["port"])
    return facts


def pyftpd() -> Facts:
    """pyftpdlib on `port`, over TLS on `tls_port`, over TLS from the first byte on `implicit_port`."""
    return shared("pyftpd", start_pyftpd)


def start_pyftpd(
    launcher: Launcher,
    *,
    home: Path | None = None,
    permissions: str = "elradfmwMT",
    without: Sequence[str] = (),
    hosts: Sequence[str] = (),
    **settings: object,
) -> Facts:
    """One of one's own, without some commands, for other `hosts`; `settings` are its handlers' attributes."""
    facts = {
        **_ports("port", "tls_port", "implicit_port"),
        **_facts(launcher.folder, home, *hosts),
        "permissions": permissions,
        "without": without,
        "settings": settings,
    }
    launcher.start(sys.executable, Path(__file__).with_name("pyftpd.py"), json.dumps(facts))
    for port in ("port", "tls_port", "implicit_port"):
        launcher.until_port(facts[port])
    return facts


def uri(facts: Facts, scheme: str = "ftp", path: str = "", port: str = "port") -> str:
    """The address of a folder on it, password and all."""
    return f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{facts[port]}/{path}"


def _ports(*names: str) -> dict[str, int]:
    return dict(zip(names, free_ports(len(names)), strict=True))


def _facts(folder: Path, home: Path | None = None, *hosts: str) -> Facts:
    certificate, key = self_signed(folder, "server", *hosts)
    (home := home or folder / "home").mkdir(exist_ok=True)
    files = {"home": str(home), "certificate": str(certificate), "key": str(key)}
    return {"user": USER, "password": PASSWORD, **files}


def fresh() -> Target:
    """A folder of its own on ProFTPD."""
    facts = proftpd(next(_turns) % SERVERS)
    return _target(facts, uri(facts))


def fresh_tls() -> Target:
    """A folder of its own on pyftpdlib, over TLS."""
    facts = pyftpd()
    trusted = {"SSL_CERT_FILE": facts["certificate"]}
    return _target(facts, uri(facts, "ftps", port="tls_port"), trusted)


def fresh_terse() -> Target:
    """A folder of its own on vsftpd."""
    facts = vsftpd()
    return _target(facts, f"ftp://127.0.0.1:{facts['port']}/pub/", {"NETRC": "/nowhere"})


def _target(facts: Facts, address: str, environment: dict[str, str] | None = None) -> Target:
    name = f"{os.getpid()}-{next(_places)}"
    (folder := Path(facts["home"]) / name).mkdir()
    folder.chmod(0o777)

    def put(key: str, data: bytes) -> None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)
        for above in Path(key).parents:
            (folder / above).chmod(0o777)  # the server may be another user

    def get(key: str) -> bytes | None:
        return (folder / key).read_bytes() if (folder / key).is_file() else None

    return Target(f"{address}{name}", environment or {}, put, get)
