"""What others leave in the folder, by whatever program, neither breaks a call nor is taken for an object."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import replace

import pytest
from tests.conformance import expect

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, Digests
from shoso.errors import Kind
from shoso.stores.local import LocalOptions, LocalStore

ODD_NAMES = [b"not-utf8-\xff\xfe", b"new\nline", b"escape\x1b", b"%2e%2e", b"..%2fup", b"del\x7f", b"\t"]


@pytest.fixture
def odd(local, root):
    """A folder with an object, a fifo, a socket, a device, and names that no key can have."""
    folder = root / "odd"
    folder.mkdir()
    (folder / "object").write_bytes(b"object")
    os.mkfifo(folder / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/socket")  # the path itself may be too long to bind
        os.close(here)
    if os.geteuid() == 0:
        os.mknod(folder / "device", 0o600 | 0o020000, os.makedev(1, 3))
    for name in ODD_NAMES:
        (folder / os.fsdecode(name)).write_bytes(b"odd")
        (folder / os.fsdecode(b"\x01" + name)).mkdir()
    return folder


@pytest.mark.usefixtures("odd")
async def test_a_listing_passes_over_what_is_no_object(layered):
    assert [entry.key for entry in await expect.everything(layered)] == ["odd/object"]
    assert [entry.key for entry in await expect.shown(layered, "odd")] == ["odd/object"]


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("name", ["fifo", "socket", "device"])
async def test_what_is_no_file_is_not_found_and_blocks_nobody(layered, name):
    for call in (lambda: layered.stat(Key(f"odd/{name}")), lambda: layered.read(Key(f"odd/{name}"))):
        with expect.failure(Kind.NOT_FOUND):
            await call()


async def test_a_tree_with_odd_things_in_it_is_deleted_but_for_them(layered, odd):
    await delete_tree(layered, Key("odd"))
    assert await expect.everything(layered) == []
    assert not (odd / "object").exists()
    assert (odd / "fifo").exists()


async def test_a_file_of_mlflows_under_way_is_hidden(layered, root):
    for name in (".artifact.uploading.1234.model.pkl", "inner/.artifact.uploading.5.a"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"half")
        with expect.failure(Kind.INVALID_KEY):
            await layered.read(Key(name))
        with expect.failure(Kind.INVALID_KEY):
            await layered.write(Key(name), BytesSource(b"."))
    (root / "inner/whole").write_bytes(b"whole")
    assert [entry.key for entry in await expect.everything(layered)] == ["inner/whole"]


async def test_what_a_listing_shows_can_be_read(layered, root):
    for name in ("x.artifact.uploading.y", ".shosoo", "inner/.shoso", "artifact.uploading.z"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(name.encode())
    found = [entry.key for entry in await expect.everything(layered)]
    assert len(found) == 4
    for key in found:
        assert await read_bytes(layered, key) == key.encode()


async def test_a_store_opened_further_below_shows_no_drafts(layered, root):
    (root / "run/.shoso/drafts").mkdir(parents=True)
    (root / "run/.shoso/drafts/1234").write_bytes(b"half")
    await layered.write(Key("run/whole"), BytesSource(b"whole"))
    with expect.failure(Kind.INVALID_KEY):
        await layered.read(Key("run/.shoso/drafts/1234"))
    with expect.failure(Kind.INVALID_KEY):
        await layered.write(Key("run/.shoso/other"), BytesSource(b"."))
    assert [entry.key for entry in await expect.everything(layered)] == ["run/whole"]
    assert [entry.key for entry in await expect.shown(layered, Key("run"))] == ["run/whole"]


@pytest.mark.parametrize("name", [".shoso", ".shoso/lock", ".shoso/drafts/x", ".shoso/uploads/y/about"])
async def test_the_stores_own_folder_is_out_of_reach(layered, root, name):
    await layered.write(Key("object"), BytesSource(b"."))
    for call in (
        lambda: layered.stat(Key(name)),
        lambda: layered.read(Key(name)),
        lambda: layered.write(Key(name), BytesSource(b".")),
        lambda: layered.write(Key(name), BytesSource(b"."), CREATE),
        lambda: layered.delete([Key(name)]),
        lambda: layered.uploads.begin(Key(name)),
    ):
        with expect.failure(Kind.INVALID_KEY):
            await call()
    assert (root / ".shoso/drafts").is_dir()
    assert [entry.key for entry in await expect.shown(layered)] == ["object"]


async def test_deleting_a_key_that_climbs_removes_not_even_an_empty_folder(root):
    store = LocalStore(LocalOptions(root))
    for folder in ("empty/inner", ".shoso/uploads"):
        (root / folder).mkdir(parents=True)
    for key in ("empty/..", "empty/inner/.", "empty/inner/../x", "empty//inner", ".shoso/uploads/x"):
        with expect.failure(Kind.INVALID_KEY):
            await store.delete([Key(key)])
    assert (root / "empty/inner").is_dir()
    assert (root / ".shoso/uploads").is_dir()
    await store.close()


async def test_a_folder_that_is_only_read_stays_as_it_is(root):
    root.mkdir()
    (root / "object").write_bytes(b"object")
    store = LocalStore(LocalOptions(root))
    assert await read_bytes(store, Key("object")) == b"object"
    assert [entry.key for entry in await expect.everything(store)] == ["object"]
    assert [ref async for ref in store.uploads.pending(ROOT)] == []
    await store.close()
    assert [path.name for path in root.iterdir()] == ["object"]


async def test_all_deletes_are_tried_before_a_failure_is_raised(layered, local):
    for name in "abc":
        await layered.write(Key(name), BytesSource(b"."))
    with expect.failure(Kind.INVALID_KEY) as caught:
        await layered.delete([Key("a"), Key(".shoso/x"), Key("b"), Key(".shoso/y"), Key("c")])
    assert caught.value.key == ".shoso/x"
    assert "2 objects" in caught.value.message
    assert await expect.everything(layered) == []


async def test_a_file_edited_in_place_by_others_reads_fine(layered, root):
    written = await layered.write(Key("edited"), BytesSource(b"before"))
    (root / "edited").write_bytes(b"after!")
    found = await layered.stat(Key("edited"))
    assert found.digest is None
    assert found.etag != written.etag
    assert await read_bytes(layered, Key("edited")) == b"after!"


async def test_the_time_of_a_version_is_its_own_to_the_nanosecond(local, root):
    """The clock of a file system ticks in milliseconds, and an inode that was given up is soon another's."""
    for _ in range(20):
        before = time.time_ns()
        await local.write(Key("object"), BytesSource(b"same size"))
        assert before <= (root / "object").stat().st_mtime_ns <= time.time_ns()


async def test_a_file_appended_to_by_others_reads_fine(layered, root):
    await layered.write(Key("edited"), BytesSource(b"before"))
    with (root / "edited").open("ab") as file:
        file.write(b" and after")
    assert (await layered.stat(Key("edited"))).digest is None
    assert await read_bytes(layered, Key("edited")) == b"before and after"


async def test_a_digest_that_others_copied_with_the_file_is_not_believed(local, layered, root):
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    await layered.write(Key("one"), BytesSource(b"one"))
    (root / "two").write_bytes(b"two")
    os.setxattr(root / "two", "user.shoso.digest", os.getxattr(root / "one", "user.shoso.digest"))
    assert (await layered.stat(Key("two"))).digest is None
    assert await read_bytes(layered, Key("two")) == b"two"


@pytest.mark.parametrize("text", [b"", b"garbage", b"blake3 00 1 1", b"\xff" * 40])
async def test_an_attribute_that_is_no_digest_is_none(local, layered, root, text):
    if local.capabilities.digests is Digests.NONE:
        pytest.skip("this file system keeps no attributes")
    (root / "odd").write_bytes(b"odd")
    os.setxattr(root / "odd", "user.shoso.digest", text)
    assert (await layered.stat(Key("odd"))).digest is None
    assert await read_bytes(layered, Key("odd")) == b"odd"


async def test_without_attributes_the_store_says_so_and_works(tmp_path, monkeypatch):
    def unsupported(*args, **kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    store = LocalStore(LocalOptions(tmp_path / "root"))
    assert store.capabilities.digests is Digests.NONE
    written = await store.write(Key("a"), BytesSource(b"a"))
    assert written.digest == digest(b"a")
    assert replace(written, digest=None) == await store.stat(Key("a"))
    assert await read_bytes(store, Key("a")) == b"a"
    await store.close()


async def test_folders_deeper_than_any_key_break_no_listing(layered, root):
    """A name that is fine by itself may make a key that is too long; the deepest one that isn't is shown."""
    deepest = Key("a/" * 511 + "b")
    here = os.open(root, os.O_RDONLY)
    try:
        for level in range(600):
            if level in {511, 599}:
                os.close(os.open("b", os.O_WRONLY | os.O_CREAT, dir_fd=here))
            os.mkdir("a", dir_fd=here)
            inner = os.open("a", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
    finally:
        os.close(here)
    assert [entry.key for entry in await expect.everything(layered)] == [deepest]
    assert [entry.key for entry in await expect.shown(layered, ROOT)] == ["a"]
    assert await read_bytes(layered, deepest) == b""
    await delete_tree(layered, Key("a"))
    assert await expect.everything(layered) == []


async def test_hollow_folders_are_removed_as_deep_as_anybody_makes_them(layered, root):
    (root / ("hollow/" * 50)).mkdir(parents=True)
    (root / ("well/" * 400)).mkdir(parents=True)
    await layered.delete([Key("hollow"), Key("well")])
    assert [entry.key for entry in await expect.shown(layered)] == ["well"]
