"""What a mount brings with it: what other machines do meanwhile, and a server that is gone.

Here the kernel's part is played; test_nfs.py runs on real mounts.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.stores.held import Held

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, IfMatch
from shoso.errors import Kind
from shoso.layers.limits import Limits
from shoso.stores.disk import calls
from shoso.stores.local import LocalOptions, LocalStore, mounts, tree
from shoso.stores.local.mounts import Mount, mount_of

KEY = Key("folder/object")
NFS = Mount("nfs4", frozenset({"rw", "vers=4.2", "local_lock=none"}))
NFS_WITHOUT_LOCKS = Mount("nfs", frozenset({"rw", "vers=3", "nolock", "local_lock=all"}))
SILLY = ".nfs00000000000a1b2c00000001"


@pytest.fixture
async def mounted(root, monkeypatch):
    """A store that believes that its folder is an NFS mount."""
    monkeypatch.setattr(tree, "mount_of", lambda _: NFS)
    store = LocalStore(LocalOptions(root))
    yield store
    await store.close()


def _once(patch, name, error):
    """Have the first call of `os.<name>` fail."""
    real, failures = getattr(os, name), [error]

    def failing(*args, **kwargs):
        if failures:
            raise failures.pop()
        return real(*args, **kwargs)

    patch.setattr(os, name, failing)


def _stale() -> OSError:
    return OSError(errno.ESTALE, os.strerror(errno.ESTALE))


def test_the_mount_of_a_folder_is_found_by_its_device(tmp_path, monkeypatch):
    folder = os.open(tmp_path, os.O_RDONLY)
    device = os.fstat(folder).st_dev
    listed = tmp_path / "mountinfo"
    listed.write_text(
        "22 1 0:999 / / rw,relatime - ext4 /dev/sda rw\n"
        f"40 22 {os.major(device)}:{os.minor(device)} / /a\\040b rw shared:7 - nfs f:/a rw,nolock,vers=3\n"
    )
    assert not mount_of(folder).remote
    monkeypatch.setattr(mounts, "MOUNTS", listed)
    assert mount_of(folder) == Mount("nfs", frozenset({"rw", "nolock", "vers=3"}))
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "no Linux")
    assert mount_of(folder) == Mount()
    os.close(folder)


def test_where_a_folder_is_on_its_device_whatever_is_mounted_where(tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(
        "22 1 8:1 / / rw shared:1 - ext4 /dev/a rw\n"
        "30 22 8:1 /srv/data /mnt/bound rw shared:1 - ext4 /dev/a rw\n"
        "31 22 0:55 / /mnt/odd\u2028name rw shared:7 - nfs4 nas:/export/odd rw\n"
        "32 22 0:55 / /mnt/one rw shared:7 - nfs4 [fe80::1]:/export/one rw\n"  # whose root is / in each
        "33 22 0:55 / /mnt/two rw shared:7 - nfs4 [fe80::1]:/export/two rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTS", tmp_path / "mountinfo")
    places = ("/mnt/bound/a", "/srv/data/a", "/mnt/one/a", "/mnt/two/a", "/mnt/odd\u2028name")
    assert [mounts.on_device(place) for place in places] == [
        *["8:1/srv/data/a"] * 2, "0:55/export/one/a", "0:55/export/two/a", "0:55/export/odd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mount", "guarded"), [(Mount("ext4"), True), (NFS, True), (NFS_WITHOUT_LOCKS, False)]
)
async def test_where_locks_end_at_the_machine_no_write_depends_on_an_etag(root, monkeypatch, mount, guarded):
    monkeypatch.setattr(tree, "mount_of", lambda _: mount)
    store = LocalStore(LocalOptions(root))
    assert store.capabilities.if_match is guarded
    assert store.capabilities.create
    await store.close()


@pytest.mark.parametrize(("name", "call"), [
    ("open", lambda store: store.stat(KEY)),
    ("fstat", lambda store: store.stat(KEY)),
    ("pread", lambda store: store.read(KEY)),
    ("open", lambda store: store.delete([Key("folder/other")])),
    ("replace", lambda store: store.write(KEY, BytesSource(b"object"))),
    ("link", lambda store: store.write(Key("folder/new"), BytesSource(b"."), CREATE)),
    ("scandir", expect.everything),
    ("open", lambda store: store.uploads.begin(KEY)),
])  # fmt: skip
async def test_what_another_machine_removed_meanwhile_is_looked_for_again(local, monkeypatch, name, call):
    await local.write(KEY, BytesSource(b"object"))
    _once(monkeypatch, name, _stale())
    await call(local)
    assert await read_bytes(local, KEY) == b"object"


async def test_who_looks_again_removes_no_folder_that_others_make(local, monkeypatch):
    """Else writers that meet in a folder remove it for each other until none of them tries again."""
    removed = []
    monkeypatch.setattr(os, "rmdir", lambda name, **_: removed.append(name))
    _once(monkeypatch, "replace", _stale())
    await local.write(Key("shared/folder/object"), BytesSource(b"."))
    assert removed == []


async def test_a_folder_that_is_gone_for_good_is_said_so(local, monkeypatch):
    def stale(*args, **kwargs):
        raise _stale()

    monkeypatch.setattr(os, "open", stale)
    with expect.failure(Kind.CHANGED) as caught:
        await local.stat(KEY)
    assert "file server" in caught.value.message


async def test_a_link_whose_reply_was_lost_is_found_to_be_made(local, monkeypatch):
    real = os.link

    def twice(*args, **kwargs):
        real(*args, **kwargs)
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", twice)
    await local.write(KEY, BytesSource(b"mine"), CREATE)
    with expect.failure(Kind.EXISTS):
        await local.write(KEY, BytesSource(b"other"), CREATE)
    assert await read_bytes(local, KEY) == b"mine"


async def test_a_file_deleted_while_it_was_open_is_nobodys(layered, root):
    for name in (SILLY, f"inner/{SILLY}"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"deleted")
        for call in (layered.read(Key(name)), layered.write(Key(name), BytesSource(b"."))):
            with expect.failure(Kind.INVALID_KEY):
                await call
    (root / "inner/.nfs-notes").write_bytes(b"an ordinary name")
    assert [entry.key for entry in await expect.everything(layered)] == ["inner/.nfs-notes"]


async def test_between_the_two_steps_of_a_replacement_a_reader_waits(mounted, root):
    """The old version is set aside under another name before the new one comes."""
    await mounted.write(KEY, BytesSource(b"old"))
    (root / KEY).rename(root / "folder" / SILLY)
    reading = asyncio.ensure_future(read_bytes(mounted, KEY))
    await asyncio.sleep(0.05)
    (root / KEY).write_bytes(b"new")
    assert await reading == b"new"


async def test_what_is_missing_on_a_mount_is_missed_at_once(mounted):
    await mounted.write(KEY, BytesSource(b"."))
    begun = time.monotonic()
    with expect.failure(Kind.NOT_FOUND):
        await mounted.stat(Key("folder/missing"))
    with expect.failure(Kind.NOT_FOUND):
        await mounted.stat(Key("missing/missing"))
    assert time.monotonic() - begun < 0.5


async def test_a_lock_on_a_mount_is_waited_for(mounted, monkeypatch):
    old = await mounted.write(KEY, BytesSource(b"old"))
    held = Held(monkeypatch, "replace")
    first = asyncio.ensure_future(mounted.write(KEY, BytesSource(b"first"), IfMatch(old.etag)))
    await held.reached.wait()
    second = asyncio.ensure_future(mounted.write(KEY, BytesSource(b"second"), IfMatch(old.etag)))
    await asyncio.wait([second], timeout=0.2)
    assert not second.done()
    held.go.set()
    await first
    with expect.failure(Kind.CHANGED):
        await second


@pytest.mark.parametrize(
    ("number", "words"), [("EIO", "file server"), ("ETIMEDOUT", "file server"), ("ENOLCK", "nolock")]
)
async def test_every_error_of_a_file_server_has_its_words(mounted, monkeypatch, number, words):
    code = getattr(errno, number)
    _once(monkeypatch, "open", OSError(code, os.strerror(code)))
    with expect.failure(Kind.UNAVAILABLE) as caught:
        await mounted.write(KEY, BytesSource(b"."))
    assert words in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is taken for somebody else")
async def test_root_that_is_taken_for_nobody_is_told_so(mounted, root, monkeypatch):
    _once(monkeypatch, "open", PermissionError(errno.EACCES, "Permission denied"))
    with expect.failure(Kind.FORBIDDEN) as caught:
        await mounted.write(KEY, BytesSource(b"."))
    assert "root_squash" in caught.value.message


async def test_a_full_disk_reported_once_more_when_a_draft_is_closed_is_no_second_error(
    local, monkeypatch, root
):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await local.write(Key("other"), BytesSource(b"."))
    real = os.close

    def close(file):
        named = str(Path(f"/proc/self/fd/{file}").readlink())
        real(file)
        if "/drafts/" in named:
            full()

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr(os, "close", close)
    with expect.failure(Kind.NO_SPACE):
        await local.write(KEY, BytesSource(b"."))
    assert list((root / ".shoso/drafts").iterdir()) == []


async def test_a_thread_that_hangs_keeps_neither_its_call_nor_the_store_from_ending(root, monkeypatch):
    monkeypatch.setattr(calls, "PATIENCE", 0.2)
    store = LocalStore(LocalOptions(root))
    held = Held(monkeypatch, "replace")
    with expect.failure(Kind.TIMEOUT):
        await Limits(store, 0.2).write(KEY, BytesSource(b"."))
    assert held.reached.is_set()
    begun = time.monotonic()
    await store.write(Key("other"), BytesSource(b"."))
    await store.close()
    assert time.monotonic() - begun < 10
    hanging = [thread for thread in threading.enumerate() if thread.name.startswith("shoso-file")]
    assert hanging
    assert all(thread.daemon for thread in hanging)
    held.go.set()
    for thread in hanging:
        thread.join(10)
        assert not thread.is_alive()


async def test_calls_one_after_the_other_take_few_threads(local):
    """Each thread has memory of its own."""
    await local.write(KEY, BytesSource(b"." * 64 * CHUNK))
    for _ in range(20):
        async with await local.read(KEY) as reading:
            async for _ in reading.body:
                pass
    assert len(local.calls._threads._threads) < 8
