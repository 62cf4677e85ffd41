"""No symbolic link below the root is ever followed, wherever and whenever it is planted."""

from __future__ import annotations

import contextlib
import threading

import pytest
from tests.conformance import expect

from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE
from shoso.errors import Kind, StoreError
from shoso.stores.local import LocalOptions, LocalStore

SECRET = b"what lies outside"
SWAPS = (("folder", "aside"), ("link", "folder"), ("folder", "link"), ("aside", "folder"))


@pytest.fixture
def outside(tmp_path):
    """A folder beside the root, with a file that nobody may reach."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(SECRET)
    return folder


@pytest.fixture
def planted(local, root, outside):
    """Links at every level: a file, a folder, in the middle of a path, dangling, to itself."""
    (root / "inner").mkdir()
    (root / "inner/real").write_bytes(b"real")
    for link, target in {
        "file": outside / "secret",
        "folder": outside,
        "inner/up": "../..",
        "inner/beside": "real",
        "inner/folder": outside,
        "dangling": outside / "new",
        "loop": "loop",
        "absolute": "/",
    }.items():
        (root / link).symlink_to(target)
    return root


REACHING = [
    "file",
    "folder/secret",
    "inner/up/outside/secret",
    "inner/beside",
    "inner/folder/secret",
    "dangling",
    "loop",
    "loop/secret",
    "absolute/etc/passwd",
]


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("name", REACHING)
async def test_nothing_is_read_through_a_link(local, name):
    with expect.failure(Kind.INVALID_KEY, Kind.NOT_FOUND):
        await local.read(Key(name))
    with expect.failure(Kind.INVALID_KEY, Kind.NOT_FOUND):
        await local.stat(Key(name))


@pytest.mark.usefixtures("planted")
async def test_a_link_is_refused_in_words(local):
    for name in ("file", "folder/secret"):
        with expect.failure(Kind.INVALID_KEY) as caught:
            await local.read(Key(name))
        assert "symbolic link" in caught.value.message


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("name", REACHING)
async def test_nothing_is_written_through_a_link(local, outside, name):
    for mode in ([], [CREATE]):
        with expect.allowed(Kind.INVALID_KEY, Kind.EXISTS):  # or the link itself gives way to the object
            await local.write(Key(name), BytesSource(b"overwritten"), *mode)
    with expect.allowed(Kind.INVALID_KEY, Kind.EXISTS):
        await local.move([(Key("inner/real"), Key(name))])
    assert {found.name: found.read_bytes() for found in outside.iterdir()} == {"secret": SECRET}


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("name", [*REACHING, "folder", "absolute", "inner/up"])
async def test_nothing_is_deleted_through_a_link(local, outside, name):
    for delete in (lambda: local.delete([Key(name)]), lambda: delete_tree(local, Key(name))):
        with expect.allowed(Kind.INVALID_KEY):
            await delete()
    with expect.failure(Kind.INVALID_KEY, Kind.NOT_FOUND):
        await local.move([(Key(name), Key("moved"))])
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.usefixtures("planted")
async def test_links_are_not_listed_nor_gone_through(local):
    assert [entry.key for entry in await expect.everything(local)] == ["inner/real"]
    assert [entry.key for entry in await expect.shown(local)] == ["inner"]
    for name in ("folder", "inner/folder", "inner/up", "absolute", "loop"):
        with expect.allowed(Kind.INVALID_KEY):
            assert await expect.everything(local, name) == []


@pytest.mark.usefixtures("planted")
async def test_deleting_a_tree_leaves_what_its_links_point_to(local, outside):
    await delete_tree(local, Key("inner"))
    assert (outside / "secret").read_bytes() == SECRET
    assert await expect.everything(local) == []


async def test_the_root_may_be_a_link(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    store = LocalStore(LocalOptions(tmp_path / "link"))
    await store.write(Key("a/b"), BytesSource(b"through the root"))
    assert (tmp_path / "target/a/b").read_bytes() == b"through the root"
    assert await read_bytes(store, Key("a/b")) == b"through the root"
    await store.close()


@pytest.mark.parametrize("place", [".shoso", ".shoso/drafts", ".shoso/uploads"])
async def test_the_stores_own_folders_may_not_be_links(tmp_path, outside, place):
    root = tmp_path / "root"
    (root / place).parent.mkdir(parents=True)
    (root / place).symlink_to(outside)
    with pytest.raises((StoreError, Exception)) as caught:  # noqa: PT012
        store = LocalStore(LocalOptions(root))
        try:
            await store.uploads.begin(Key("key"))
        finally:
            await store.close()
    assert "symbolic link" in str(caught.value) or "director" in str(caught.value)
    assert [found.name for found in outside.iterdir()] == ["secret"]


@pytest.mark.parametrize("verb", ["read", "list", "write", "delete", "move"])
async def test_a_link_swapped_in_during_the_call_leads_nowhere(local, root, outside, verb):
    """A folder that is a link every other moment: each call sees the one or the other, never through it."""
    (root / "folder").mkdir()
    (root / "folder/secret").write_bytes(b"inside")
    (root / "link").symlink_to(outside)
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for one, other in SWAPS:
                with contextlib.suppress(OSError):  # the writer made the folder anew
                    (root / one).rename(root / other)

    async def read():
        return await read_bytes(local, Key("folder/secret"))

    async def entries():
        return b",".join([entry.key.encode() async for entry in local.list(ROOT, deep=True)])

    async def write():
        await local.write(Key("folder/written"), BytesSource(b"written"))

    async def delete():
        await local.delete([Key("folder/secret"), Key("link/secret")])

    async def move():
        await local.move([(Key("folder/secret"), Key("inside")), (Key("link/secret"), Key("other"))])

    calls = {"read": (read, 300), "list": (entries, 150), "write": (write, 30), "delete": (delete, 300)}
    call, rounds = (calls | {"move": (move, 100)})[verb]
    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(rounds):
            with expect.allowed(Kind.INVALID_KEY, Kind.NOT_FOUND, Kind.EXISTS):
                seen = await call()
                assert seen is None or SECRET not in seen
    finally:
        stop.set()
        swapping.join()
    assert {found.name: found.read_bytes() for found in outside.iterdir()} == {"secret": SECRET}


@pytest.mark.parametrize(
    "name", ["..", "../outside/secret", "a/../../outside/secret", "/etc/passwd", "a//b", "."]
)
async def test_a_key_that_was_never_parsed_leads_nowhere_either(local, root, outside, name):
    """A second bolt: a route that forgets to parse doesn't open the tree."""
    (root / "a").mkdir()
    (root / "a/there").write_bytes(b"inside")
    for call in (
        lambda: read_bytes(local, Key(name)),
        lambda: local.write(Key(name), BytesSource(b"overwritten")),
        lambda: local.delete([Key(name)]),
        lambda: local.move([(Key(name), Key("a/moved"))]),
        lambda: local.move([(Key("a/there"), Key(name))]),
        lambda: expect.everything(local, name),
    ):
        with expect.failure(Kind.INVALID_KEY):
            await call()
    assert (outside / "secret").read_bytes() == SECRET
