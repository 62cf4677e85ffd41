"""A name service of two real NameNodes that share their edits: the active one dies, the other takes over."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.servers.hdfs import DATANODE, NAMENODE, Cluster, write_site
from tests.servers.processes import Launcher, run

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import StoreError, Unavailable
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores import open_store

KEY = Key("folder/object")
ADMINISTRATION = "org.apache.hadoop.hdfs.tools.DFSHAAdmin"
PROVIDER = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
NAMES = ("nn1", "nn2")


@dataclass
class Pair:
    """Two NameNodes, and the DataNode that reports to both."""

    one: Cluster
    two: Cluster

    def activate(self, name: str) -> None:
        """Make that NameNode the active one, as an operator does."""
        run(*self.one.java(ADMINISTRATION), "-transitionToActive", "--forceactive", name)


@pytest.fixture(scope="module")
def pair():
    """The name service `ns`; `nn1` is active, `nn2` on standby."""
    with TemporaryDirectory(prefix="hdfs-ha-") as name, ExitStack() as stack:
        one, two = (_cluster(stack, Path(name, id_)) for id_ in NAMES)
        for cluster, id_ in zip((one, two), NAMES, strict=True):
            _join(cluster, id_, Path(name, "edits"), one, two)
        run(*one.java(NAMENODE), "-format", "-force", "-nonInteractive")
        shutil.copytree(one.folder / "name", two.folder / "name", dirs_exist_ok=True)
        one.start_node(NAMENODE)
        two.start_node(NAMENODE)
        one.start_node(DATANODE)
        one.wait(one.up)
        two.wait(two.up)
        pair = Pair(one, two)
        pair.activate("nn1")
        one.wait(one.ready)
        yield pair


def _cluster(stack: ExitStack, folder: Path) -> Cluster:
    folder.mkdir()
    launcher = Launcher("hdfs", folder)
    stack.callback(launcher.stop)
    return Cluster(launcher)


def _join(cluster: Cluster, name: str, edits: Path, one: Cluster, two: Cluster) -> None:
    """Rewrite its configuration for a name service."""
    own = ("dfs.namenode.rpc-address", "dfs.namenode.http-address")
    site = {key: value for key, value in cluster.site.items() if key not in own}
    site |= {
        "dfs.nameservices": "ns",
        "dfs.ha.namenodes.ns": ",".join(NAMES),
        "dfs.ha.namenode.id": name,
        "dfs.namenode.shared.edits.dir": f"file://{edits}",
        "dfs.ha.fencing.methods": "shell(/bin/true)",
        "dfs.ha.tail-edits.period": "1",
        "dfs.client.failover.proxy.provider.ns": PROVIDER,
    }
    for other, id_ in zip((one, two), NAMES, strict=True):
        site[f"dfs.namenode.rpc-address.ns.{id_}"] = other.address
        site[f"dfs.namenode.http-address.ns.{id_}"] = f"127.0.0.1:{other.web_port}"
    write_site(cluster.configuration / "hdfs-site.xml", site)
    write_site(cluster.configuration / "core-site.xml", {"fs.defaultFS": "hdfs://ns"})


async def test_a_standby_is_named_and_writes_and_reads_go_on_when_it_takes_over(pair):
    alone = open_store(f"hdfs://{pair.two.address}/x")
    with pytest.raises(Unavailable) as caught:
        await alone.write(KEY, BytesSource(b"x"))
    assert "is a NameNode on standby; name the name service (dfs.nameservices" in caught.value.message

    settings = {"HADOOP_CONF_DIR": str(pair.one.configuration)}
    store = standard(open_store("hdfs:/failover", settings), Policy(RetryPolicy(attempts=3)))
    await store.write(KEY, BytesSource(b"before"))
    ref = await store.uploads.begin(Key("parts"))
    part = await store.uploads.put(ref, 1, BytesSource(b"part"))

    pair.one.kill_node(NAMENODE)
    with pytest.raises(StoreError) as caught:
        await store.write(Key("between"), BytesSource(b"x"))
    assert isinstance(caught.value, Unavailable)
    pair.activate("nn2")
    pair.two.wait(pair.two.served)

    assert await read_bytes(store, KEY) == b"before"
    await store.write(Key("after"), BytesSource(b"after"))
    await store.uploads.finish(ref, [part])
    shown = [entry.key async for entry in store.list(Key(""), deep=True)]
    assert shown == ["after", KEY, "parts"]
