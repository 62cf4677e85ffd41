"""A network that fails before radosgw: what can be had again is, the rest fails clearly, nothing is left."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.conformance.sources import Endless
from tests.servers import radosgw
from tests.servers.faultproxy import FaultProxy
from tests.servers.processes import Launcher
from tests.stores.s3 import Bucket, store_of

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import IfMatch
from shoso.errors import Kind, Retry, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.s3 import leftovers

MIB = 1024 * 1024
OBJECT = Key("run/model.bin")
DATA = os.urandom(11 * MIB)
POLICY = Policy(RetryPolicy(first=0.01))


@asynccontextmanager
async def _behind(proxy, bucket, bare=False, **settings):
    environment = {**radosgw.environment(proxy.port), **settings}
    async with store_of(bucket.uri, environment) as store:
        yield store if bare else standard(store, POLICY)


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


@pytest.fixture
async def proxy():
    """A way to the gateway that does no harm yet."""
    async with FaultProxy(radosgw.port()) as opened:
        yield opened


async def _fails(call, *kinds: Kind) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.kind in kinds, caught.value
    return caught.value


async def _nothing_left(bucket, seconds: float = 20) -> None:
    """No object, and soon no upload."""
    assert bucket.names() == set()
    deadline = time.monotonic() + seconds
    while bucket.pending():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


async def test_a_slow_network_is_no_fault(proxy, bucket):
    proxy.latency = 0.02
    async with _behind(proxy, bucket) as store:
        await store.write(OBJECT, BytesSource(DATA))
        assert await read_bytes(store, OBJECT) == DATA
    assert bucket.get(OBJECT) == DATA


async def test_every_fifth_connection_reset_is_got_over(proxy, bucket):
    proxy.reset_every = 5
    async with _behind(proxy, bucket) as store:
        for number in range(8):
            proxy.reset_all()
            await store.write(Key(f"many/{number}"), BytesSource(b"." * number))
        proxy.reset_every = 7
        written = await store.write(OBJECT, BytesSource(DATA[: 6 * MIB]))
        assert await read_bytes(store, OBJECT) == DATA[: 6 * MIB]
        await store.write(OBJECT, BytesSource(DATA[: 7 * MIB]), IfMatch(written.etag))
        assert len([entry async for entry in store.list(ROOT, deep=True)]) == 9
        proxy.reset_all()
        await store.delete([Key(f"many/{number}") for number in range(8)])
    assert proxy.resets > 0
    assert bucket.names() == {OBJECT}
    assert bucket.get(OBJECT) == DATA[: 7 * MIB]


@pytest.mark.parametrize("after", [1000, 200_000, 3 * MIB])
async def test_a_write_that_is_reset_in_its_middle_leaves_nothing(proxy, bucket, after):
    proxy.reset_up_after = after
    async with _behind(proxy, bucket) as store:
        error = await _fails(store.write(OBJECT, BytesSource(DATA, digest(DATA))), Kind.UNAVAILABLE)
        assert error.retry is Retry.EXHAUSTED
        proxy.reset_up_after = None
        await _nothing_left(bucket)
        await store.write(OBJECT, BytesSource(DATA, digest(DATA)))
    assert bucket.get(OBJECT) == DATA
    assert bucket.pending() == []


async def test_an_upload_whose_beginning_had_no_answer_is_not_left_pending(bucket):
    async with (
        _in_front(lose="uploads") as (port, _),
        store_of(bucket.uri, radosgw.environment(port)) as store,
    ):
        other = await store.uploads.begin(OBJECT)
        await asyncio.sleep(2)
        await _fails(store.write(OBJECT, BytesSource(DATA)), Kind.UNAVAILABLE)
        assert len(bucket.pending()) == 2
        deadline = time.monotonic() + 20
        while bucket.pending() != [other.id]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def test_an_upload_that_another_process_began_later_is_not_dropped(proxy, bucket, monkeypatch):
    monkeypatch.setattr(leftovers, "PAUSES", (0.3,) * 30)
    monkeypatch.setattr(leftovers, "SECONDS", 1)
    async with _behind(proxy, bucket, bare=True) as store:
        proxy.blackhole = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await store.uploads.begin(OBJECT)
        await asyncio.sleep(2.5)
        where = {"Bucket": bucket.name, "Key": f"team/mlflow/{OBJECT}"}
        begun = bucket.client.create_multipart_upload(**where)["UploadId"]
        proxy.blackhole = False
        await asyncio.sleep(4)
        assert bucket.pending() == [begun]


async def test_a_stream_that_is_reset_leaves_the_old_object(proxy, bucket):
    bucket.put(OBJECT, b"old")
    proxy.reset_up_after = MIB
    async with _behind(proxy, bucket, bare=True) as store:
        await _fails(store.write(OBJECT, Endless(20 * MIB, announced=False)), Kind.UNAVAILABLE)
        proxy.reset_up_after = None
        assert bucket.get(OBJECT) == b"old"
        bucket.client.delete_object(Bucket=bucket.name, Key=f"team/mlflow/{OBJECT}")
        await _nothing_left(bucket)


@pytest.mark.parametrize("after", [300_000, 4 * MIB])
async def test_a_read_that_is_reset_in_its_middle_goes_on(proxy, bucket, after):
    bucket.put(OBJECT, DATA)
    proxy.reset_down_after = after
    async with _behind(proxy, bucket) as store:
        assert await read_bytes(store, OBJECT) == DATA
    assert proxy.resets > 0


async def test_a_read_that_goes_on_is_of_the_same_version(proxy, bucket):
    bucket.put(OBJECT, DATA)
    proxy.reset_down_after = 2 * MIB
    proxy.rate = 20 * MIB
    async with _behind(proxy, bucket) as store, await store.read(OBJECT) as reading:
        await anext(reading.body)
        bucket.put(OBJECT, DATA[::-1])
        with pytest.raises(StoreError) as caught:
            async for _ in reading.body:
                pass
    assert caught.value.kind is Kind.CHANGED


async def test_a_connection_that_falls_silent_is_given_up(proxy, bucket):
    bucket.put(OBJECT, DATA)
    settings = {"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "0.4"}
    async with _behind(proxy, bucket, **settings) as store:
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
    assert bucket.names() == {OBJECT}


async def test_a_finish_that_nobody_answers_is_given_up(proxy, bucket):
    async with _behind(proxy, bucket, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="0.4") as store:
        ref = await store.uploads.begin(OBJECT)
        part = await store.uploads.put(ref, 1, BytesSource(DATA))
        proxy.blackhole = True
        async with asyncio.timeout(20):
            await _fails(store.uploads.finish(ref, [part]), Kind.TIMEOUT)


async def test_a_cancelled_write_ends_soon_though_nobody_answers(proxy, bucket):
    async with _behind(proxy, bucket, bare=True) as store:
        for data in (DATA[:MIB], DATA):
            proxy.blackhole = True
            writing = asyncio.ensure_future(store.write(OBJECT, BytesSource(data)))
            await asyncio.sleep(0.3)
            writing.cancel()
            start = time.monotonic()
            await asyncio.wait([writing])
            assert writing.cancelled()
            assert time.monotonic() - start < 7
            proxy.blackhole = False
        proxy.reset_all()
        await _nothing_left(bucket)


@pytest.mark.parametrize("size", [MIB, 11 * MIB], ids=["one request", "parts"])
async def test_a_byte_corrupted_on_its_way_up_is_refused_by_the_storage(proxy, bucket, size):
    proxy.corrupt_up_at = 500_000
    async with _behind(proxy, bucket, bare=True) as store:
        error = await _fails(store.write(OBJECT, BytesSource(DATA[:size])), Kind.CORRUPT)
        assert OBJECT in error.message
        await _nothing_left(bucket)
    assert proxy.corrupted == 1


async def test_a_byte_corrupted_on_its_way_up_is_sent_again(proxy, bucket):
    proxy.corrupt_up_at = 500_000
    async with _behind(proxy, bucket) as store:
        await store.write(OBJECT, BytesSource(DATA))
    assert proxy.corrupted == 1
    assert bucket.get(OBJECT) == DATA
    assert bucket.pending() == []


async def test_a_byte_of_a_large_part_corrupted_on_its_way_up_is_refused(proxy, bucket):
    async with _behind(proxy, bucket, bare=True) as store:
        ref = await store.uploads.begin(OBJECT)
        proxy.corrupt_up_at = 5 * MIB
        await _fails(store.uploads.put(ref, 1, BytesSource(DATA)), Kind.CORRUPT)
        assert await store.uploads.parts(ref) == []
        part = await store.uploads.put(ref, 1, BytesSource(DATA))
        await store.uploads.finish(ref, [part])
    assert proxy.corrupted == 1
    assert bucket.get(OBJECT) == DATA


@pytest.mark.parametrize("size", [MIB, 11 * MIB], ids=["one request", "parts"])
async def test_a_byte_corrupted_on_its_way_down_is_found_before_the_end(proxy, bucket, size):
    async with _behind(proxy, bucket) as store:
        await store.write(OBJECT, BytesSource(DATA[:size]))
        proxy.corrupt_down_at = 700_000
        seen: list[int] = []

        async def read() -> None:
            async with await store.read(OBJECT) as reading:
                async for data in reading.body:
                    seen.append(len(data))

        await _fails(read(), Kind.CORRUPT)
    assert sum(seen) < size


async def test_a_gateway_killed_in_the_middle_of_an_upload_is_waited_for():
    folder = tempfile.TemporaryDirectory(prefix="radosgw-")
    launcher = Launcher("radosgw", Path(folder.name))
    try:
        await _killed(radosgw.started(launcher))
    finally:
        launcher.stop()
        folder.cleanup()


async def _killed(gateway) -> None:
    client = radosgw.client(gateway.port)
    client.create_bucket(Bucket="killed")
    policy = Policy(RetryPolicy(attempts=12, first=0.5))
    async with store_of("s3://killed", radosgw.environment(gateway.port)) as bare:
        store = standard(bare, policy)
        ref = await store.uploads.begin(Key("parts"))
        parts = [await store.uploads.put(ref, 1, BytesSource(DATA[: 5 * MIB]))]
        gateway.kill_gateway()
        writing = asyncio.ensure_future(store.write(OBJECT, Endless(40 * MIB)))
        putting = asyncio.ensure_future(store.uploads.put(ref, 2, BytesSource(DATA)))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(gateway.start_gateway)
        parts.append(await putting)
        await store.uploads.finish(ref, parts)
        assert (await writing).size == 40 * MIB
        assert await read_bytes(store, Key("parts")) == DATA[: 5 * MIB] + DATA
        assert client.list_multipart_uploads(Bucket="killed").get("Uploads", []) == []
    client.close()


@asynccontextmanager
async def _in_front(times: int = 0, status: int = 503, lose: str = "", **headers: str):
    """A gateway that says no so many times, then asks radosgw; it loses the second answer to `lose`."""
    said: list[str] = []
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        if len(said) < times:
            said.append(request.method)
            error = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
            return web.Response(status=status, text=error, headers=headers)
        url = f"http://127.0.0.1:{radosgw.port()}{request.raw_path}"
        sent = {name: value for name, value in request.headers.items() if name.lower() != "transfer-encoding"}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(request.method, url, data=body or None, headers=sent) as reply,
        ):
            asked.append(request.query_string.partition("=")[0])
            if asked[-1] == lose and asked.count(lose) == 2 and request.transport is not None:
                request.transport.abort()
            kept = {name: value for name, value in reply.headers.items() if name in {"Etag", "ETag", "Date"}}
            return web.Response(status=reply.status, body=await reply.read(), headers=kept)

    app = web.Application(client_max_size=64 * MIB)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], said
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [503, 429])
async def test_a_storage_that_throttles_is_given_the_time_it_asks_for(bucket, status):
    async with _in_front(2, status, **{"Retry-After": "1"}) as (port, said):
        settings = {**radosgw.environment(port)}
        async with store_of(bucket.uri, settings) as bare:
            start = time.monotonic()
            await standard(bare, POLICY).write(OBJECT, BytesSource(b"."))
            assert 2 <= time.monotonic() - start < 20
            assert said == ["PUT", "PUT"]
    assert bucket.get(OBJECT) == b"."


async def test_throttling_says_when_to_come_again(bucket):
    async with (
        _in_front(9, 503, **{"Retry-After": "7"}) as (port, _),
        store_of(bucket.uri, radosgw.environment(port)) as store,
    ):
        error = await _fails(store.write(OBJECT, BytesSource(b".")), Kind.THROTTLED)
        assert (error.retry, error.retry_after) == (Retry.AFTER, 7.0)
