"""A network that fails: retried to the end, or a clear error; never half an object, never a hang."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.conformance.sources import stream
from tests.servers import gcs
from tests.servers.faultproxy import FaultProxy

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, exists, read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores import open_store

KEY = Key("run/weights.bin")
MIB = 1024 * 1024
SMALL = bytes(range(256)) * 4 * 1024
LARGE = bytes(range(256)) * (10 * 4 * 1024)
QUICK = Policy(RetryPolicy(attempts=12, first=0.01, longest=0.05))


@asynccontextmanager
async def behind_a_proxy(silence="10", layered=True, policy=QUICK):
    """A store behind a proxy, under the standard layers; and the proxy."""
    bucket = gcs.bucket()
    async with FaultProxy(gcs.port()) as proxy:
        target = gcs.target(bucket, "folder", proxy.port)
        environment = {**target.environment, "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": silence}
        store = open_store(target.uri, environment)
        proxy.bucket = bucket
        try:
            yield (standard(store, policy) if layered else store), proxy
        finally:
            await store.close()


def _names(proxy) -> list[str]:
    return sorted(blob.name for blob in proxy.bucket.list_blobs())


@pytest.mark.parametrize("every", [2, 3])
async def test_connections_that_are_reset_cost_nothing_but_time(every):
    async with behind_a_proxy() as (store, proxy):
        proxy.reset_every = every
        await asyncio.gather(*(store.write(Key(f"k/{n}"), BytesSource(b"%d" % n)) for n in range(20)))
        found = await asyncio.gather(*(read_bytes(store, Key(f"k/{n}")) for n in range(20)))
        assert found == [b"%d" % n for n in range(20)]
        ref = await store.uploads.begin(KEY)
        parts = [await store.uploads.put(ref, n, BytesSource(SMALL)) for n in (1, 2, 3)]
        await store.uploads.finish(ref, parts)
        assert await read_bytes(store, KEY) == SMALL * 3
        await delete_tree(store, Key("k"))
        assert [entry.key async for entry in store.list(ROOT, deep=True)] == [KEY]
        assert proxy.resets > 0
        assert _names(proxy) == ["folder/run/weights.bin"]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_an_upload_reset_in_its_middle_is_sent_again(data):
    async with behind_a_proxy() as (store, proxy):
        proxy.reset_up_after = len(data) // 2
        with pytest.raises(StoreError) as caught:
            await store.write(KEY, BytesSource(data))
        assert caught.value.kind is Kind.UNAVAILABLE
        assert not await exists(store, KEY)
        proxy.reset_up_after = None
        await store.write(KEY, BytesSource(data))
        assert await read_bytes(store, KEY) == data


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_stream_reset_in_its_middle_fails_and_leaves_nothing(data):
    async with behind_a_proxy() as (store, proxy):
        proxy.reset_up_after = len(data) // 2
        with pytest.raises(StoreError) as caught:
            await store.write(KEY, stream([data[:1000], data[1000:]]))
        assert caught.value.kind is Kind.UNAVAILABLE
        proxy.reset_up_after = None
        assert _names(proxy) == []


async def test_a_download_reset_in_its_middle_goes_on_where_it_stopped():
    async with behind_a_proxy() as (store, proxy):
        await store.write(KEY, BytesSource(LARGE))
        proxy.reset_down_after = 3 * MIB
        assert await read_bytes(store, KEY) == LARGE
        assert proxy.resets >= 3


async def test_a_silent_server_is_given_up():
    twice = Policy(RetryPolicy(attempts=2, first=0.01))
    async with behind_a_proxy(silence="0.3", policy=twice) as (store, proxy):
        await store.write(KEY, BytesSource(SMALL))
        reading = await store.read(KEY)
        await anext(reading.body)
        proxy.blackhole = True
        async with asyncio.timeout(30):
            for call in (store.stat(KEY), store.write(KEY, BytesSource(LARGE)), store.delete([KEY])):
                with pytest.raises(StoreError) as caught:
                    await call
                assert caught.value.kind is Kind.TIMEOUT
            await reading.close()
        proxy.blackhole = False
        proxy.reset_all()
        assert await read_bytes(store, KEY) == SMALL


async def test_a_server_that_refuses_connections_is_unavailable():
    async with behind_a_proxy() as (store, proxy):
        proxy.refuse = True
        with pytest.raises(StoreError) as caught:
            await store.write(KEY, BytesSource(SMALL))
        assert caught.value.kind is Kind.UNAVAILABLE


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
async def test_a_byte_flipped_on_the_way_up_is_found_and_sent_again(data):
    async with behind_a_proxy(layered=False) as (store, proxy):
        proxy.corrupt_up_at = len(data) // 2
        with pytest.raises(StoreError) as caught:
            await store.write(KEY, BytesSource(data))
        assert (caught.value.kind, proxy.corrupted) == (Kind.CORRUPT, 1)
        assert _names(proxy) == []
        proxy.corrupted = 0
        assert (await standard(store, QUICK).write(KEY, BytesSource(data))).digest == digest(data)
        assert await read_bytes(store, KEY) == data


async def test_a_byte_flipped_in_a_part_is_found():
    async with behind_a_proxy() as (store, proxy):
        ref = await store.uploads.begin(KEY)
        proxy.corrupt_up_at = len(SMALL) // 2
        with pytest.raises(StoreError) as caught:
            await store.uploads.put(ref, 1, stream([SMALL]))
        assert caught.value.kind is Kind.CORRUPT
        assert await store.uploads.parts(ref) == []


@pytest.mark.parametrize("composed", [False, True], ids=["by its digest", "by its CRC32C"])
async def test_a_byte_flipped_on_the_way_down_is_found(composed):
    async with behind_a_proxy() as (store, proxy):
        if composed:
            ref = await store.uploads.begin(KEY)
            await store.uploads.finish(ref, [await store.uploads.put(ref, 1, BytesSource(SMALL))])
        else:
            await store.write(KEY, BytesSource(SMALL))
        proxy.corrupt_down_at = len(SMALL) // 2
        proxy.reset_all()
        with pytest.raises(StoreError) as caught:
            await read_bytes(store, KEY)
        assert (caught.value.kind, proxy.corrupted) == (Kind.CORRUPT, 1)
        assert await read_bytes(store, KEY) == SMALL


async def test_latency_is_no_fault():
    async with behind_a_proxy(silence="5") as (store, proxy):
        proxy.latency = 0.05
        await store.write(KEY, BytesSource(SMALL))
        assert await read_bytes(store, KEY) == SMALL


async def test_a_slow_link_is_no_silence():
    async with behind_a_proxy(silence="2") as (store, proxy):
        proxy.rate = 8 * MIB
        await store.write(KEY, BytesSource(LARGE + LARGE))  # 2.5 s each way; half of it waits in the kernel
        assert await read_bytes(store, KEY) == LARGE + LARGE
