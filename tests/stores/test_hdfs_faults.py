"""HDFS over a network that fails: retried within the deadline or failed clearly; never half an object.

The NameNode is reached through one proxy, the DataNode through another on the address that it calls its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
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
from shoso.stores.files import FileStore
from shoso.stores.files.drafts import PATIENCE

KEY = Key("folder/object")
MIB = 1024 * 1024
DATA = os.urandom(6 * MIB)
SILENCE = 1.5


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
        settings = {
            "MLFLOW_PYARROW_EXTRA_CONF": "dfs.client.use.datanode.hostname=true",
            "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(SILENCE),
        }
        bare = open_store(f"hdfs://127.0.0.1:{names.port}{folder}", settings)
        straight = open_store(f"hdfs://{cluster.address}{folder}")
        await straight.write(Key("warm"), BytesSource(b"x"))
        yield Line(standard(bare), bare, straight, names, data)
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
    once = standard(line.bare, Policy(RetryPolicy(attempts=1)))
    for call in (read_bytes(once, KEY), once.write(Key("new"), BytesSource(DATA))):
        start = time.monotonic()
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.kind is Kind.TIMEOUT
        assert time.monotonic() - start < SILENCE + PATIENCE + 2
    proxy.deafen()
    proxy.blackhole = False
    assert await read_bytes(line.store, KEY) == DATA
    await line.store.write(Key("new"), BytesSource(DATA))
    assert await read_bytes(line.straight, Key("new")) == DATA


async def test_an_abandoned_write_leaves_no_draft_and_no_connection(line, cluster):
    process = psutil.Process()

    async def endless():
        while True:
            yield b"x" * MIB
            await asyncio.sleep(0.001)

    before = _connections(process, cluster.datanode_port)
    for _ in range(5):
        writing = asyncio.create_task(line.straight.write(KEY, StreamSource(endless())))
        await asyncio.sleep(0.1)
        writing.cancel()
        await asyncio.wait([writing])
    assert await line.drafts() == 0
    deadline = time.monotonic() + 40  # the DataNode hears with a heartbeat that the block is no more
    while _connections(process, cluster.datanode_port) > before and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert _connections(process, cluster.datanode_port) <= before


async def test_a_rename_whose_reply_was_lost_is_not_a_failure(line):
    """The library sends it again over a new connection, and HDFS finds no source any more."""
    system = line.straight.system
    draft = await system.create(".shoso/drafts/one")
    await draft.append([b"content"])
    await draft.seal("ab" * 32)
    target = system.absolute("one")
    await system.call(".shoso/drafts/one", lambda api, place: api.rename(place, target))
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


def _connections(process: psutil.Process, port: int) -> int:
    """How many it has with DataNodes; those with NameNodes are the library's to keep."""
    return sum(
        link.status == psutil.CONN_ESTABLISHED and link.raddr.port == port
        for link in process.net_connections("tcp")
    )
