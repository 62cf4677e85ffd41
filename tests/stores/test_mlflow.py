"""A plain MLflow server as a store: what its replies leave out, what its errors mean, how it is walked."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence

import pytest
from tests.servers import mlflowd, radosgw
from tests.servers.scripted import Asked, Said, Scripted, chunked, fault

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource, closing
from shoso.core.types import CREATE, From, FromTo, Last, ObjectMeta, UploadStyle
from shoso.errors import Kind, NotFound, Retry, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.mlflow import open_store

KEY = Key("run/weights.bin")
LISTED = Said(body=b'{"files": [{"path": "weights.bin", "is_dir": false, "file_size": "10"}]}')
NOTHING = Said(body=b"{}")


@pytest.fixture
async def opened(tmp_path):
    """Open the store of a server; closed at the end."""
    stores = []

    def start(uri: str, **variables: str):
        stores.append(open_store(uri, {"HOME": str(tmp_path), **variables}))
        return stores[-1]

    yield start
    for store in stores:
        await store.close()


@pytest.fixture
def scripted():
    """Start servers that say what they are told to."""
    started = []

    def start(*replies: Said) -> Scripted:
        started.append(Scripted(replies))
        return started[-1]

    yield start
    for server in started:
        server.stop()


async def failure(call) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


# -- what a reply leaves out ------------------------------------------------------------------------------


async def test_a_body_without_a_length_is_as_long_as_the_listing_says(scripted, opened):
    store = opened(scripted(chunked(b"0123456789"), LISTED).uri)
    assert await read_bytes(store, KEY) == b"0123456789"


@pytest.mark.parametrize("whole", [True, False])
async def test_a_body_that_ends_early_is_an_error_though_no_length_was_sent(scripted, opened, whole):
    store = opened(scripted(chunked(b"01234", whole=whole), LISTED).uri)
    error = await failure(read_bytes(store, KEY))
    assert (error.kind, error.retry) == (Kind.UNAVAILABLE, Retry.SOON)
    assert not whole or f"ended '{KEY}' 5 bytes early" in error.message


async def test_a_body_that_is_longer_than_the_listing_says_has_changed(scripted, opened):
    store = opened(scripted(chunked(b"0123456789a"), LISTED).uri)
    assert (await failure(read_bytes(store, KEY))).kind is Kind.CHANGED


@pytest.mark.parametrize(
    ("wanted", "part"),
    [(FromTo(2, 5), b"234"), (From(8), b"89"), (Last(3), b"789"), (FromTo(0, 99), b"0123456789")],
)
@pytest.mark.parametrize(
    "said", [Said(body=b"0123456789"), chunked(b"0123456789")], ids=["length", "chunked"]
)
async def test_a_whole_object_for_a_range_is_read_past_what_was_not_asked_for(
    scripted, opened, wanted, part, said
):
    server = scripted(said, LISTED)
    store = opened(server.uri)
    assert await read_bytes(store, KEY, wanted) == part
    assert "range" in server.asked[0].headers
    assert not store.capabilities.ranges


async def test_a_range_past_the_end_of_what_came_whole_is_refused(scripted, opened):
    store = opened(scripted(chunked(b"0123456789"), LISTED).uri)
    assert (await failure(store.read(KEY, From(10)))).kind is Kind.RANGE


async def test_another_range_than_asked_for_is_no_reply(scripted, opened):
    said = Said(206, b"234", {"content-range": "bytes 2-4/10"})
    store = opened(scripted(said).uri)
    assert await read_bytes(store, KEY, FromTo(2, 5)) == b"234"
    assert (await failure(store.read(KEY, FromTo(3, 6)))).kind is Kind.UNEXPECTED


async def test_a_broken_download_goes_on_where_it_stopped_if_the_server_can(scripted, opened):
    version = {"etag": '"v1"', "accept-ranges": "bytes"}
    server = scripted(
        Said(200, b"01234", {"content-length": "10", **version}, broken=True),
        Said(206, b"56789", {"content-range": "bytes 5-9/10", **version}),
    )
    store = standard(opened(server.uri), Policy(RetryPolicy(first=0.01)))
    assert await read_bytes(store, KEY) == b"0123456789"
    assert server.asked[1].headers["range"] == "bytes=5-9"


async def test_a_download_never_goes_on_with_another_version(scripted, opened):
    first = Said(
        200, b"01234", {"content-length": "10", "etag": '"v1"', "accept-ranges": "bytes"}, broken=True
    )
    other = Said(206, b"56789", {"content-range": "bytes 5-9/10", "etag": '"v2"'})
    store = standard(opened(scripted(first, other).uri), Policy(RetryPolicy(first=0.01)))
    assert (await failure(read_bytes(store, KEY))).kind is Kind.CHANGED


# -- what its errors mean ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [Said(500, b"Internal Server Error"), fault(500, "INTERNAL_ERROR"), Said(400)]
)
async def test_what_the_storage_behind_it_hasnt_is_not_found_whatever_it_answers(scripted, opened, said):
    store = opened(scripted(said, NOTHING).uri)
    with pytest.raises(NotFound):
        await store.read(KEY)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(scripted, opened, status):
    server = scripted(Said(status), *([LISTED] if status == 500 else []), Said(body=b"0123456789"))
    store = standard(opened(server.uri), Policy(RetryPolicy(first=0.01)))
    assert await read_bytes(store, KEY) == b"0123456789"


async def test_a_pause_that_it_asks_for_is_handed_on(scripted, opened):
    store = opened(scripted(Said(429, headers={"retry-after": "7"})).uri)
    error = await failure(store.read(KEY))
    assert (error.kind, error.retry, error.retry_after) == (Kind.THROTTLED, Retry.AFTER, 7)


async def test_the_servers_own_words_are_told(scripted, opened):
    store = opened(scripted(Said(403, b'{"detail": "Permission denied"}')).uri)
    error = await failure(store.write(KEY, BytesSource(b".")))
    assert error.kind is Kind.FORBIDDEN
    assert error.message.endswith("It said: Permission denied.")


async def test_a_server_that_is_none_of_mlflows_is_named(scripted, opened):
    store = opened(scripted(Said(body=b"<html>")).uri)
    error = await failure(store.stat(KEY))
    assert error.kind is Kind.UNEXPECTED
    assert "is no MLflow server" in error.message


@pytest.mark.parametrize("name", ["a#b", "%41", "50%25", "what?", " a", "file:x", "a/../b%2e"])
async def test_a_name_that_the_server_would_change_is_never_sent(scripted, opened, name):
    server = scripted(Said())
    store = opened(server.uri)
    calls = (
        store.stat(Key(name)),
        store.read(Key(name)),
        store.write(Key(name), BytesSource(b".")),
        store.delete([Key(name)]),
    )
    for call in calls:
        assert (await failure(call)).kind is Kind.INVALID_KEY
    assert server.asked == []


async def test_a_listed_name_that_no_key_may_have_is_not_shown(scripted, opened):
    names = ["..", "a/b", "/etc/passwd", "", ".", "a\x00", "fine"]
    files = [{"path": name, "is_dir": False, "file_size": 1} for name in names]
    store = opened(scripted(Said(body=json.dumps({"files": files}).encode())).uri)
    assert [entry.key async for entry in store.list(ROOT)] == ["fine"]


async def test_it_says_what_it_cant(scripted, opened):
    server = scripted(Said())
    store = opened(server.uri)
    assert store.capabilities.uploads is UploadStyle.NONE
    for call in (store.write(KEY, BytesSource(b"."), CREATE), store.uploads.begin(KEY)):
        assert (await failure(call)).kind is Kind.UNSUPPORTED
    assert [ref async for ref in store.uploads.pending(ROOT)] == []
    assert server.asked == []


async def test_what_others_deleted_meanwhile_is_deleted(scripted, opened):
    server = scripted(LISTED, Said(500, b"Internal Server Error"), NOTHING)
    await opened(server.uri).delete([KEY])
    assert [asked.method for asked in server.asked] == ["GET", "DELETE", "GET"]


async def test_all_are_tried_before_a_delete_fails(scripted, opened):
    files = [{"path": name, "is_dir": False, "file_size": 1} for name in "abc"]
    server = scripted(Said(body=json.dumps({"files": files}).encode()), Said(403))
    error = await failure(opened(server.uri).delete([Key("a"), Key("b"), Key("c"), Key("d")]))
    assert error.kind is Kind.FORBIDDEN
    assert "3 objects couldn't be deleted" in error.message
    assert sorted(asked.path.rpartition("/")[2] for asked in server.asked[1:]) == ["a", "b", "c"]


async def test_a_folder_is_never_deleted(scripted, opened):
    server = scripted(Said(body=b'{"files": [{"path": "run", "is_dir": true}]}'))
    await opened(server.uri).delete([Key("run")])
    assert [asked.method for asked in server.asked] == ["GET"]


# -- walks ------------------------------------------------------------------------------------------------


class Tree(Scripted):
    """A server with `width` files and folders in each of `depth` levels."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__([Said()])
        self.width, self.depth = width, depth

    def answer(self, asked: Asked) -> Said:
        """A listing."""
        super().answer(asked)
        folder = asked.path.partition("?path=")[2]
        level = folder.count("/") + 1 if folder else 0
        files = [{"path": f"{n}.x", "is_dir": False, "file_size": 1} for n in range(self.width)]
        folders = [{"path": f"{n}", "is_dir": True} for n in range(self.width)] if level < self.depth else []
        return Said(body=json.dumps({"files": files + folders}).encode())


@pytest.fixture
def tree():
    server = Tree(width=4, depth=3)
    yield server
    server.stop()


async def listed(store, prefix: str, after: str | None = None) -> Sequence[str]:
    found = [entry async for entry in store.list(Key(prefix), deep=True, after=after)]
    assert all(isinstance(entry, ObjectMeta) for entry in found)
    return [entry.key for entry in found]


async def test_a_walk_asks_for_each_folder_once_and_keeps_the_order_of_keys(tree, opened):
    store = opened(tree.uri)
    found = await listed(store, "")
    assert len(found) == 4 * (1 + 4 + 16 + 64)
    assert found == sorted(found)
    paths = [asked.path for asked in tree.asked]
    assert len(paths) == len(set(paths)) == 1 + 4 + 16 + 64


async def test_a_walk_leaves_out_the_folders_before_its_start(tree, opened):
    store = opened(tree.uri)
    everything = await listed(store, "")
    tree.asked.clear()
    assert await listed(store, "", "3/2/1.x") == everything[everything.index("3/2/1.x") + 1 :]
    assert len(tree.asked) < 15


async def test_a_walk_that_is_left_leaves_nothing_under_way(tree, opened):
    async with closing(opened(tree.uri).list(ROOT, deep=True)) as found:
        await anext(found)
    assert not [task for task in asyncio.all_tasks() if "Walk" in repr(task)]


# -- real servers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prefixed():
    """A server whose routes are below /mlflow; MLflow answers there by other code."""
    with mlflowd.running("--static-prefix", "/mlflow") as server:
        yield server


@pytest.fixture(scope="module")
def before_s3():
    """A server that keeps artifacts in S3: it sends no lengths and no ranges."""
    target = radosgw.emptied()
    flags = ("--artifacts-destination", target.uri)
    with mlflowd.running(*flags, env=dict(target.environment)) as server:
        yield server


@pytest.mark.parametrize("name", ["prefixed", "before_s3"])
async def test_what_went_in_comes_out_of_any_server(request, opened, name):
    store = standard(opened(request.getfixturevalue(name).uri))
    data = os.urandom(3 * CHUNK + 7)
    for key, body in ((KEY, data), (Key("run/empty"), b""), (Key("run/a b/é.txt"), b"small")):
        await store.write(key, BytesSource(body))
        assert (await store.stat(key)).size == len(body)
        assert await read_bytes(store, key) == body
    assert [entry.key async for entry in store.list(Key("run"), deep=True)] == [
        "run/a b/é.txt",
        "run/empty",
        KEY,
    ]
    if store.capabilities.ranges:
        assert await read_bytes(store, KEY, FromTo(5, CHUNK + 5)) == data[5 : CHUNK + 5]
    for missing in ("run", "run/missing", "missing/missing"):
        with pytest.raises(NotFound):
            await store.read(Key(missing))
    await store.delete([KEY, Key("run/missing")])
    with pytest.raises(NotFound):
        await store.stat(KEY)


async def test_ranges_are_known_when_the_server_has_shown_them(opened, before_s3):
    own = opened(mlflowd.shared().uri)
    foreign = opened(before_s3.uri)
    for store, ranges in ((own, True), (foreign, False)):
        await store.write(KEY, BytesSource(b"0123456789"))
        assert not store.capabilities.ranges
        assert await read_bytes(store, KEY, FromTo(2, 5)) == b"234"
        assert store.capabilities.ranges is ranges
