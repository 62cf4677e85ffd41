"""HDFS over a network that fails: retried within the deadline or failed clearly; never half an object.

The NameNode is reached through one proxy, the DataNode through another on the address that it calls its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from tests.maintenance import outages, world
from tests.maintenance.outages import Outage
from tests.maintenance.world import ROOT, World
from tests.servers import hdfs
from tests.servers.faultproxy import FaultProxy
from tests.servers.hdfs import DATANODE, NAMENODE, Cluster
from tests.servers.processes import Launcher

from shoso.core.keys import Key
from shoso.core.store import Store, read_bytes
from shoso.core.streams import BytesSource, StreamSource
from shoso.errors import Kind, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores import open_store
from shoso.stores.files.drafts import PATIENCE
from shoso.stores.files.store import FileStore
from shoso.stores.hdfs.clients import Client

KEY = Key("folder/object")
MIB = 1024 * 1024
DATA = os.urandom(6 * MIB)
SILENCE = 1.5
SETTINGS = {"MLFLOW_PYARROW_EXTRA_CONF": "dfs.client.use.datanode.hostname=true"}


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


@dataclass
class Line:
    """A store, and the proxies between it and the nodes."""

    store: Store
    bare: FileStore
    straight: FileStore
    names: FaultProxy
    data: FaultProxy
    uri: str

    def hasty(self) -> Store:
        """The store, impatient and without a second try."""
        store = open_store(self.uri, {**SETTINGS, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(SILENCE)})
        return standard(store, Policy(RetryPolicy(attempts=1)))

    async def drafts(self) -> int:
        """How many drafts there are."""
        return len(await self.straight.system.entries(".shoso/drafts"))


@pytest.fixture
async def line(cluster, request):
    """A store behind proxies, and the same folder without."""
    folder = f"/faults/{request.node.name.replace('[', '-').replace(']', '')}"
    async with AsyncExitStack() as stack:
        names = await stack.enter_async_context(FaultProxy(cluster.namenode_port))
        data = FaultProxy(cluster.datanode_port, cluster.datanode_port, hdfs.NICKNAME)
        await stack.enter_async_context(data)
        uri = f"hdfs://127.0.0.1:{names.port}{folder}"
        bare = open_store(uri, SETTINGS)
        straight = open_store(f"hdfs://{cluster.address}{folder}")
        await straight.write(Key("warm"), BytesSource(b"x"))
        yield Line(standard(bare), bare, straight, names, data, uri)
        await bare.close()
        await straight.close()


async def test_latency_costs_time_and_nothing_else(line):
    line.names.latency = line.data.latency = 0.005
    await line.store.write(KEY, BytesSource(DATA))
    assert await read_bytes(line.store, KEY) == DATA


async def test_every_third_connection_to_the_datanode_is_reset(line):
    line.data.reset_every = 3
    number = 0
    while line.data.resets < 3:  # how many connections an object takes is the library's affair
        number += 1
        await line.store.write(Key(f"object-{number}"), BytesSource(DATA))
        assert await read_bytes(line.store, Key(f"object-{number}")) == DATA
    assert await line.drafts() == 0


async def test_the_connection_to_the_namenode_is_reset_again_and_again(line):
    store = standard(line.bare, Policy(RetryPolicy(attempts=20)))
    number = 0
    while line.names.connections < 5:
        number += 1
        cutting = asyncio.get_running_loop().call_later(random.uniform(0, 0.1), line.names.reset_all)
        await store.write(Key(f"object-{number}"), BytesSource(str(number).encode()))
        assert await read_bytes(store, Key(f"object-{number}")) == str(number).encode()
        cutting.cancel()
    assert await line.drafts() == 0


async def test_a_connection_that_ends_while_many_calls_begin_holds_nothing_up(line):
    """The library's asynchronous client makes a process stand still then, its deadlines and signals too."""
    storm = asyncio.create_task(_printed("hdfs_storm.py", line.uri))
    while not storm.done():
        await asyncio.wait({storm}, timeout=0.05)
        line.names.reset_all()
    assert int(await storm) > 0


async def test_a_process_ends_though_a_call_is_never_answered(line):
    line.names.blackhole = True
    settings = {**SETTINGS, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(SILENCE)}
    assert json.loads(await _printed("hdfs_probe.py", line.uri, **settings))["kind"] == Kind.TIMEOUT.value


async def test_a_reset_in_the_middle_of_an_upload_is_made_good(line):
    line.data.reset_up_after = 2 * MIB
    writing = asyncio.create_task(line.store.write(KEY, BytesSource(DATA)))
    while not line.data.resets:  # noqa: ASYNC110  # the proxy has no event for it
        await asyncio.sleep(0.001)
    line.data.reset_up_after = None
    await writing
    assert await read_bytes(line.straight, KEY) == DATA
    assert await line.drafts() == 0


async def test_a_reset_in_the_middle_of_a_download_is_made_good(line):
    await line.straight.write(KEY, BytesSource(DATA))
    line.data.reset_down_after = MIB // 2
    reading = asyncio.create_task(read_bytes(line.store, KEY))
    while not line.data.resets:  # noqa: ASYNC110  # the proxy has no event for it
        await asyncio.sleep(0.001)
    line.data.reset_down_after = None
    assert await reading == DATA


async def test_a_stream_that_cannot_be_sent_again_fails_whole(line):
    await line.straight.write(KEY, BytesSource(b"before"))
    line.data.reset_up_after = 2 * MIB
    with pytest.raises(StoreError) as caught:
        await line.store.write(KEY, StreamSource(BytesSource(DATA).open()))
    assert caught.value.kind is Kind.UNAVAILABLE
    assert await read_bytes(line.straight, KEY) == b"before"
    assert await line.drafts() == 0


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_byte_that_flips_on_the_way_is_noticed_and_sent_again(line, direction):
    if direction == "up":
        line.data.corrupt_up_at = MIB
        await line.store.write(KEY, BytesSource(DATA))
    else:
        await line.straight.write(KEY, BytesSource(DATA))
        line.data.corrupt_down_at = MIB // 2
    assert await read_bytes(line.store, KEY) == DATA
    assert line.data.corrupted == 1
    assert await read_bytes(line.straight, KEY) == DATA


@pytest.mark.parametrize("which", ["names", "data"])
async def test_a_black_hole_is_given_up_in_time_and_forgotten(line, which):
    await line.straight.write(KEY, BytesSource(DATA))
    await line.store.write(Key("other"), BytesSource(DATA))
    proxy = getattr(line, which)
    proxy.blackhole = True
    hasty = line.hasty()
    for call in (read_bytes(hasty, KEY), hasty.write(Key("new"), BytesSource(DATA))):
        start = time.monotonic()
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.kind is Kind.TIMEOUT
        assert time.monotonic() - start < SILENCE + PATIENCE + 5
    proxy.deafen()
    proxy.blackhole = False
    assert await read_bytes(line.store, KEY) == DATA
    await line.store.write(Key("new"), BytesSource(DATA))
    assert await read_bytes(line.straight, Key("new")) == DATA
    await hasty.close()


class Endless:
    """Megabytes without end, and how many were taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def __aiter__(self):
        while True:
            yield b"x" * MIB
            self.taken += 1


async def test_an_abandoned_write_leaves_no_draft_and_no_connection(line, cluster):
    await _until(lambda: _connections(cluster.datanode_port) == 0)  # those kept for the next read
    for _ in range(5):
        source = Endless()
        writing = asyncio.create_task(line.straight.write(KEY, StreamSource(aiter(source))))
        await _until(lambda source=source: source.taken > 3)
        assert _connections(cluster.datanode_port) > 0
        writing.cancel()
        await asyncio.wait([writing])
    assert await line.drafts() == 0
    await _until(lambda: _connections(cluster.datanode_port) == 0)


async def test_a_write_abandoned_while_nothing_is_taken_leaves_no_connection(line):
    """And sooner than with the library's next sign of life, after 30 s: then the DataNode hangs up."""
    line.data.rate = MIB
    source = Endless()
    writing = asyncio.create_task(line.bare.write(KEY, StreamSource(aiter(source))))
    await _until(lambda: source.taken > 5)  # the library's window
    await asyncio.sleep(0.5)
    writing.cancel()
    await asyncio.wait([writing])
    line.data.rate = None
    await _until(lambda: not line.data.busy, 20)
    assert await line.drafts() == 0


async def test_a_draft_that_is_made_after_it_was_given_up_is_removed(line, monkeypatch):
    calls, start = [], Client.start

    def late(client, work, *arguments):
        def slow():
            time.sleep(0.3)
            return work(*arguments)

        calls.append(start(client, slow))
        return calls[-1]

    monkeypatch.setattr(Client, "start", late)
    making = asyncio.create_task(line.straight.system.create("late"))
    await _until(lambda: calls and calls[0].running())
    making.cancel()
    await asyncio.wait([making])
    await _until(lambda: any(_gave(call, True) for call in calls))
    assert calls[0].exception() is None
    with pytest.raises(FileNotFoundError):
        await line.straight.system.status("late")


async def test_a_rename_whose_reply_was_lost_is_not_a_failure(line):
    """The library sends it again over a new connection, and HDFS finds no source any more."""
    system = line.straight.system
    draft = await system.create(".shoso/drafts/one")
    await draft.append([b"content"])
    await draft.seal("ab" * 32)
    target = system.absolute("one")
    await system.call(".shoso/drafts/one", lambda api, place: api.rename(place, target, False))
    await system.rename(".shoso/drafts/one", "one", replace=False)
    with pytest.raises(FileNotFoundError):
        await system.rename(".shoso/drafts/one", "one", replace=False)


@pytest.mark.parametrize("node", [DATANODE, NAMENODE])
async def test_a_node_that_restarts_costs_an_upload_one_part(cluster, line, node):
    uploads = line.store.uploads
    ref = await uploads.begin(KEY)
    first = await uploads.put(ref, 1, BytesSource(DATA))
    cluster.kill_node(node)
    with pytest.raises(StoreError) as caught:
        await uploads.put(ref, 2, BytesSource(DATA))
    assert caught.value.kind is Kind.UNAVAILABLE
    cluster.start_node(node)
    cluster.wait(cluster.ready)
    second = await uploads.put(ref, 2, BytesSource(b"end"))
    await uploads.finish(ref, [first, second])
    assert await read_bytes(line.store, KEY) == DATA + b"end"
    assert [ref async for ref in uploads.pending(Key(""))] == []


async def test_a_name_node_that_goes_away_under_gc_fsck_and_migrate_loses_nothing(
    cluster, tmp_path, monkeypatch
):
    outages.impatient(monkeypatch)
    flags = await world.database("sqlite", tmp_path)
    flags |= {"artifacts_destination": f"hdfs://{cluster.address}/maintained"}
    opened = World(flags, {"SHOSO_STATE": str(tmp_path / "state")})

    def up() -> None:
        cluster.start_node(NAMENODE)
        cluster.wait(cluster.ready)

    outage = Outage(opened, tmp_path, cluster.address, lambda: cluster.kill_node(NAMENODE), up)
    await outage.fill()
    await outage.is_interrupted(60)
    await outage.is_not_ended(monkeypatch, ROOT, str(tmp_path / "there"))
    await outage.is_right()
    await opened.close()


async def _printed(script: str, uri: str, **environment: str) -> str:
    """What a program prints until it ends, which it does within a minute."""
    command = (sys.executable, Path(__file__).with_name(script), uri)
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stdout=PIPE)
    try:
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    return said.decode()


def _gave(call: Future, result: object) -> bool:
    return call.done() and call.exception() is None and call.result() is result


def _connections(port: int) -> int:
    """How many this process has with the DataNode; those with NameNodes are the library's to keep."""
    return sum(
        link.status == psutil.CONN_ESTABLISHED and link.raddr.port == port
        for link in psutil.Process().net_connections("tcp")
    )


async def _until(true: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until it's true."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # another process makes it so
            await asyncio.sleep(0.02)
