"""Large transfers that go around the server: Ceph's gateway behind a proxy that misbehaves to order."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from tests.e2e.servers import Server, eventually, free_port
from tests.server.sockets import ask
from tests.servers import radosgw
from tests.servers.faultproxy import FaultProxy

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import FromTo
from shoso.errors import Kind, StoreError
from shoso.http.options import HttpOptions
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.folder import open_folder
from shoso.stores.remote import hosts, parcel
from shoso.stores.remote.store import RemoteOptions, RemoteStore
from shoso.transfer import Selection, copy

MIB = 1 << 20
PARTS = [os.urandom(9 * MIB), os.urandom(9 * MIB), os.urandom(MIB)]
DATA = b"".join(PARTS)
OPTIONS = HttpOptions(username="me", password="made-up-secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server whose storage its clients reach by a port that is nobody's yet."""
    target = radosgw.fresh()
    server = Server(tmp_path_factory.mktemp("server"), env=dict(target.environment))
    server.public = free_port()
    server.bucket = urlsplit(target.uri).netloc
    public = f"http://127.0.0.1:{server.public}"
    server.flags += ("--artifacts-destination", target.uri)
    server.flags += ("--direct-transfers", "--public-endpoint-url", public)
    yield server.start()
    server.stop()


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Nothing is known of any storage yet."""
    monkeypatch.setattr(hosts, "VERDICTS", {})


@pytest.fixture
async def proxy(server):
    """What stands between the clients and the storage."""
    async with FaultProxy(radosgw.port(), server.public) as proxy:
        yield proxy


@pytest.fixture
def key(request):
    return Key(f"run/{request.node.name}")


@asynccontextmanager
async def opened(server: Server):
    """The server as Shoso's client sees it, with short pauses."""
    bare = RemoteStore(RemoteOptions(server.uri, http=OPTIONS))
    store = standard(bare, Policy(RetryPolicy(attempts=3, first=0.01)))
    yield store
    await store.close()


@pytest.fixture
async def store(server):
    async with opened(server) as store:
        yield store


def moved(server: Server, start: int) -> int:
    """The calls since then that have moved bytes through the server."""
    lines = server.log()[start:].splitlines()
    return sum(" PUT /api/shoso/1/uploads/" in line or " GET /api/shoso/1/objects/" in line for line in lines)


def settled(server: Server) -> int:
    """The length of the log, once what was called before stands in it."""
    before = server.log().count(" GET /version ")
    ask(server, "GET", "/version")
    assert eventually(lambda: server.log().count(" GET /version ") > before)
    return len(server.log())


@pytest.fixture
def passed(server):
    """Whether so many calls have moved bytes through the server since the test began."""
    start = settled(server)

    def look(count: int) -> bool:
        return eventually(lambda: moved(server, start) >= count) and moved(server, start) == count

    return look


async def send(store, key: Key, parts=PARTS) -> str:
    """Upload the parts at once; the digest that the object came back with."""
    ref = await store.uploads.begin(key)
    sent = await asyncio.gather(
        *(store.uploads.put(ref, number, BytesSource(data)) for number, data in enumerate(parts, 1))
    )
    assert await store.uploads.parts(ref) == sent
    return (await store.uploads.finish(ref, sent, digest(b"".join(parts)))).digest


async def test_parts_and_large_reads_go_straight_to_the_storage(store, key, proxy, passed, caplog):
    caplog.set_level(logging.INFO, "shoso.store")
    assert await send(store, key) == digest(DATA)
    assert passed(1)  # the last part, which is small
    assert await read_bytes(store, key, FromTo(MIB, 12 * MIB)) == DATA[MIB : 12 * MIB]
    assert passed(1)
    assert await read_bytes(store, key, FromTo(0, 10)) == DATA[:10]
    assert passed(2)
    assert proxy.connections
    [line] = [record.getMessage() for record in caplog.records]
    assert line == f"Large transfers go straight to http://127.0.0.1:{proxy.port}."


async def test_a_folder_is_copied_there_and_back(store, key, proxy, tmp_path, passed):
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    for name, size in {"large": 70 * MIB, "middle": 12 * MIB, "small": 10}.items():
        (there / name).write_bytes(os.urandom(size))
    for source, target in ((open_folder(there), store), (store, open_folder(back))):
        selection = Selection(to=key) if target is store else Selection(key)
        report = await copy(source, target, selection)
        assert report.copied == 3
    for name in ("large", "middle", "small"):
        assert (back / name).read_bytes() == (there / name).read_bytes()
    assert passed(3)  # up, the 6 MiB behind the parts of 32; down, those again, and what is small


@pytest.mark.parametrize("fault", ["blackhole", "refuse", "absent"])
async def test_a_storage_that_cant_be_reached_costs_a_few_seconds_once(server, key, fault, passed, caplog):
    caplog.set_level(logging.INFO, "shoso.store")
    async with FaultProxy(radosgw.port(), free_port() if fault == "absent" else server.public) as proxy:
        proxy.blackhole, proxy.refuse = fault == "blackhole", fault == "refuse"
        seen = set()
        for _ in range(2):
            async with opened(server) as store:
                began = time.monotonic()
                assert await send(store, key) == digest(DATA)
                assert await read_bytes(store, key, FromTo(0, len(DATA))) == DATA
                assert time.monotonic() - began < hosts.CONNECT + 15
            seen.add(proxy.connections)
        assert len(seen) == 1
        assert any(seen) == (fault != "absent")
    assert passed(8)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"Large transfers go through {server.uri}: ")
    assert "Signature" not in line


async def test_a_read_that_breaks_off_goes_on(store, key, proxy):
    await send(store, key)
    proxy.reset_all()
    proxy.reset_down_after = 5 * MIB
    assert await read_bytes(store, key) == DATA
    assert proxy.resets


async def test_a_storage_that_falls_silent_is_left_for_the_server(store, key, proxy, monkeypatch):
    await send(store, key)
    for module in (hosts, parcel):
        monkeypatch.setattr(module, "SILENCE", 0.5)
    proxy.reset_all()
    async with opened_like(store) as other:
        proxy.rate = 20 * MIB

        async def deafen():
            await asyncio.sleep(0.3)
            proxy.blackhole = True

        task = asyncio.ensure_future(deafen())
        began = time.monotonic()
        assert await read_bytes(other, key) == DATA
        assert await send(other, Key(f"{key}-2")) == digest(DATA)
        assert time.monotonic() - began < 20
        await task
    [verdict] = hosts.VERDICTS.values()
    assert verdict.strikes


@asynccontextmanager
async def opened_like(store):
    bare = RemoteStore(RemoteOptions(store.info.name, http=OPTIONS))
    other = standard(bare, Policy(RetryPolicy(attempts=3, first=0.01)))
    yield other
    await other.close()


async def test_a_byte_that_the_storage_changes_is_an_error(store, key, proxy):
    await send(store, key)
    proxy.reset_all()
    proxy.corrupt_down_at = 4 * MIB
    with pytest.raises(StoreError) as caught:
        await read_bytes(store, key)  # whose size is only learnt from the server
    assert caught.value.kind is Kind.CORRUPT
    assert caught.value.key == key
    assert proxy.corrupted == 1
    assert await read_bytes(store, key) == DATA


async def test_a_part_that_arrives_changed_is_sent_again(store, key, proxy, passed):
    proxy.corrupt_up_at = 4 * MIB
    assert await send(store, key) == digest(DATA)
    assert proxy.corrupted == 1
    assert passed(2)
    assert await read_bytes(store, key) == DATA


async def test_a_request_that_has_expired_is_signed_anew(launch_short, key):
    server = launch_short
    async with FaultProxy(radosgw.port(), server.public) as proxy, opened(server) as store:
        await send(store, key)
        proxy.reset_all()
        proxy.rate, proxy.reset_down_after = 5 * MIB, 8 * MIB
        start = settled(server)
        assert await read_bytes(store, key, FromTo(0, len(DATA))) == DATA
        assert proxy.resets == 2  # each later than the request was good
        settled(server)
    assert server.log()[start:].count(" POST /api/shoso/1/sign ") == 2
    assert moved(server, start) == 1  # the rest, which is small


@pytest.fixture(scope="module")
def launch_short(server, tmp_path_factory):
    """Another server, whose reads are signed for a second."""
    env = {**radosgw.environment(), "MLFLOW_PRESIGNED_DOWNLOAD_URL_TTL_SECONDS": "1"}
    short = Server(tmp_path_factory.mktemp("short"), env=env)
    short.public = free_port()
    short.flags += ("--artifacts-destination", f"s3://{server.bucket}/short", "--direct-transfers")
    short.flags += ("--public-endpoint-url", f"http://127.0.0.1:{short.public}")
    yield short.start()
    short.stop()


async def test_what_expires_before_it_is_sent_goes_through_the_server(launch_short, key, monkeypatch):
    server = launch_short
    async with FaultProxy(radosgw.port(), server.public), opened(server) as store:
        await send(store, key)
        reach = hosts.Hosts.reach

        async def late(self, url):
            await asyncio.sleep(2.1)
            return await reach(self, url)

        monkeypatch.setattr(hosts.Hosts, "reach", late)
        assert await read_bytes(store, key, FromTo(0, 10 * MIB)) == DATA[: 10 * MIB]
        [verdict] = hosts.VERDICTS.values()
        assert (verdict.usable, verdict.strikes) == (True, 1)
        monkeypatch.undo()
        assert await read_bytes(store, key, FromTo(0, 10 * MIB)) == DATA[: 10 * MIB]


async def test_another_version_is_never_mixed_in(store, key, proxy, monkeypatch):
    await send(store, key)
    etag = (await store.stat(key)).etag
    reach, other = hosts.Hosts.reach, os.urandom(len(DATA))

    async def replaced(self, url):
        monkeypatch.undo()
        await store.write(key, BytesSource(other))
        return await reach(self, url)

    monkeypatch.setattr(hosts.Hosts, "reach", replaced)
    with pytest.raises(StoreError) as caught:
        await read_bytes_of(store, key, etag)
    assert caught.value.kind is Kind.CHANGED
    assert await read_bytes(store, key, FromTo(0, len(DATA))) == other


async def read_bytes_of(store, key, etag) -> bytes:
    async with await store.read(key, FromTo(0, len(DATA)), etag) as reading:
        return b"".join([bytes(data) async for data in reading.body])


async def test_a_storage_that_fails_again_and_again_is_left_alone(store, key, proxy, passed, caplog):
    caplog.set_level(logging.INFO, "shoso.store")
    await send(store, key, PARTS[:1])
    proxy.reset_all()
    proxy.reset_up_after = MIB
    for _ in range(hosts.STRIKES):
        await send(store, key, PARTS[:1])
    seen = proxy.connections
    await send(store, key, PARTS)
    assert proxy.connections == seen
    assert passed(hosts.STRIKES + len(PARTS))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "failed 3 times in a row" in said[1]


def test_a_key_that_isnt_there_and_a_part_that_cant_be_are_refused(server):
    for fields, status in (
        ('{"key": "none"}', 404),
        ('{"key": ""}', 400),
        ('{"key": "../x"}', 400),
        ('{"key": "a", "id": "x", "number": 0}', 400),
        ('{"key": "a", "id": "x", "number": 10001}', 400),
        ('{"id": "x"}', 400),
    ):
        answer = ask(server, "POST", "/api/shoso/1/sign", fields.encode(), content_type="application/json")
        assert answer.status == status, (fields, answer)
