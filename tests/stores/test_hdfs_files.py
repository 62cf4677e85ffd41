"""What HDFS does with our files: blocks, syncs, round trips, versions."""

from __future__ import annotations

import asyncio
import itertools
import os
import random

import pytest
from tests.servers import hdfs
from tests.servers.hdfs import WebHdfs

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource, StreamSource
from shoso.core.types import FromTo
from shoso.layers import standard
from shoso.stores import open_store
from shoso.stores.hdfs import drafts, system

KEY = Key("folder/object")
BLOCK = 1024 * 1024


@pytest.fixture
def place():
    """An empty folder on the cluster that only this file uses, and WebHDFS there."""
    facts = hdfs.counted()
    target = hdfs.folder(facts)
    return target.uri, WebHdfs(facts["web"], target.uri.partition(facts["address"])[2])


@pytest.fixture
async def store(place):
    """The store there."""
    store = open_store(place[0])
    yield store
    await store.close()


async def test_an_object_of_many_blocks_is_read_by_ranges(place, store):
    data = os.urandom(5 * BLOCK + 12345)
    place[1].put(KEY, data, blocksize=str(BLOCK))
    assert await read_bytes(store, KEY) == data
    for _ in range(20):
        start, stop = sorted(random.sample(range(len(data)), 2))
        assert await read_bytes(store, KEY, FromTo(start, stop)) == data[start:stop]


async def test_every_block_is_synced_before_a_write_returns(store, monkeypatch):
    monkeypatch.setattr(system, "WriteOptions", _of_small_blocks(system.WriteOptions))
    before = await counted(hdfs.syncs)
    await store.write(KEY, StreamSource(_slowly(os.urandom(3 * BLOCK + 1))))
    assert await counted(hdfs.syncs, before + 4) >= before + 4


async def test_a_draft_that_is_written_for_long_is_not_taken_for_left_behind(store, monkeypatch):
    """HDFS gives an open file no later time than that of its making."""
    await store.system.mkdir("")
    draft = await store.system.create("draft")
    times = []
    for seconds in (3600, 0):
        monkeypatch.setattr(drafts, "TOUCH_AFTER", seconds)
        await asyncio.sleep(0.01)
        await draft.append([b"x" * BLOCK])
        times.append((await store.system.status("draft")).modified)
    assert times[0] < times[1]
    await draft.seal("ab" * 32)
    assert (await store.stat(Key("draft"))).size == 2 * BLOCK


async def test_the_round_trips_of_small_objects(store):
    """Each step of a write waits for the one before it; each is a call of the NameNode's."""
    await store.write(KEY, BytesSource(b"warm"))
    steps = await counted(_steps)
    await store.write(KEY, BytesSource(b"x" * 4096))
    assert await counted(_steps, steps + 4) == steps + 4  # create, addBlock, setTimes, rename2
    counts = [hdfs.calls()]
    assert await read_bytes(store, KEY) == b"x" * 4096
    counts.append(await counted(hdfs.calls, counts[-1] + 3))
    await store.delete([KEY])
    counts.append(await counted(hdfs.calls, counts[-1] + 3))
    read, delete = (after - before for before, after in itertools.pairwise(counts))
    assert read == 3
    assert delete == 3  # the object; its folder, looked at and removed


async def test_files_closed_in_the_same_moment_have_different_etags(place, store):
    """Their size and time may be the same; the mark is of their bytes."""
    one = await store.write(KEY, BytesSource(b"one"))
    around = place[1]
    around.call("PUT", KEY, "SETTIMES", modificationtime="1700000000000", accesstime="-1")
    first = (await store.stat(KEY)).etag
    two = await store.write(KEY, BytesSource(b"two"))
    around.call("PUT", KEY, "SETTIMES", modificationtime="1700000000000", accesstime="-1")
    second = (await store.stat(KEY)).etag
    assert len({one.etag, first, two.etag, second}) == 4


async def test_what_others_wrote_has_an_etag_that_reading_leaves_alone(place, store):
    place[1].put(KEY, b"theirs")
    etag = (await store.stat(KEY)).etag
    place[1].call("PUT", KEY, "SETTIMES", modificationtime="-1", accesstime="1700000000000")
    assert await read_bytes(store, KEY) == b"theirs"
    assert (await store.stat(KEY)).etag == etag


async def test_many_objects_are_deleted_side_by_side(place):
    store = standard(open_store(place[0]))
    keys = [Key(f"many/{number % 7}/{number}") for number in range(300)]
    await asyncio.gather(*(store.write(key, BytesSource(b"")) for key in keys))
    await store.delete(keys)
    assert [entry async for entry in store.list(ROOT, deep=True)] == []
    assert [entry async for entry in store.list(ROOT)] == []


@pytest.mark.parametrize("name", ["{a,b}", "[a-c]", "*", "?", "x\\", "a\\*b", "}{", "[", "{}"])
async def test_a_folder_with_the_name_of_a_pattern_shows_only_its_own(store, name):
    for folder in (name, "a", "b", "other"):
        await store.write(Key(f"{folder}/of {folder}"), BytesSource(b"x"))
    assert [entry.key async for entry in store.list(Key(name))] == [f"{name}/of {name}"]


def _steps() -> int:
    """Calls but for those that are made as often as the cluster is slow to complete a file."""
    return hdfs.calls("Complete", "GetFileInfo", "RecoverLease")


async def counted(count, least: int = 0) -> int:
    """A counter of a node's, when it has taken in what was done: that takes a second, or more under load."""
    for _ in range(30):
        await asyncio.sleep(2.2)
        if (found := count()) >= least:
            break
    return found


async def _slowly(data: bytes):
    """A block at a time: the NameNode refuses the next but one before it has heard of the first."""
    for start in range(0, len(data), BLOCK):
        yield data[start : start + BLOCK]
        await asyncio.sleep(0.3)


def _of_small_blocks(options):
    return lambda **given: options(block_size=BLOCK, **given)
