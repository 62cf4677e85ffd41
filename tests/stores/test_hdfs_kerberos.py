"""A cluster that lets in nobody without a Kerberos ticket: real KDC, NameNode and DataNode.

Transfers between client and DataNode are authenticated by block tokens, and encrypted where
`dfs.data.transfer.protection` is `privacy`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.servers.hdfs import Cluster
from tests.servers.kerberos import REALM, Realm
from tests.servers.processes import Launcher, run

from shoso.errors import Kind

PRINCIPALS = {
    "dfs.namenode.kerberos.principal": f"nn/localhost@{REALM}",
    "dfs.datanode.kerberos.principal": f"dn/localhost@{REALM}",
    "dfs.web.authentication.kerberos.principal": f"HTTP/localhost@{REALM}",
}
KEYTABS = ("dfs.namenode.keytab.file", "dfs.datanode.keytab.file", "dfs.web.authentication.kerberos.keytab")


@dataclass
class Secured:
    """A cluster with Kerberos; `realm` is where its tickets come from."""

    realm: Realm
    cluster: Cluster

    def probe(self, path: str = "/open", **environment: str) -> dict[str, str]:
        """What comes of writing and reading an object in a process of its own."""
        known = {key: value for key, value in os.environ.items() if not key.startswith(("HADOOP", "KRB5"))}
        script = Path(__file__).with_name("hdfs_probe.py")
        env = {**known, **self.realm.environment, "KRB5CCNAME": "/nowhere", **self._site(), **environment}
        return json.loads(run(sys.executable, script, f"hdfs:{path}", env=env).splitlines()[-1])

    def _site(self) -> dict[str, str]:
        return {"HADOOP_CONF_DIR": str(self.cluster.configuration)}


@pytest.fixture(scope="module", params=["authentication", "privacy"])
def secured(request):
    """The cluster, with a folder that everybody may write to."""
    with TemporaryDirectory(prefix="kerberos-") as folder:
        launchers = [_launcher(Path(folder, name)) for name in ("kdc", "hdfs")]
        try:
            realm = Realm(launchers[0])
            realm.start()
            cluster = _cluster(launchers[1], realm, request.param)
            cluster.start()
            secured = Secured(realm, cluster)
            _open_a_folder(secured)
            yield secured
        finally:
            for launcher in reversed(launchers):
                launcher.stop()


def _launcher(folder: Path) -> Launcher:
    folder.mkdir()
    return Launcher(folder.name, folder)


def _cluster(launcher: Launcher, realm: Realm, protection: str) -> Cluster:
    keytab = realm.keytab("services", *(name.partition("@")[0] for name in PRINCIPALS.values()))
    site = {
        **PRINCIPALS,
        **dict.fromkeys(KEYTABS, str(keytab)),
        "hadoop.security.authentication": "kerberos",
        "hadoop.security.authorization": "true",
        "hadoop.rpc.protection": protection,
        "dfs.data.transfer.protection": protection,
        "dfs.block.access.token.enable": "true",
        "ignore.secure.ports.for.testing": "true",
    }
    return Cluster(launcher, site, (f"-Djava.security.krb5.conf={realm.configuration}",))


def _open_a_folder(secured: Secured) -> None:
    """The NameNode's own principal is the superuser: it writes where only it may, and so makes the folder."""
    keytab, cache = secured.realm.folder / "services.keytab", secured.realm.folder / "superuser.cache"
    run("kinit", "-k", "-t", keytab, "-c", cache, "nn/localhost", env=secured.realm.environment)
    answer = secured.probe(
        MLFLOW_KERBEROS_TICKET_CACHE=str(cache), MLFLOW_PYARROW_EXTRA_CONF="fs.permissions.umask-mode=000"
    )
    assert answer == {"read": "content"}


def test_a_ticket_cache_opens_the_store(secured):
    cache = secured.realm.ticket("alice")
    assert secured.probe(MLFLOW_KERBEROS_TICKET_CACHE=str(cache)) == {"read": "content"}
    assert secured.probe(KRB5CCNAME=str(cache)) == {"read": "content"}
    for principal in ("alice", f"alice@{REALM}"):
        answer = secured.probe(MLFLOW_KERBEROS_TICKET_CACHE=str(cache), MLFLOW_KERBEROS_USER=principal)
        assert answer == {"read": "content"}
    answer = secured.probe("/closed", KRB5CCNAME=str(cache))
    assert answer["kind"] == Kind.FORBIDDEN.value
    assert "The HDFS user 'alice' may not do that: it needs WRITE on '/'" in answer["message"]


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"MLFLOW_KERBEROS_USER": "nobody"},
        {"MLFLOW_KERBEROS_TICKET_CACHE": "/nowhere/else"},
        {"MLFLOW_KERBEROS_TICKET_CACHE": "/nowhere/else", "MLFLOW_KERBEROS_USER": "alice"},
    ],
)
def test_without_a_ticket_the_fix_is_named(secured, environment):
    answer = secured.probe(**environment)
    assert answer["kind"] == Kind.UNAUTHENTICATED.value
    assert "(kinit), name its cache in MLFLOW_KERBEROS_TICKET_CACHE" in answer["message"]
    assert "redentials" in answer["message"]  # the words of the Kerberos library, and not its numbers
    assert "GSS" not in answer["message"]


def test_a_client_that_knows_nothing_of_kerberos_is_not_let_in(secured):
    cache = secured.realm.ticket("carol")
    answer = secured.probe(
        KRB5CCNAME=str(cache),
        MLFLOW_PYARROW_EXTRA_CONF="hadoop.security.authentication=simple",
        MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="5",
    )
    if answer["kind"] != Kind.TIMEOUT.value:  # the library now and then misses that it was turned away
        assert answer["kind"] == Kind.UNAVAILABLE.value
        assert "whether the cluster wants Kerberos (hadoop.security.authentication)" in answer["message"]
