"""A network that fails before Azurite: what can be had again is, the rest fails clearly, nothing is left."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import asynccontextmanager

import psutil
import pytest
from tests.conformance.sources import Endless
from tests.servers import azurite
from tests.servers.faultproxy import FaultProxy
from tests.servers.listener import Listener
from tests.stores.azure import environment, store_of

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, IfMatch
from shoso.errors import Kind, Retry, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy

MIB = 1024 * 1024
OBJECT = Key("run/model.bin")
DATA = os.urandom(11 * MIB)
POLICY = Policy(RetryPolicy(first=0.01))


@asynccontextmanager
async def _behind(proxy: FaultProxy, container, bare=False, **settings):
    async with store_of(container, environment(proxy.port, **settings)) as store:
        yield store if bare else standard(store, POLICY)


@pytest.fixture
def container():
    """An empty one."""
    return azurite.container()


@pytest.fixture
async def proxy():
    """A way to Azurite that does no harm yet."""
    async with FaultProxy(azurite.port()) as opened:
        yield opened


async def _fails(call, *kinds: Kind) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.kind in kinds, caught.value
    return caught.value


def _nothing_left(container) -> None:
    """No blob; and blocks without one are seen by nobody who doesn't ask for them."""
    assert [blob.name for blob in container.client.list_blobs()] == []


async def test_every_fifth_connection_reset_is_got_over(proxy, container):
    proxy.reset_every = 5
    async with _behind(proxy, container) as store:
        for number in range(4):
            await store.write(Key(f"many/{number}"), BytesSource(b"." * number))
        written = await store.write(OBJECT, BytesSource(DATA))
        assert await read_bytes(store, OBJECT) == DATA
        await store.write(OBJECT, BytesSource(DATA[::-1]), IfMatch(written.etag))
        ref = await store.uploads.begin(Key("parts"))
        parts = [await store.uploads.put(ref, number, BytesSource(DATA[:MIB])) for number in (1, 2, 3)]
        await store.uploads.finish(ref, parts)
        assert len([entry async for entry in store.list(ROOT, deep=True)]) == 6
        proxy.reset_all()
        await store.delete([Key(f"many/{number}") for number in range(4)])
    assert proxy.resets > 0
    assert container.names() == {OBJECT, "parts"}
    assert container.get("parts") == DATA[:MIB] * 3


@pytest.mark.parametrize("after", [100, 200_000, 3 * MIB])
async def test_a_write_that_is_reset_in_its_middle_leaves_nothing(proxy, container, after):
    proxy.reset_up_after = after
    async with _behind(proxy, container) as store:
        error = await _fails(store.write(OBJECT, BytesSource(DATA, digest(DATA))), Kind.UNAVAILABLE)
        assert error.retry is Retry.EXHAUSTED
        _nothing_left(container)
        proxy.reset_up_after = None
        await store.write(OBJECT, BytesSource(DATA, digest(DATA)))
    assert container.get(OBJECT) == DATA
    assert container.names() == {OBJECT}


async def test_a_stream_that_is_reset_leaves_the_old_object(proxy, container):
    container.put(OBJECT, b"old")
    proxy.reset_up_after = MIB
    async with _behind(proxy, container, bare=True) as store:
        await _fails(store.write(OBJECT, Endless(20 * MIB)), Kind.UNAVAILABLE)
    assert container.get(OBJECT) == b"old"


@pytest.mark.parametrize("after", [1000, 300_000, 4 * MIB])
async def test_a_read_that_is_reset_in_its_middle_goes_on(proxy, container, after):
    container.put(OBJECT, DATA)
    proxy.reset_down_after = after
    async with _behind(proxy, container) as store:
        if after < 10_000:  # not even a header of the body's own comes through
            reading = await store.read(OBJECT)
            proxy.reset_down_after = None
            async with reading:
                assert b"".join([bytes(data) async for data in reading.body]) == DATA
        else:
            assert await read_bytes(store, OBJECT) == DATA
    assert proxy.resets > 0


async def test_a_read_that_goes_on_is_of_the_same_version(proxy, container):
    container.put(OBJECT, DATA)
    proxy.reset_down_after = MIB
    async with _behind(proxy, container) as store:
        reading = await store.read(OBJECT)
        async with reading:
            await anext(reading.body)
            container.put(OBJECT, DATA[::-1])
            with pytest.raises(StoreError) as caught:
                async for _ in reading.body:
                    pass
    assert caught.value.kind is Kind.CHANGED


async def test_a_connection_that_falls_silent_is_given_up(proxy, container):
    container.put(OBJECT, DATA)
    settings = {"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "0.5"}
    async with _behind(proxy, container, **settings) as store:
        reading = await store.read(OBJECT)
        await anext(reading.body)
        proxy.blackhole = True
        start = time.monotonic()
        calls = (
            store.stat(OBJECT),
            store.write(Key("new"), BytesSource(DATA)),
            store.delete([OBJECT]),
            anext(store.list(ROOT)),
        )
        await asyncio.gather(*(_fails(call, Kind.TIMEOUT) for call in calls))
        with pytest.raises(StoreError) as caught:
            async for _ in reading.body:
                pass
        await reading.close()
        assert caught.value.kind is Kind.TIMEOUT
        assert time.monotonic() - start < 25
    assert container.names() == {OBJECT}


async def test_a_cancelled_write_ends_at_once_though_nobody_answers(proxy, container):
    proxy.blackhole = True
    async with _behind(proxy, container, bare=True) as store:
        writing = asyncio.ensure_future(store.write(OBJECT, BytesSource(DATA)))
        await asyncio.sleep(0.3)
        writing.cancel()
        start = time.monotonic()
        await asyncio.wait([writing])
        assert writing.cancelled()
        assert time.monotonic() - start < 1
    _nothing_left(container)


async def test_a_write_given_up_keeps_no_connection_to_one_who_never_reads():
    async def deaf(reader, writer):
        await asyncio.Event().wait()

    async with Listener(deaf) as listener:
        port = listener.port
        # So that a block is more than the kernel takes.
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with store_of(azurite.container(), environment(port)) as store:
            writing = asyncio.ensure_future(store.write(OBJECT, Endless(64 * MIB)))
            while not _connections(port):  # noqa: ASYNC110  # the library has no event for it
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            writing.cancel()
            await asyncio.wait([writing])
            await asyncio.sleep(0.1)
            assert _connections(port) == 0


def _connections(port: int) -> int:
    """How many of this process's sockets lead to that port."""
    return len(
        [found for found in psutil.Process().net_connections() if found.raddr and found.raddr.port == port]
    )


@pytest.mark.parametrize("size", [MIB, 11 * MIB], ids=["one request", "blocks"])
async def test_a_byte_corrupted_on_its_way_up_is_refused_by_the_storage(proxy, container, size):
    proxy.corrupt_up_at = 500_000
    async with _behind(proxy, container, bare=True) as store:
        error = await _fails(store.write(OBJECT, BytesSource(DATA[:size])), Kind.CORRUPT)
        assert OBJECT in error.message
        _nothing_left(container)
    assert proxy.corrupted == 1


async def test_a_byte_corrupted_on_its_way_up_is_sent_again(proxy, container):
    proxy.corrupt_up_at = 500_000
    async with _behind(proxy, container) as store:
        await store.write(OBJECT, BytesSource(DATA))
    assert proxy.corrupted == 1
    assert container.get(OBJECT) == DATA


async def test_a_byte_corrupted_on_its_way_down_is_found_before_the_end(proxy, container):
    proxy.corrupt_down_at = 700_000
    async with _behind(proxy, container) as store:
        await store.write(OBJECT, BytesSource(DATA))
        seen: list[int] = []

        async def read() -> None:
            async with await store.read(OBJECT) as reading:
                async for data in reading.body:
                    seen.append(len(data))

        await _fails(read(), Kind.CORRUPT)
    assert sum(seen) < len(DATA)


async def test_uploads_of_one_key_finished_at_once_end_as_one_of_them(proxy, container):
    async with _behind(proxy, container) as store:
        refs = [await store.uploads.begin(OBJECT) for _ in range(3)]
        bodies = [bytes([letter]) * MIB for letter in b"abc"]
        parts = [
            [
                await store.uploads.put(ref, 1, BytesSource(body)),
                await store.uploads.put(ref, 2, BytesSource(body)),
            ]
            for ref, body in zip(refs, bodies, strict=True)
        ]
        await asyncio.gather(*(store.uploads.finish(*named) for named in zip(refs, parts, strict=True)))
        assert [ref async for ref in store.uploads.pending(ROOT)] == []
    assert container.names() == {OBJECT}
    assert container.get(OBJECT) in [body * 2 for body in bodies]


async def test_an_upload_given_up_leaves_nothing(proxy, container):
    async with _behind(proxy, container) as store:
        ref = await store.uploads.begin(OBJECT)
        for number in (1, 2):
            await store.uploads.put(ref, number, BytesSource(DATA))
        await store.uploads.abort(ref)
    assert container.names() == set()


async def test_large_writes_of_one_key_at_once_end_as_one_of_them(proxy, container):
    async with _behind(proxy, container) as store:
        bodies = [bytes([letter]) * (9 * MIB) for letter in b"abcd"]
        await asyncio.gather(
            *(store.write(OBJECT, BytesSource(body)) for body in bodies), return_exceptions=True
        )
        assert container.get(OBJECT) in bodies
        outcomes = await asyncio.gather(
            *(store.write(Key("new"), BytesSource(body), CREATE) for body in bodies), return_exceptions=True
        )
    failed = [outcome.kind for outcome in outcomes if isinstance(outcome, StoreError)]
    assert len(failed) == 3
    assert set(failed) <= {Kind.EXISTS, Kind.UNAVAILABLE}
    assert container.get("new") in bodies


async def test_a_large_write_obeys_its_condition(container, proxy):
    async with _behind(proxy, container) as store:
        first = await store.write(OBJECT, BytesSource(DATA), CREATE)
        await _fails(store.write(OBJECT, BytesSource(DATA[::-1]), CREATE), Kind.EXISTS)
        await store.write(OBJECT, BytesSource(DATA[::-1]), IfMatch(first.etag))
        await _fails(store.write(OBJECT, BytesSource(DATA), IfMatch(first.etag)), Kind.CHANGED)
        await _fails(store.write(Key("missing"), BytesSource(DATA), IfMatch(first.etag)), Kind.CHANGED)
    assert container.get(OBJECT) == DATA[::-1]
    assert [blob.name for blob in container.client.list_blobs()] == [OBJECT]
