"""What was in the source is in the destination, whichever way it went."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.transfer.ends import (
    EVERY_WAY,
    KIB,
    SMALL_PARTS,
    close,
    content,
    digests,
    fill,
    folder,
    local,
    memory,
    pending,
    some_bytes,
)  # fmt: skip

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind
from shoso.transfer import Selection, Unchanged, copy

pytestmark = pytest.mark.usefixtures("unsynced")


def opened(kind, path):
    return memory() if kind == "memory" else {"local": local, "folder": folder}[kind](path)


@pytest.fixture(params=["memory-memory", "folder-local", "local-folder", "folder-folder", "local-memory"])
async def ends(request, tmp_path):
    """Source and destination."""
    src, dst = (opened(kind, tmp_path / str(number)) for number, kind in enumerate(request.param.split("-")))
    yield src, dst
    await close(src, dst)


async def test_a_folder_arrives_whole(ends):
    src, dst = ends
    await fill(src, EVERY_WAY)
    report = await copy(src, dst, Selection(), SMALL_PARTS)
    assert await content(dst) == digests(EVERY_WAY)
    assert await pending(dst) == []
    assert (report.copied, report.skipped, report.failed) == (len(EVERY_WAY), 0, 0)
    assert report.sent == sum(map(len, EVERY_WAY.values()))


async def test_a_folder_becomes_another(ends):
    src, dst = ends
    await fill(
        src, {f"run/{path}": data for path, data in EVERY_WAY.items()} | {"running": b"no", "other/x": b"no"}
    )
    await fill(dst, {"to/mine": b"stays"})
    await copy(src, dst, Selection(Key("run"), Key("to/here")), SMALL_PARTS)
    assert await content(dst, "to/here") == digests(EVERY_WAY)
    assert set(await content(dst, "to")) == {f"here/{path}" for path in EVERY_WAY} | {"mine"}


@pytest.mark.parametrize("size", [0, 10, 300 * KIB])
async def test_an_object_becomes_another(ends, size):
    src, dst = ends
    await fill(src, {"a/b": some_bytes(size)})
    await copy(src, dst, Selection(Key("a/b"), Key("c")), SMALL_PARTS)
    await copy(src, dst, Selection(Key("a/b")), SMALL_PARTS)
    assert await content(dst) == digests({"c": some_bytes(size), "b": some_bytes(size)})


async def test_what_is_there_is_replaced(ends):
    src, dst = ends
    await fill(src, EVERY_WAY)
    await fill(dst, dict.fromkeys(EVERY_WAY, b"old"))
    await copy(src, dst, Selection(), SMALL_PARTS)
    assert await content(dst) == digests(EVERY_WAY)


async def test_only_what_is_selected_is_copied(ends):
    src, dst = ends
    await fill(src, {"d/a.py": b"1", "d/b.txt": b"2", "d/x/c.py": b"3", "d/x/y/d.py": b"4"})
    await copy(src, dst, Selection(Key("d"), include=("*.py",), exclude=("x/y",)))
    assert set(await content(dst)) == {"a.py", "x/c.py"}


async def test_what_isnt_there_is_said_to_be_missing(ends):
    src, dst = ends
    await fill(src, {"a": b"."})
    with expect.failure(Kind.NOT_FOUND):
        await copy(src, dst, Selection(Key("b/c")))
    assert await content(dst) == {}


async def test_an_empty_root_is_no_error(ends):
    src, dst = ends
    assert (await copy(src, dst, Selection())).copied == 0


async def test_a_dry_run_copies_nothing(ends):
    src, dst = ends
    await fill(src, EVERY_WAY)
    report = await copy(src, dst, Selection(), replace(SMALL_PARTS, dry_run=True))
    assert (report.copied, report.sent) == (len(EVERY_WAY), sum(map(len, EVERY_WAY.values())))
    assert await content(dst) == {}


async def test_the_same_bytes_are_not_sent_again():
    src, dst = memory(), memory()
    await fill(src, EVERY_WAY)
    await copy(src, dst, Selection(), SMALL_PARTS)
    again = await copy(src, dst, Selection(), SMALL_PARTS)
    assert (again.copied, again.skipped, again.sent) == (0, len(EVERY_WAY), 0)
    await src.write(Key("f0/g0/000"), BytesSource(b"new"))
    again = await copy(src, dst, Selection(), SMALL_PARTS)
    assert (again.copied, again.skipped, again.sent) == (1, len(EVERY_WAY) - 1, 3)
    assert await read_bytes(dst, Key("f0/g0/000")) == b"new"


async def test_the_same_bytes_are_sent_again_to_whoever_wants_it():
    src, dst = memory(), memory()
    await fill(src, EVERY_WAY)
    await copy(src, dst, Selection(), SMALL_PARTS)
    again = await copy(src, dst, Selection(), replace(SMALL_PARTS, unchanged=Unchanged.SEND))
    assert (again.copied, again.skipped) == (len(EVERY_WAY), 0)


async def test_a_store_is_copied_within_itself():
    store = memory()
    await fill(store, {f"a/{path}": data for path, data in EVERY_WAY.items()})
    await copy(store, store, Selection(Key("a"), Key("b")), SMALL_PARTS)
    assert await content(store, "b") == digests(EVERY_WAY)
    await copy(store, store, Selection(Key("a/f0/g0/000")))
    await copy(store, store, Selection(Key("a/f0"), Key("a")), SMALL_PARTS)
    assert await content(store, "a/g1") == await content(store, "b/f0/g1")


@pytest.mark.parametrize(("key", "to"), [("", "a"), ("a", "a"), ("a", "a/b"), ("a/x", "a/x")])
async def test_nothing_is_copied_into_itself(key, to, tmp_path):
    for src, dst in ((same := memory(), same), (local(tmp_path), folder(tmp_path))):
        await fill(src, {"a/x": b"x"})
        with expect.failure(Kind.INVALID):
            await copy(src, dst, Selection(Key(key), Key(to)))
        assert await content(src) == digests({"a/x": b"x"})
        await close(src, dst)


async def test_a_folder_is_not_copied_into_one_of_its_own_by_another_name(tmp_path):
    src, dst = folder(tmp_path), folder(tmp_path / "a" / "b")
    await fill(src, {"a/x": b"x"})
    with expect.failure(Kind.INVALID):
        await copy(src, dst, Selection(Key("a"), Key("c")))
    await copy(src, dst, Selection(Key("a/x"), Key("c")))
    await close(src, dst)


async def test_types_travel():
    src, dst = memory(), memory()
    for size in (10, 150 * KIB, 300 * KIB):
        await src.write(Key(f"{size}"), BytesSource(bytes(size)), content_type="x/y")
    await copy(src, dst, Selection(), SMALL_PARTS)
    assert [(await dst.stat(meta.key)).content_type async for meta in dst.list(Key(""))] == ["x/y"] * 3
