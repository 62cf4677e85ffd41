"""No link leads out of the root, and every version of a file has an etag of its own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.servers import sshd

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind
from shoso.stores import open_store

KEY = Key("folder/object")


@pytest.fixture
async def served():
    """A store and its folder on the server, with an object in it."""
    target = sshd.fresh()
    store = open_store(target.uri, target.environment)
    await store.write(KEY, BytesSource(b"kept"))
    yield store, Path("/" + target.uri.split("/", 3)[3])
    await store.close()


@pytest.fixture
def outside(tmp_path):
    """A folder that isn't the store's, with a secret in it."""
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path


@pytest.mark.parametrize("name", ["link", "folder/link"])
async def test_a_link_to_a_folder_outside_leads_nowhere(served, outside, name):
    store, root = served
    (root / name).symlink_to(outside)
    secret = Key(f"{name}/secret")
    for call in (
        store.stat(secret),
        store.read(secret),
        store.write(secret, BytesSource(b"planted")),
        store.write(Key(f"{name}/new/object"), BytesSource(b"planted")),
        store.delete([secret]),
    ):
        with expect.failure(Kind.INVALID_KEY):
            await call
    with expect.failure(Kind.INVALID_KEY):
        await expect.shown(store, name)
    assert [entry.key for entry in await expect.everything(store)] == [KEY]
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


async def test_a_link_to_a_file_outside_is_no_object(served, outside):
    store, root = served
    (root / "link").symlink_to(outside / "secret")
    for call in (store.stat(Key("link")), store.read(Key("link"))):
        with expect.failure(Kind.INVALID_KEY):
            await call
    await store.write(Key("link"), BytesSource(b"an object, in its place"))
    assert (outside / "secret").read_bytes() == b"secret"
    assert await read_bytes(store, Key("link")) == b"an object, in its place"


async def test_a_link_where_drafts_are_kept_is_not_followed(served, outside):
    store, root = served
    await store.close()
    (root / ".shoso/drafts").rmdir()
    (root / ".shoso/drafts").symlink_to(outside)
    again = open_store(*_opening(root))
    with expect.failure(Kind.INVALID_KEY):
        await again.write(Key("new"), BytesSource(b"."))
    await again.close()
    assert [path.name for path in outside.iterdir()] == ["secret"]


async def test_the_root_itself_may_be_a_link(served, outside):
    _, root = served
    (outside / "here").symlink_to(root)
    store = open_store(*_opening(outside / "here"))
    await store.write(Key("new"), BytesSource(b"new"))
    assert [entry.key for entry in await expect.everything(store)] == [KEY, "new"]
    await store.close()


async def test_a_root_below_a_link_is_made(served, outside):
    _, root = served
    (outside / "here").symlink_to(root)
    store = open_store(*_opening(outside / "here/not/yet"))
    await store.write(Key("new"), BytesSource(b"new"))
    await store.write(Key("a/new"), BytesSource(b"new"))
    assert await read_bytes(store, Key("new")) == b"new"
    assert (root / "not/yet/a/new").read_bytes() == b"new"
    await store.close()


async def test_what_is_no_file_is_no_object(served):
    store, root = served
    os.mkfifo(root / "pipe")
    with expect.failure(Kind.NOT_FOUND):
        await store.stat(Key("pipe"))
    assert [entry.key for entry in await expect.everything(store)] == [KEY]


async def test_names_that_are_no_text_are_not_shown(served):
    store, root = served
    (root / os.fsdecode(b"\xff\xfe")).write_bytes(b".")
    assert [entry.key for entry in await expect.everything(store)] == [KEY]
    assert [entry.key async for entry in store.list(ROOT)] == ["folder"]


async def test_a_server_that_names_no_limit_is_asked_for_what_memory_takes(served):
    store, root = served
    (root / "large").write_bytes(data := os.urandom(8 * 1024 * 1024))
    async with store.system._connection.session() as session:
        session.client.limits.max_read_len = 1 << 62
    async with await store.read(Key("large")) as reading:
        blocks = [block async for block in reading.body]
    assert b"".join(blocks) == data
    assert max(map(len, blocks)) <= 1024 * 1024


async def test_versions_of_one_size_within_a_second_differ(served):
    store, _ = served
    tags = {(await store.write(KEY, BytesSource(b"%02d" % number))).etag for number in range(20)}
    assert None not in tags
    assert len(tags) == 20


async def test_an_etag_outlasts_being_read(served):
    store, root = served
    etag = (await store.stat(KEY)).etag
    for _ in range(3):
        assert await read_bytes(store, KEY) == (root / KEY).read_bytes()
    await asyncio.sleep(1.1)
    assert await read_bytes(store, KEY) == b"kept"
    assert (await store.stat(KEY)).etag == etag is not None


async def test_a_file_of_others_has_no_etag_and_one_changed_in_place_another(served):
    store, root = served
    (root / "theirs").write_bytes(b"theirs")
    assert (await store.stat(Key("theirs"))).etag is None
    etag = (await store.stat(KEY)).etag
    await asyncio.sleep(1.1)
    (root / KEY).write_bytes(b"mine")
    assert (await store.stat(KEY)).etag != etag


def _opening(path: Path) -> tuple[str, dict[str, str]]:
    facts = sshd.server()
    return f"sftp://127.0.0.1:{facts['port']}{path}", {"SHOSO_SFTP_CONFIG": facts["config"]}
