"""Batches on the disk: each object as safe as one written alone, whatever happens to the others."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.stores.held import Held
from tests.stores.test_local_links import SECRET, outside, planted

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import Kind, StoreError
from shoso.layers import standard
from shoso.stores.local import LocalOptions, LocalStore
from shoso.stores.local.batches import GROUP

__all__ = ["outside", "planted"]

PROJECT = Path(__file__).parents[2]


def small(key: str, data: bytes) -> SmallObject:
    return SmallObject(ObjectMeta(Key(key), len(data), 0.0, digest=digest(data)), data)


def many(count: int, data: bytes = b"data") -> list[SmallObject]:
    return [small(f"run/{place % 3}/object-{place}", data) for place in range(count)]


def kinds(outcomes) -> list[Kind | None]:
    return [outcome.kind if isinstance(outcome, StoreError) else None for outcome in outcomes]


def drafts(root) -> list[str]:
    return [path.name for path in (root / ".shoso/drafts").iterdir()]


def failing(patch, name: str, number: int, fails):
    """Let `os.<name>` fail where `fails` says so of its first argument."""
    real = getattr(os, name)

    def call(first, *args, **kwargs):
        if fails(first):
            raise OSError(number, os.strerror(number))
        return real(first, *args, **kwargs)

    patch.setattr(os, name, call)


def path_of(file: int) -> str:
    return str(Path(f"/proc/self/fd/{file}").readlink())


# -- one fails --------------------------------------------------------------------------------------------


async def test_a_file_that_cant_be_synced_never_gets_its_name(local, root, monkeypatch):
    synced = iter(range(100))
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, lambda file: "drafts/" in path_of(file) and next(synced) == 3)
        outcomes = await local.batches.write(many(10))
    assert sorted(kinds(outcomes), key=str) == [Kind.UNEXPECTED] + [None] * 9
    lost = next(each.meta.key for each, kind in zip(many(10), kinds(outcomes), strict=True) if kind)
    assert {entry.key for entry in await expect.everything(local)} == {each.meta.key for each in many(10)} - {
        lost
    }
    assert lost in next(outcome.message for outcome in outcomes if isinstance(outcome, StoreError))
    assert drafts(root) == []


async def test_what_lies_in_a_folder_that_cant_be_synced_isnt_acknowledged(local, root, monkeypatch):
    await local.batches.write(many(9))
    with monkeypatch.context() as patch:
        failing(patch, "fsync", errno.EIO, lambda file: path_of(file).endswith("run/1"))
        outcomes = await local.batches.write(many(9))
    assert kinds(outcomes) == [None, Kind.UNEXPECTED, None] * 3
    for each, outcome in zip(many(9), outcomes, strict=True):
        assert isinstance(outcome, ObjectMeta) or each.meta.key in outcome.message


async def test_names_that_the_disk_wont_have_fail_alone_and_leave_no_folder(local, root):
    await local.write(Key("folder/inside"), BytesSource(b"."))
    await local.write(Key("object"), BytesSource(b"."))
    sent = [
        small("a/" + "n" * 256, b"x"),
        small("b/" + "n" * 256 + "/c", b"x"),
        small("folder", b"x"),
        small("object/below", b"x"),
        small("fine/object", b"fine"),
        small("d/e/" + "é" * 128, b"x"),
    ]
    outcomes = await local.batches.write(sent)
    too_long, taken = Kind.INVALID_KEY, Kind.EXISTS
    assert kinds(outcomes) == [too_long, too_long, taken, taken, None, too_long]
    for each, outcome in zip(sent, outcomes, strict=True):
        assert isinstance(outcome, ObjectMeta) or each.meta.key in outcome.message
    assert sorted(path.name for path in root.iterdir()) == [".shoso", "fine", "folder", "object"]
    assert drafts(root) == []


@pytest.mark.usefixtures("planted")
async def test_no_link_is_followed(local, root, outside):
    names = [
        "folder/secret",
        "folder/new",
        "inner/up/outside/new",
        "inner/folder/secret",
        "loop/x",
        "absolute/tmp/x",
    ]
    outcomes = await local.batches.write([small(name, b"x") for name in [*names, "inner/fine"]])
    assert kinds(outcomes) == [Kind.INVALID_KEY] * len(names) + [None]
    assert [path.name for path in outside.iterdir()] == ["secret"]
    found = await local.batches.read([Key(name) for name in ["file", "dangling", "inner/beside", *names]])
    assert set(kinds(found)) == {Kind.INVALID_KEY}
    assert kinds(await local.batches.write([small("file", b"replaced")])) == [None]
    assert (root / "file").read_bytes() == b"replaced"
    assert not (root / "file").is_symlink()
    assert (outside / "secret").read_bytes() == SECRET


async def test_a_disk_that_gets_full_keeps_what_it_acknowledged(small_disk):
    bare = LocalStore(LocalOptions(small_disk / "root"))
    store = standard(bare)
    sent = [small(f"run/{place}", b"%4d" % place * 4096) for place in range(GROUP * 5)]  # 10 MiB onto 8
    outcomes = await store.batches.write(sent)
    assert set(kinds(outcomes)) == {None, Kind.NO_SPACE}
    kept = [each for each, outcome in zip(sent, outcomes, strict=True) if isinstance(outcome, ObjectMeta)]
    assert len(kept) > GROUP
    found = await store.batches.read([each.meta.key for each in kept])
    assert [each.data for each in found] == [each.data for each in kept]
    assert {entry.key for entry in await expect.everything(store)} == {each.meta.key for each in kept}
    assert drafts(small_disk / "root") == []
    await store.delete([each.meta.key for each in kept[:20]])
    assert kinds(await store.batches.write(sent[:10])) == [None] * 10
    await store.close()


async def test_a_file_changed_in_place_has_no_digest_and_one_that_rotted_is_refused(local, layered, root):
    await local.batches.write([small("changed", b"old"), small("rotted", b"whole"), small("c", b"c")])
    (root / "changed").write_bytes(b"new, and longer")
    kept = (root / "rotted").stat()
    with (root / "rotted").open("r+b") as file:
        file.write(b"W")
    os.utime(root / "rotted", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    changed, rotted, other = await layered.batches.read([Key(name) for name in ("changed", "rotted", "c")])
    assert (changed.data, changed.meta.digest) == (b"new, and longer", None)
    assert rotted.kind is Kind.CORRUPT
    assert other.data == b"c"


async def test_what_is_no_file_isnt_there(local, root):
    await local.batches.write(many(1))
    os.mkfifo(root / "pipe")
    assert kinds(await local.batches.read([Key("pipe"), Key("run"), Key("run/0")])) == [Kind.NOT_FOUND] * 3


# -- races ------------------------------------------------------------------------------------------------


async def test_a_folder_removed_before_the_objects_get_their_names_is_made_again(local, monkeypatch):
    await local.write(Key("run/0/other"), BytesSource(b"."))
    held = Held(monkeypatch, "replace")
    writing = asyncio.ensure_future(local.batches.write(many(7)))
    await held.reached.wait()
    await local.delete([Key("run/0/other")])
    held.go.set()
    assert kinds(await writing) == [None] * 7
    assert len(await expect.everything(local)) == 7


async def test_batches_and_deletes_at_once_dont_disturb_each_other(local):
    async def write() -> list[Kind | None]:
        return [kind for _ in range(20) for kind in kinds(await local.batches.write(many(12)))]

    async def delete() -> None:
        for _ in range(40):
            await local.delete([each.meta.key for each in many(12)])

    written, *_ = await asyncio.gather(write(), delete(), delete())
    assert set(written) == {None}


@pytest.mark.parametrize("where", ["pwrite", "fsync", "replace"])
async def test_a_batch_given_up_leaves_nothing_and_names_nothing_late(
    local, root, monkeypatch, descriptors, where
):
    await local.batches.write([small("run/1/object-1", b"old")])
    before = descriptors()
    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", lambda _: None)
        held = Held(patch, where)
        writing = asyncio.ensure_future(local.batches.write(many(GROUP + 3)))
        await held.reached.wait()
        writing.cancel()
        asyncio.get_running_loop().call_later(0.2, held.go.set)
        with pytest.raises(asyncio.CancelledError):
            await writing
    there = {entry.key for entry in await expect.everything(local)}
    # The one call that was stopped goes on; nothing else is named after it.
    assert there <= {"run/1/object-1", "run/0/object-0"}
    assert await read_bytes(local, Key("run/1/object-1")) == b"old"
    assert drafts(root) == []
    assert descriptors() == before


async def test_no_batch_leaves_a_file_open(local, descriptors):
    await local.batches.write(many(GROUP + 10))
    before = descriptors()
    wrong = SmallObject(ObjectMeta(Key("wrong"), 1, 0.0, digest=digest(b"other")), b"x")
    for _ in range(3):
        await local.batches.write([*many(GROUP + 10), wrong, small("run", b"x"), small(".shoso/x", b"x")])
        await local.batches.read([Key("missing"), Key("run"), *(each.meta.key for each in many(9))])
    assert descriptors() == before


async def test_many_batches_at_once_stay_within_the_files_that_may_be_open(local, descriptors):
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, descriptors())
            await asyncio.sleep(0.001)

    watching = asyncio.ensure_future(watch())
    before = descriptors()
    await asyncio.gather(*(local.batches.write(many(GROUP, b"%d" % place)) for place in range(12)))
    watching.cancel()
    assert most - before < 5 * GROUP


# -- kill -9 ----------------------------------------------------------------------------------------------

WRITER = """
import asyncio, sys
from pathlib import Path
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, SmallObject
from shoso.stores.local import LocalOptions, LocalStore

async def main(root):
    store = LocalStore(LocalOptions(Path(root)))
    for turn in range(10**6):
        data = b"%06d" % turn * 700
        meta = lambda place: ObjectMeta(Key(f"run/{place % 5}/{place}"), len(data), 0.0, digest=digest(data))
        outcomes = await store.batches.write([SmallObject(meta(place), data) for place in range(300)])
        assert all(isinstance(outcome, ObjectMeta) for outcome in outcomes), outcomes
        print(turn, flush=True)

asyncio.run(main(sys.argv[1]))
"""


def killed(root, seconds: float) -> int:
    """The last turn that a writer acknowledged before it was killed, so long after the first."""
    command = [sys.executable, "-c", WRITER, str(root)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "0\n"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        return int(["0", *writer.stdout.read().split()][-1])


@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.28, 0.41])
async def test_a_writer_killed_at_any_moment_leaves_every_object_whole(root, seconds):
    acknowledged = killed(root, seconds)
    store = LocalStore(LocalOptions(root))
    found = await standard(store).batches.read([Key(f"run/{place % 5}/{place}") for place in range(300)])
    turns = {int(each.data[:6]) for each in found if each.data == each.data[:6] * 700}
    assert {len(each.data) for each in found} == {4200}
    assert all(each.meta.digest == digest(each.data) for each in found)
    assert turns <= {acknowledged, acknowledged + 1}
    assert len(await expect.everything(store)) == 300
    await store.close()
