"""What can be wrong with a cluster, or with the way there: one sentence with the setting and the fix."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.servers import hdfs
from tests.servers.hdfs import DATANODE, NAMENODE, Cluster, WebHdfs
from tests.servers.processes import Launcher, free_ports, run

from shoso.core.keys import ROOT, Key
from shoso.core.streams import BytesSource
from shoso.errors import Kind, Retry, StoreError, Unavailable
from shoso.stores import open_store

KEY = Key("folder/object")


def probe(uri: str, **environment: str) -> dict[str, str]:
    """What comes of writing and reading an object in a process of its own."""
    known = {key: value for key, value in os.environ.items() if not key.startswith("HADOOP")}
    script = Path(__file__).with_name("hdfs_probe.py")
    return json.loads(run(sys.executable, script, uri, env={**known, **environment}).splitlines()[-1])


@pytest.fixture
def place():
    """An empty folder on the shared cluster, and WebHDFS there."""
    target = hdfs.fresh()
    folder = target.uri.partition(hdfs.server()["address"])[2]
    around = WebHdfs(hdfs.server()["web"], folder)
    around.call("PUT", "", "MKDIRS")
    return target.uri, around


@pytest.fixture(scope="module")
def cluster():
    """A cluster whose nodes may be killed."""
    with TemporaryDirectory(prefix="hdfs-") as folder:
        launcher = Launcher("hdfs", Path(folder))
        cluster = Cluster(launcher)
        try:
            cluster.start()
            yield cluster
        finally:
            launcher.stop()


async def failure(uri: str, **environment: str) -> StoreError:
    """How a write there fails."""
    store = open_store(uri, environment)
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(b"x"))
    await store.close()
    return caught.value


@pytest.mark.parametrize("variable", ["HADOOP_USER_NAME", "MLFLOW_KERBEROS_USER", ""])
def test_whose_files_they_are(place, variable):
    uri, around = place
    around.call("PUT", "", "SETPERMISSION", permission="777")
    uri = uri if variable else uri.replace("hdfs://", "hdfs://alice@")
    answer = probe(uri, **({variable: "alice"} if variable else {}))
    assert answer == {"read": "content"}
    status = json.loads(around.call("GET", "probe/object", "GETFILESTATUS"))
    assert status["FileStatus"]["owner"] == "alice"


def test_who_may_not_write_is_told_who_they_are(place):
    answer = probe(place[0], HADOOP_USER_NAME="bob")
    assert answer["kind"] == Kind.FORBIDDEN.value
    folder = place[0].partition(hdfs.server()["address"])[2]
    assert f"The HDFS user 'bob' may not do that: it needs WRITE on '{folder}'" in answer["message"]
    assert f"which is {hdfs.USER}:supergroup:drwxr-xr-x. Let another user" in answer["message"]
    assert "HADOOP_USER_NAME" in answer["message"]
    assert "hdfs dfs -mkdir, -chown" in answer["message"]


def test_who_may_write_in_a_folder_may_do_so_after_another_user(place):
    uri, around = place
    around.call("PUT", "probe", "MKDIRS")
    for folder in ("", "probe"):
        around.call("PUT", folder, "SETPERMISSION", permission="777")
    assert probe(uri, HADOOP_USER_NAME="alice") == {"read": "content"}
    assert probe(uri, HADOOP_USER_NAME="bob") == {"read": "content"}
    status = json.loads(around.call("GET", ".shoso/drafts", "GETFILESTATUS"))["FileStatus"]
    assert (status["owner"], status["permission"]) == ("alice", "777")


def test_a_folder_that_may_not_be_entered_is_forbidden_not_missing(place):
    uri, around = place
    around.put("probe/object", b"x")
    around.call("PUT", "", "SETPERMISSION", permission="700")
    assert probe(uri, HADOOP_USER_NAME="bob")["kind"] == Kind.FORBIDDEN.value


@pytest.mark.parametrize("quota", [{"namespacequota": "2"}, {"storagespacequota": "1000"}])
async def test_a_used_up_quota_is_no_space(place, quota):
    uri, around = place
    around.call("PUT", "", "SETQUOTA", **quota)
    error = await failure(uri)
    assert error.kind is Kind.NO_SPACE
    assert "quota" in error.message
    assert "\n" not in error.message
    assert "\tat " not in error.message


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_nobody_there(host):
    error = await failure(f"hdfs://{host}:{free_ports(1)[0]}/x")
    assert isinstance(error, Unavailable)
    assert error.retry is Retry.SOON
    assert "dfs.namenode.rpc-address, usually 8020" in error.message
    assert f"hdfs://{host}" in error.message


async def test_the_port_of_the_web_interface(place):
    error = await failure(f"hdfs://127.0.0.1:{hdfs.server()['web']}/x")
    assert isinstance(error, Unavailable)
    assert "not the web interface's" in error.message


def name_service(folder: Path, *namenodes: str) -> None:
    """A configuration of the name service `ns` with these NameNodes."""
    ids = [f"nn{number}" for number in range(len(namenodes))]
    site = {f"dfs.namenode.rpc-address.ns.{name}": at for name, at in zip(ids, namenodes, strict=True)}
    hdfs.write_site(folder / "hdfs-site.xml", {**site, "dfs.ha.namenodes.ns": ",".join(ids)})


@pytest.mark.parametrize("order", [("dead", "live"), ("live", "dead"), ("dead", "dead", "live")])
async def test_a_name_service_is_reached_while_a_namenode_of_it_is_dead(place, tmp_path, order):
    uri, around = place
    live = hdfs.server()["address"]
    name_service(tmp_path, *(live if which == "live" else f"127.0.0.1:{free_ports(1)[0]}" for which in order))
    store = open_store(uri.replace(live, "ns"), {"HADOOP_CONF_DIR": str(tmp_path)})
    written = await store.write(KEY, BytesSource(b"x"))
    assert await store.stat(KEY) == replace(written, digest=None)
    assert around.get(KEY) == b"x"


async def test_a_name_service_without_a_live_namenode(tmp_path):
    name_service(tmp_path, *(f"127.0.0.1:{port}" for port in free_ports(2)))
    error = await failure("hdfs://ns/x", HADOOP_CONF_DIR=str(tmp_path))
    assert isinstance(error, Unavailable)
    assert "No NameNode of hdfs://ns" in error.message


async def test_nodes_that_are_down_are_named_and_waited_for(cluster):
    uri = f"hdfs://{cluster.address}/down"
    store = open_store(uri)
    for name in ("a", "b", "c"):
        await store.write(Key(name), BytesSource(b"before"))

    cluster.kill_node(DATANODE)
    error = await failure(uri)
    assert isinstance(error, Unavailable)
    assert error.retry is Retry.SOON

    cluster.kill_node(NAMENODE)
    error = await failure(uri)
    assert isinstance(error, Unavailable)
    assert "No NameNode of" in error.message

    cluster.start_node(NAMENODE)
    cluster.wait(cluster.up)
    error = await failure(uri)  # it stays in safe mode until its DataNode has come
    assert isinstance(error, Unavailable)
    assert "is in safe mode" in error.message
    assert "hdfs dfsadmin -safemode leave" in error.message

    cluster.start_node(DATANODE)
    cluster.wait(cluster.ready)
    await store.write(KEY, BytesSource(b"after"))
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == ["a", "b", "c", KEY]


async def test_a_missing_folder_is_made_with_the_first_object(place):
    store = open_store(place[0] + "/not/there/yet")
    assert [entry async for entry in store.list(ROOT)] == []
    await store.write(KEY, BytesSource(b"x"))
    assert place[1].get(f"not/there/yet/{KEY}") == b"x"
