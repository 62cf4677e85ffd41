"""SFTP over a bad line, and with a server that dies: retried or failed clearly, never half an object."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.conformance.sources import Endless, Paused
from tests.servers import sshd
from tests.servers.faultproxy import FaultProxy
from tests.servers.processes import Launcher

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, StoreError
from shoso.layers import standard
from shoso.stores import open_store

KEY = Key("run/model/weights.bin")
OTHER = Key("run/other")
MIB = 1024 * 1024
LARGE = os.urandom(MIB) * 8


@asynccontextmanager
async def _proxied(silence: float = 20, port: int | None = None):
    """A store behind a proxy, the proxy, and the folder on the server."""
    facts, target = sshd.server(), sshd.fresh()
    path = Path(target.uri.split("/", 3)[3])
    async with FaultProxy(port or facts["port"]) as proxy:
        uri = f"sftp://127.0.0.1:{proxy.port}/{path}"
        settings = {**target.environment, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": str(silence)}
        bare = open_store(uri, settings)
        yield standard(bare), proxy, Path("/") / path
        await bare.close()


def _drafts(root: Path) -> list[str]:
    return [path.name for path in (root / ".shoso/drafts").iterdir()]


async def _settled(root: Path) -> None:
    """Nothing is left behind, at the latest soon."""
    await _until(lambda: not _drafts(root))


async def _until(true) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to be")


async def test_latency_costs_time_and_nothing_else():
    async with _proxied() as (store, proxy, root):
        await store.write(KEY, BytesSource(b"."))
        proxy.latency = 0.01
        await store.write(KEY, BytesSource(LARGE))
        assert await read_bytes(store, KEY) == LARGE
        await _settled(root)


async def test_every_other_connection_reset_is_made_again():
    async with _proxied() as (store, proxy, root):
        proxy.reset_every = 2
        for number in range(6):
            await store.write(KEY, BytesSource(b"%d" % number))
            proxy.reset_all()
            assert await read_bytes(store, KEY) == b"%d" % number
        assert proxy.resets >= 2
        await _settled(root)


async def test_a_reset_in_the_middle_of_an_upload_is_tried_again():
    async with _proxied() as (store, proxy, root):
        await store.write(KEY, BytesSource(b"old"))
        proxy.reset_all()
        proxy.reset_up_after = 3 * MIB
        writing = asyncio.ensure_future(store.write(KEY, BytesSource(LARGE)))
        await _until(lambda: proxy.resets)
        proxy.reset_up_after = None
        await writing
        assert (root / KEY).read_bytes() == LARGE
        await _settled(root)


async def test_an_upload_that_can_not_be_tried_again_fails_and_leaves_the_old():
    async with _proxied() as (store, proxy, root):
        await store.write(KEY, BytesSource(b"old"))
        source = Paused(LARGE, pause=3 * MIB)
        writing = asyncio.ensure_future(store.write(KEY, source))
        await source.waiting.wait()
        proxy.reset_all()
        source.go.set()
        with expect.failure(Kind.UNAVAILABLE):
            await writing
        assert await read_bytes(store, KEY) == b"old"
        await _settled(root)


async def test_a_reset_in_the_middle_of_a_download_goes_on_where_it_stopped():
    async with _proxied() as (store, proxy, _):
        await store.write(KEY, BytesSource(LARGE))
        proxy.reset_all()
        proxy.reset_down_after = 3 * MIB
        assert await read_bytes(store, KEY) == LARGE
        assert proxy.resets >= 2


async def test_a_download_that_breaks_off_never_goes_on_with_another_version():
    async with _proxied() as (store, proxy, _):
        await store.write(KEY, Endless(32 * MIB))
        async with await store.read(KEY) as reading:
            await anext(reading.body)
            proxy.reset_all()
            await store.write(KEY, BytesSource(b"x" * (32 * MIB)))
            with expect.failure(Kind.CHANGED):
                async for _ in reading.body:
                    pass


async def test_a_black_hole_is_given_up_in_time_and_forgotten_when_it_is_gone():
    async with _proxied(silence=1) as (store, proxy, root):
        await store.write(KEY, BytesSource(b"old"))
        proxy.blackhole = True
        started = time.monotonic()
        calls = (store.stat(KEY), store.write(KEY, BytesSource(b"new")), read_bytes(store, KEY))
        for error in await asyncio.gather(*calls, return_exceptions=True):
            with expect.failure(Kind.TIMEOUT, Kind.UNAVAILABLE):
                raise error
        assert time.monotonic() - started < 60
        proxy.blackhole = False
        proxy.reset_all()
        await store.write(KEY, BytesSource(b"new"))
        assert await read_bytes(store, KEY) == b"new"
        await _settled(root)


async def test_a_black_hole_in_the_middle_of_an_upload_leaves_the_old():
    async with _proxied(silence=1) as (store, proxy, root):
        await store.write(KEY, BytesSource(b"old"))
        source = Paused(LARGE, pause=3 * MIB)
        writing = asyncio.ensure_future(store.write(KEY, source))
        await source.waiting.wait()
        proxy.blackhole = True
        source.go.set()
        with expect.failure(Kind.TIMEOUT, Kind.UNAVAILABLE):
            async with asyncio.timeout(30):
                await writing
        proxy.blackhole = False
        proxy.reset_all()
        assert await read_bytes(store, KEY) == b"old"
        await store.write(OTHER, BytesSource(b"."))
        await _settled(root)


@pytest.mark.parametrize("way", ["up", "down"])
async def test_a_byte_that_was_changed_on_the_way_is_noticed(way):
    async with _proxied() as (store, proxy, root):
        await store.write(KEY, BytesSource(LARGE))
        proxy.reset_all()
        setattr(proxy, f"corrupt_{way}_at", 3 * MIB)
        if way == "up":
            await store.write(KEY, Endless(8 * MIB))
            expected = b"".join([bytes(data) async for data in Endless(8 * MIB).open()])
        else:
            expected = LARGE
        assert await read_bytes(store, KEY) == expected
        assert (root / KEY).read_bytes() == expected
        assert proxy.corrupted == 1
        await _settled(root)


async def test_a_write_cancelled_at_any_moment_leaves_no_draft():
    async with _proxied() as (store, proxy, root):
        await store.write(KEY, BytesSource(b"old"))
        proxy.latency = 0.02
        for step in range(12):
            writing = asyncio.ensure_future(store.write(KEY, BytesSource(b"new" * 1000)))
            await asyncio.wait({writing}, timeout=step * 0.03)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            assert (root / KEY).read_bytes() in {b"old", b"new" * 1000}
        proxy.latency = 0
        await asyncio.sleep(0.5)  # what was under way comes through
        await _settled(root)


async def test_calls_cancelled_while_their_session_begins_use_up_none():
    """OpenSSH allows ten on a connection."""
    async with _proxied() as (store, proxy, _):
        await store.write(KEY, BytesSource(b"."))
        proxy.latency = 0.03
        connections = proxy.connections
        for turn in range(40):
            call = asyncio.ensure_future(store.stat(KEY))
            await asyncio.sleep(0.02 + turn % 8 * 0.03)  # in each of its steps
            call.cancel()
            await asyncio.wait([call])
        assert (await store.stat(KEY)).size == 1
        assert proxy.connections == connections


async def test_refused_connections_fail_clearly():
    async with _proxied() as (store, proxy, _):
        proxy.refuse = True
        with pytest.raises(ConnectionError) as caught:
            await store.stat(KEY)
        assert isinstance(caught.value, StoreError)
        assert caught.value.kind is Kind.UNAVAILABLE


async def test_a_server_restarted_in_the_middle_of_an_upload_in_parts_costs_one_part(tmp_path):
    launcher = Launcher("sshd", tmp_path)
    facts = sshd.start(launcher)
    bare = open_store(
        f"sftp://127.0.0.1:{facts['port']}{facts['data']}/root", {"SHOSO_SFTP_CONFIG": facts["config"]}
    )
    store = standard(bare)
    pieces = [bytes([number]) * MIB for number in range(4)]
    ref = await store.uploads.begin(KEY)
    parts = [await store.uploads.put(ref, 1, BytesSource(pieces[0]))]
    source = Paused(pieces[1], pause=MIB // 2)
    putting = asyncio.ensure_future(store.uploads.put(ref, 2, source))
    await source.waiting.wait()
    sshd.kill(launcher)
    source.go.set()
    with expect.failure(Kind.UNAVAILABLE, Kind.TIMEOUT):
        await putting
    sshd.start(launcher, port=facts["port"])
    assert await store.uploads.parts(ref) == parts
    for number in (2, 3, 4):
        parts.append(await store.uploads.put(ref, number, BytesSource(pieces[number - 1])))
    await store.uploads.finish(ref, parts)
    assert digest(await read_bytes(store, KEY)) == digest(b"".join(pieces))
    await _settled(Path(facts["data"]) / "root")
    await bare.close()
    sshd.kill(launcher)


async def test_a_server_killed_while_it_reads_and_writes_loses_nothing_acknowledged(tmp_path):
    launcher = Launcher("sshd", tmp_path)
    facts = sshd.start(launcher)
    bare = open_store(
        f"sftp://127.0.0.1:{facts['port']}{facts['data']}/root", {"SHOSO_SFTP_CONFIG": facts["config"]}
    )
    store = standard(bare)
    await store.write(KEY, BytesSource(LARGE))
    sshd.kill(launcher)
    with expect.failure(Kind.UNAVAILABLE):
        await store.write(OTHER, BytesSource(b"."))
    sshd.start(launcher, port=facts["port"])
    await store.write(OTHER, BytesSource(b"."))
    assert await read_bytes(store, KEY) == LARGE
    await bare.close()
    sshd.kill(launcher)
