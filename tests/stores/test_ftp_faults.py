"""A network that fails before an FTP server: got over or a clear error; no half object, nothing left."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from tests.conformance.sources import Endless
from tests.servers import ftpd
from tests.servers.faultproxy import FaultProxy
from tests.servers.ftpproxy import FtpProxy
from tests.servers.processes import Launcher

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores import open_store

MIB = 1024 * 1024
KEY = Key("run/model.bin")
DATA = bytes(range(256)) * (5 * MIB // 256)
LOST = {Kind.UNAVAILABLE, Kind.TIMEOUT}
POLICY = Policy(RetryPolicy(first=0.01))
ONCE = Policy(RetryPolicy(attempts=1))


class Place:
    """A folder on ProFTPD, and stores on it through any port."""

    def __init__(self, home: Path, port: int) -> None:
        self.folder, self.port = home, port
        self.stores = []

    def store(self, port: int, bare=False, policy=POLICY, **environment: str):
        """The store, through that port."""
        uri = ftpd.uri({"port": port}, path=self.folder.name)
        store = open_store(uri, environment)
        self.stores.append(store)
        return store if bare else standard(store, policy)

    def files(self) -> dict[str, bytes]:
        """Everything that lies there, drafts and all."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


@pytest.fixture
async def place(tmp_path):
    """A folder of its own."""
    facts = ftpd.proftpd()
    (home := Path(facts["home"]) / tmp_path.name).mkdir()
    found = Place(home, facts["port"])
    yield found
    for store in found.stores:
        await store.close()


async def _fails(call, *kinds: Kind) -> StoreError:
    async with asyncio.timeout(30):
        with pytest.raises(StoreError) as caught:
            await call
    assert caught.value.kind in kinds, caught.value
    return caught.value


async def _until_clean(place: Place, *kept: str) -> None:
    """Soon nothing is there but what was kept."""
    async with asyncio.timeout(30):
        while set(place.files()) != set(kept):  # noqa: ASYNC110  # another process does it
            await asyncio.sleep(0.05)


async def test_latency_does_no_harm(place):
    async with FaultProxy(place.port) as proxy:
        proxy.latency = 0.02
        store = place.store(proxy.port)
        await store.write(KEY, BytesSource(DATA))
        assert await read_bytes(store, KEY) == DATA


async def test_every_third_connection_reset_is_got_over(place):
    async with FaultProxy(place.port) as proxy:
        proxy.reset_every = 3
        store = place.store(proxy.port)
        names = [Key(f"many/{number}") for number in range(12)]
        await asyncio.gather(*(store.write(name, BytesSource(name.encode())) for name in names))
        assert [await read_bytes(store, name) for name in names] == [name.encode() for name in names]
        assert len([entry async for entry in store.list(ROOT, deep=True)]) == 12
        proxy.reset_all()
        await delete_tree(store, Key("many"))
        assert proxy.resets > 0
    await _until_clean(place)


async def test_connections_that_died_while_nobody_used_them_are_replaced(place):
    async with FaultProxy(place.port) as proxy:
        store = place.store(proxy.port, bare=True)
        await store.write(KEY, BytesSource(DATA))
        proxy.reset_all()
        await asyncio.sleep(0.1)
        assert await read_bytes(store, KEY) == DATA


async def test_a_server_that_refuses_is_unavailable(place):
    async with FaultProxy(place.port) as proxy:
        proxy.refuse = True
        error = await _fails(place.store(proxy.port).stat(KEY), Kind.UNAVAILABLE)
        assert str(proxy.port) in error.message
        proxy.refuse = False
        await place.store(proxy.port).write(KEY, BytesSource(DATA))
    assert place.files() == {KEY: DATA}


@pytest.mark.parametrize("verb", ["stat", "write", "read", "list", "delete"])
async def test_a_control_connection_that_falls_silent_is_given_up(place, verb):
    await place.store(place.port).write(KEY, BytesSource(DATA))
    async with FaultProxy(place.port) as proxy:
        store = place.store(proxy.port, policy=ONCE, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="2")
        assert (await store.stat(KEY)).size == len(DATA)
        proxy.blackhole = True
        calls = {
            "stat": lambda: store.stat(KEY),
            "write": lambda: store.write(KEY, BytesSource(b"new")),
            "read": lambda: read_bytes(store, KEY),
            "list": lambda: anext(store.list(ROOT)),
            "delete": lambda: store.delete([KEY]),
        }
        await _fails(calls[verb](), *LOST)
    assert place.files()[KEY] == DATA


@pytest.mark.parametrize(
    "faults", [{"reset_up_after": 2 * MIB}, {"swallow_after": 2 * MIB}], ids=["reset", "ended in good order"]
)
async def test_an_upload_whose_data_connection_breaks_is_not_there(place, faults):
    await place.store(place.port).write(KEY, BytesSource(b"old"))
    async with FtpProxy(place.port) as front:
        front.faults = faults
        await _fails(place.store(front.port, bare=True).write(KEY, Endless(40 * MIB)), Kind.UNAVAILABLE)
        await _until_clean(place, KEY)
    assert place.files() == {KEY: b"old"}


@pytest.mark.parametrize("fault", ["reset_up_after", "swallow_after"])
async def test_an_upload_whose_data_connection_breaks_is_sent_again(place, fault):
    async with FtpProxy(place.port) as front:
        front.faults, front.times = {fault: 2 * MIB}, 2
        await place.store(front.port).write(KEY, BytesSource(DATA, digest(DATA)))
        await _until_clean(place, KEY)
    assert place.files() == {KEY: DATA}


async def test_a_download_whose_data_connection_breaks_is_never_taken_for_whole(place):
    await place.store(place.port).write(KEY, BytesSource(DATA))
    async with FtpProxy(place.port) as front:
        front.faults = {"reset_down_after": MIB}
        async with await place.store(front.port, bare=True).read(KEY) as reading:
            await _fails(_drained(reading), Kind.UNAVAILABLE)


async def test_a_server_that_has_two_words_for_what_was_broken_off_confuses_nobody(place):
    await place.store(place.port).write(KEY, Endless(40 * MIB))
    async with FtpProxy(place.port) as front:
        front.twice = True
        store = place.store(front.port)
        for _ in range(3):
            async with await store.read(KEY) as reading:
                await anext(reading.body)
            assert (await store.stat(KEY)).size == 40 * MIB


async def _drained(reading) -> int:
    return sum([len(data) async for data in reading.body])


async def test_an_upload_whose_data_connection_falls_silent_is_given_up(place):
    async with FtpProxy(place.port) as front:
        front.faults = {"blackhole": True}
        store = place.store(front.port, policy=ONCE, MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="0.5")
        began = time.monotonic()
        await _fails(store.write(KEY, Endless(20 * MIB)), *LOST)
        assert time.monotonic() - began < 25
    await _until_clean(place)


async def test_a_part_with_a_flipped_bit_never_becomes_an_object(place):
    async with FtpProxy(place.port) as front:
        store = place.store(front.port)
        ref = await store.uploads.begin(KEY)
        front.faults = {"corrupt_up_at": MIB}
        part = await store.uploads.put(ref, 1, BytesSource(DATA))
        front.faults = {}
        await _fails(store.uploads.finish(ref, [part]), Kind.CORRUPT)
    assert KEY not in place.files()


async def test_an_upload_in_parts_goes_on_when_the_server_comes_back(tmp_path):
    launcher = Launcher("ftpd", tmp_path)
    facts = ftpd.start_proftpd(launcher)
    try:
        store = standard(open_store(ftpd.uri(facts, path="a"), {}), POLICY)
        ref = await store.uploads.begin(KEY)
        first = await store.uploads.put(ref, 1, BytesSource(DATA))
        sending = asyncio.ensure_future(store.uploads.put(ref, 2, Endless(4000 * MIB)))
        await asyncio.sleep(0.3)
        launcher.stop()
        await _fails(sending, *LOST)
        launcher.processes.clear()
        ftpd.launch_proftpd(launcher, facts)
        assert await store.uploads.parts(ref) == [first]
        second = await store.uploads.put(ref, 2, BytesSource(DATA[::-1]))
        await store.uploads.finish(ref, [first, second])
        assert await read_bytes(store, KEY) == DATA + DATA[::-1]
        await store.close()
        there = Path(facts["home"]) / "a"
        assert [path for path in there.rglob("*") if path.is_file() and path.name != "model.bin"] == [
            path
            for path in (there / ".shoso/uploads" / ref.id).iterdir()
            if path.name in {"about", "finished"}
        ]
    finally:
        launcher.stop()


async def test_a_write_that_is_cancelled_leaves_nothing_and_returns_soon(place):
    store = place.store(place.port)
    writing = asyncio.ensure_future(store.write(KEY, Endless(4000 * MIB)))
    while not place.files():  # noqa: ASYNC110  # another process makes it
        await asyncio.sleep(0.02)
    began = time.monotonic()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert time.monotonic() - began < 10
    await _until_clean(place)


async def test_many_are_deleted_over_several_connections(place):
    for number in range(400):
        (place.folder / f"{number}").write_bytes(b".")
    async with FaultProxy(place.port) as proxy:
        proxy.latency = 0.02
        store = place.store(proxy.port)
        began = time.monotonic()
        await store.delete([Key(f"{number}") for number in range(400)])
        # One after another, each at 40 ms there and back, would take 16 s.
        assert proxy.connections > 4
        assert time.monotonic() - began < 8
    assert place.files() == {}
