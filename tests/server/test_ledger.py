"""The ledger of a real server: what it records on every kind of storage, and what that is good for."""

from __future__ import annotations

import os
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.e2e.servers import Server, eventually
from tests.server.sockets import ARTIFACTS, Wire, ask, put, read, require_refusal
from tests.server.test_transfers import flip_a_bit
from tests.servers import ftpd, radosgw, sshd

from shoso.core.batches import read_many, write_many
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import Kind, StoreError
from shoso.layers import standard
from shoso.metadata.objects import SETTLED
from shoso.stores.remote.store import RemoteOptions, RemoteStore

MIB = 1 << 20
DATA = b"bytes of an artifact"


def rows(server: Server) -> dict[str, tuple[str, str]]:
    """What is recorded: (root, digest) by key."""
    with closing(sqlite3.connect(server.folder / "tracking.db")) as raw:
        found = raw.execute("SELECT key, root, digest FROM shoso_objects").fetchall()
    return {key: rest for key, *rest in found}


def recorded(server: Server, *keys: str) -> bool:
    """Whether these are recorded, soon."""
    return eventually(lambda: rows(server).keys() >= {*keys})


def change(server: Server, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(server.folder / "tracking.db", timeout=10)) as raw, raw:
        raw.execute(statement, values)


@asynccontextmanager
async def remote(server: Server):
    """The server as Shoso's own client sees it."""
    store = standard(RemoteStore(RemoteOptions(server.uri)))
    try:
        yield store
    finally:
        await store.close()


async def listed(server: Server, prefix: str) -> dict[str, str | None]:
    """The digests of a listing, by key."""
    async with remote(server) as store:
        return {entry.key: entry.digest async for entry in store.list(Key(prefix), deep=True)}


# -- files of this machine --------------------------------------------------------------------------------


async def test_a_listing_tells_the_digests_of_what_came_through_the_server(server, unique):
    for number in range(30):
        assert put(server, f"{unique}/deep/{number}", DATA + b"%d" % number).status == 200
    (server.artifacts / unique / "foreign").write_bytes(DATA)
    found = await listed(server, unique)
    assert found.pop(f"{unique}/foreign") is None
    assert found == {f"{unique}/deep/{number}": digest(DATA + b"%d" % number) for number in range(30)}


async def test_a_batch_is_recorded_in_one_go(server, unique):
    objects = [
        SmallObject(ObjectMeta(Key(f"{unique}/{number}"), 8, 0.0), b"%08d" % number) for number in range(512)
    ]
    async with remote(server) as store:
        await write_many(store, objects)
    found = await listed(server, unique)
    assert found == {each.meta.key: digest(each.data) for each in objects}
    assert recorded(server, *found)
    with closing(sqlite3.connect(server.folder / "tracking.db")) as raw:
        query = "SELECT count(DISTINCT time) FROM shoso_objects WHERE key LIKE ?"
        assert raw.execute(query, [f"{unique}/%"]).fetchone() == (1,)


async def test_a_listing_tells_nothing_of_what_was_changed_behind_the_server(server, unique):
    put(server, f"{unique}/a", DATA)
    assert recorded(server, f"{unique}/a")
    (server.artifacts / unique / "a").write_bytes(DATA)
    assert await listed(server, unique) == {f"{unique}/a": None}


def test_a_root_is_named_by_its_location_and_a_deleted_object_forgotten(server, unique):
    put(server, f"{unique}/a", DATA)
    put(server, f"{unique}/b/c", DATA)
    assert recorded(server, f"{unique}/a", f"{unique}/b/c")
    assert tuple(rows(server)[f"{unique}/a"]) == (f"file://{server.artifacts}", digest(DATA))
    assert ask(server, "DELETE", f"{ARTIFACTS}/{unique}").status == 200
    assert eventually(lambda: not [key for key in rows(server) if key.startswith(unique)])


def test_no_row_is_lost_when_a_server_stops(launch):
    server = launch("--workers", "2")
    for number in range(50):
        put(server, f"1/{number}", DATA)
    assert server.stop() == 0
    assert rows(server).keys() == {f"1/{number}" for number in range(50)}
    server.start()


async def test_a_server_that_is_killed_serves_what_it_had_and_records_what_comes(launch):
    server = launch()
    put(server, "1/a", DATA)
    server.kill()
    server.start()
    put(server, "1/b", DATA)
    assert (await listed(server, "1"))["1/b"] == digest(DATA)
    assert read(server, "1/a").body == DATA


def test_a_database_that_is_locked_delays_no_upload(launch):
    server = launch()
    with closing(sqlite3.connect(server.folder / "tracking.db")) as raw, Wire(server, timeout=10) as wire:
        raw.execute("BEGIN IMMEDIATE")
        for number in range(100):
            assert wire.ask("PUT", f"{ARTIFACTS}/1/{number}", DATA).status == 200
            assert wire.ask("GET", f"{ARTIFACTS}/1/{number}").body == DATA
        raw.rollback()
    assert recorded(server, *(f"1/{number}" for number in range(100)))


async def test_a_table_that_is_gone_costs_digests_and_nothing_else(launch):
    server = launch()
    put(server, "1/a", DATA)
    change(server, "DROP TABLE shoso_objects")
    put(server, "1/b", DATA)
    assert (await listed(server, "1")).keys() == {"1/a", "1/b"}
    assert read(server, "1/b").body == DATA
    assert eventually(lambda: "Digests aren't recorded" in server.log())
    assert server.stop() == 0
    server.start()
    put(server, "1/c", DATA)
    assert recorded(server, "1/c")


async def test_a_server_of_artifacts_only_keeps_no_ledger(launch):
    server = launch("--artifacts-only")
    put(server, "1/a", DATA)
    assert await listed(server, "1") == {"1/a": None}
    assert read(server, "1/a").headers["shoso-digest"] == digest(DATA)  # which stands by the file
    assert not list(server.folder.glob("*.db"))


# -- storages that keep no digests ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["sftp", "ftp"])
def files(request, launch):
    """A server before a server of files, and where those are on disk."""
    if request.param == "sftp":
        target = sshd.fresh()
        folder = Path(urlsplit(target.uri).path)
    else:
        facts = ftpd.proftpd()
        folder = Path(facts["home"]) / f"ledger-{os.getpid()}"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        target = ftpd.Target(ftpd.uri(facts, path=folder.name))
    return launch("--artifacts-destination", target.uri, env=dict(target.environment)), folder


def settle(server: Server, key: str) -> None:
    """Make the record of an object as old as it must be where there are no etags."""
    assert recorded(server, key)
    change(server, "UPDATE shoso_objects SET time = time - ? WHERE key = ?", 2 * SETTLED, key)


def test_a_damaged_file_is_no_file_but_an_error_that_names_it(files, unique):
    server, folder = files
    put(server, f"{unique}/a", DATA)
    settle(server, f"{unique}/a")
    assert read(server, f"{unique}/a").headers["shoso-digest"] == digest(DATA)
    flip_a_bit(folder / unique / "a")
    require_refusal(read(server, f"{unique}/a"), 422, "DATA_LOSS", f"{unique}/a", "digest")
    put(server, f"{unique}/a", DATA)
    assert read(server, f"{unique}/a").body == DATA


async def test_a_large_damaged_file_is_cut_short_and_no_clients(files, unique):
    server, folder = files
    put(server, f"{unique}/a", os.urandom(3 * MIB))
    settle(server, f"{unique}/a")
    flip_a_bit(folder / unique / "a")
    with Wire(server) as wire:
        assert not wire.ask("GET", f"{ARTIFACTS}/{unique}/a").is_whole
    async with remote(server) as store:
        with pytest.raises(StoreError) as caught:
            await read_bytes(store, Key(f"{unique}/a"))
    assert caught.value.kind in {Kind.CORRUPT, Kind.UNAVAILABLE}


async def test_what_somebody_else_puts_there_is_served_as_it_is(files, unique):
    server, folder = files
    put(server, f"{unique}/a", DATA)
    settle(server, f"{unique}/a")
    (folder / unique / "a").write_bytes(DATA[::-1])
    os.utime(folder / unique / "a", (1e9, 1e9))
    assert read(server, f"{unique}/a").body == DATA[::-1]
    assert await listed(server, unique) == {f"{unique}/a": None}


async def test_a_damaged_file_among_many_is_an_error_of_its_own(files, unique):
    server, folder = files
    keys = [Key(f"{unique}/{name}") for name in "abc"]
    for key in keys:
        put(server, key, DATA)
        settle(server, key)
    flip_a_bit(folder / unique / "b")
    async with remote(server) as store:
        a, b, c = await read_many(store, keys)
    assert (a.data, b.kind, c.data) == (DATA, Kind.CORRUPT, DATA)


async def test_a_file_that_was_put_together_from_parts_is_compared_too(files, unique):
    server, folder = files
    parts = [os.urandom(MIB), DATA]
    async with remote(server) as store:
        await in_parts(store, unique, parts, digest(b"".join(parts)))
    settle(server, unique)
    assert (await listed(server, ""))[unique] == digest(b"".join(parts))
    flip_a_bit(folder / unique)
    with Wire(server) as wire:
        assert not wire.ask("GET", f"{ARTIFACTS}/{unique}").is_whole


def test_a_password_of_the_destination_is_not_recorded(files, unique):
    server, _ = files
    put(server, f"{unique}/a", DATA)
    assert recorded(server, f"{unique}/a")
    [root] = {root for root, _ in rows(server).values()}
    assert root.startswith(("ftp://shoso@", "sftp://"))
    assert ftpd.PASSWORD not in root


# -- objects in parts -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bucket(launch):
    """A server before a bucket, and the bucket's name."""
    target = radosgw.fresh()
    server = launch("--artifacts-destination", target.uri, env=dict(target.environment))
    return server, urlsplit(target.uri).netloc


async def in_parts(store, key: str, parts: list[bytes], claimed: str):
    ref = await store.uploads.begin(Key(key))
    sent = [await store.uploads.put(ref, number, BytesSource(data)) for number, data in enumerate(parts, 1)]
    return await store.uploads.finish(ref, sent, claimed)


async def test_an_object_in_parts_has_the_digest_that_its_sender_claimed(bucket, unique):
    server, name = bucket
    large, small = Key(f"{unique}/large"), Key(f"{unique}/small")
    parts = [os.urandom(5 * MIB), os.urandom(MIB)]
    whole = digest(b"".join(parts))
    async with remote(server) as store:
        assert (await in_parts(store, large, parts, whole)).digest == whole
        await store.write(small, BytesSource(DATA))
    assert await listed(server, unique) == {large: whole, small: digest(DATA)}
    radosgw.client().put_object(Bucket=name, Key=large, Body=b"another's")
    assert (await listed(server, unique))[large] is None
    assert read(server, large).body == b"another's"


async def test_an_object_in_parts_that_isnt_what_was_claimed_is_an_error(bucket, unique):
    server, name = bucket
    async with remote(server) as store:
        await in_parts(store, unique, [os.urandom(5 * MIB), DATA], digest(b"something else"))
    radosgw.client().delete_object_tagging(Bucket=name, Key=unique)
    assert recorded(server, unique)
    with Wire(server) as wire:
        assert not wire.ask("GET", f"{ARTIFACTS}/{unique}").is_whole
    change(server, "DELETE FROM shoso_objects WHERE key = ?", unique)
    assert read(server, unique).body.endswith(DATA)
