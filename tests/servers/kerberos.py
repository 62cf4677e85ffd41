"""Kerberos: a real KDC (MIT krb5) on loopback, with a realm of its own."""

from __future__ import annotations

from pathlib import Path

from tests.servers.processes import Launcher, free_ports, listens, program, run

REALM = "SHOSO.TEST"

_CONFIGURATION = """[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
    kdc = 127.0.0.1:{port}
}}
"""
_KDC = """[kdcdefaults]
kdc_listen = 127.0.0.1:{port}
kdc_tcp_listen = 127.0.0.1:{port}
[realms]
{realm} = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
    max_life = 1h
}}
"""


class Realm:
    """A realm; `environment` is what a program needs to find it."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self.folder = launcher.folder
        (self._port,) = free_ports(1)
        names = {"realm": REALM, "port": self._port, "folder": self.folder}
        self.configuration = self.folder / "krb5.conf"
        self.configuration.write_text(_CONFIGURATION.format(**names))
        (self.folder / "kdc.conf").write_text(_KDC.format(**names))
        self.environment = {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
        }

    def start(self) -> None:
        """Make the realm's database and start its KDC."""
        run(program("kdb5_util"), "create", "-s", "-P", "master", "-r", REALM, env=self.environment)
        self._launcher.start(program("krb5kdc"), "-n", env=self.environment)
        self._launcher.until(lambda: listens(self._port), "the KDC")

    def keytab(self, name: str, *principals: str) -> Path:
        """A file with the new keys of these principals."""
        path = self.folder / f"{name}.keytab"
        for principal in principals:
            self._administrate("addprinc", "-randkey", principal)
            self._administrate("ktadd", "-k", str(path), principal)
        return path

    def ticket(self, principal: str) -> Path:
        """A cache with a ticket for a new principal."""
        path = self.folder / f"{principal}.cache"
        keytab = self.keytab(principal, principal)
        run(program("kinit"), "-k", "-t", keytab, "-c", path, principal, env=self.environment)
        return path

    def _administrate(self, *command: str) -> None:
        run(program("kadmin.local"), "-r", REALM, *command, env=self.environment)
