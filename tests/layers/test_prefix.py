"""prefix: a store seen from one of its folders; what lies outside can't be named."""

from __future__ import annotations

import pytest
from tests.conformance import expect
from tests.layers.stubs import Limited, filled

from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, order, page, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, FromTo, IfMatch, UploadRef
from shoso.errors import Kind
from shoso.layers import rooted

FOLDER = Key("1/run/artifacts")
OUTSIDE = {
    "1__run__artifacts2__a": b"beside",
    "1__run__meta": b"above",
    "a": b"far away",
    "2__b": b"far away",
}
OUTSIDE_KEYS = {name.replace("__", "/") for name in OUTSIDE}
ESCAPES = ["..", "../meta", "../../../a", "a/../../meta", "/a", "", "//a", "./a", "%2e%2e/meta", "..\\meta"]


@pytest.fixture
async def inner():
    """A store with something outside the folder."""
    return await filled(Limited(), **OUTSIDE)


@pytest.fixture
def store(inner):
    """The store seen from the folder."""
    return rooted(inner, FOLDER)


async def test_keys_are_taken_below_the_folder_and_shown_without_it(inner, store):
    written = await store.write(Key("model/a"), BytesSource(b"12345"))
    assert written.key == "model/a"
    assert set(inner.objects) == {*OUTSIDE_KEYS, f"{FOLDER}/model/a"}
    found = await store.stat(Key("model/a"))
    assert (found.key, found.size, found.etag) == ("model/a", 5, written.etag)
    async with await store.read(Key("model/a"), FromTo(1, 3), written.etag) as reading:
        assert (reading.meta.key, reading.start, reading.stop) == ("model/a", 1, 3)
        assert b"".join([bytes(data) async for data in reading.body]) == b"23"
    await store.delete([Key("model/a")])
    assert set(inner.objects) == OUTSIDE_KEYS


async def test_modes_are_handed_on(store):
    first = await store.write(Key("a"), BytesSource(b"1"), CREATE)
    with expect.failure(Kind.EXISTS):
        await store.write(Key("a"), BytesSource(b"2"), CREATE)
    await store.write(Key("a"), BytesSource(b"3"), IfMatch(first.etag), "text/plain")
    assert (await store.stat(Key("a"))).content_type == "text/plain"


async def test_listings_show_what_is_below_only(store):
    for name in ("a", "b/c", "b/d/e", "z"):
        await store.write(Key(name), BytesSource(b"."))
    assert [order(entry) async for entry in store.list(ROOT)] == ["a", "b/", "z"]
    assert [order(entry) async for entry in store.list(ROOT, deep=True)] == ["a", "b/c", "b/d/e", "z"]
    assert [order(entry) async for entry in store.list(Key("b"))] == ["b/c", "b/d/"]
    assert [order(entry) async for entry in store.list(ROOT, True, "b/c")] == ["b/d/e", "z"]
    assert [order(entry) async for entry in store.list(ROOT, False, "a")] == ["b/", "z"]
    assert [order(entry) async for entry in store.list(ROOT, False, "")] == ["a", "b/", "z"]
    first, after = await page(store, ROOT, deep=True, limit=2)
    second, end = await page(store, ROOT, deep=True, after=after, limit=2)
    assert [entry.key for entry in first + second] == ["a", "b/c", "b/d/e", "z"]
    assert end is None


async def test_uploads_are_below_too(inner, store):
    ref = await store.uploads.begin(Key("a"))
    assert ref.key == "a"
    other = await inner.uploads.begin(Key("2/b"))
    assert [found async for found in store.uploads.pending(ROOT)] == [ref]
    part = await store.uploads.put(ref, 1, BytesSource(b"part"))
    assert await store.uploads.parts(ref) == [part]
    assert (await store.uploads.finish(ref, [part])).key == "a"
    assert await read_bytes(inner, Key(f"{FOLDER}/a")) == b"part"
    again = await store.uploads.begin(Key("b"))
    await store.uploads.abort(again)
    assert [found async for found in inner.uploads.pending(ROOT)] == [other]


async def test_an_upload_outside_cant_be_touched(inner, store):
    other = await inner.uploads.begin(Key("2/b"))
    part = await inner.uploads.put(other, 1, BytesSource(b"."))
    for key in ("2/b", "../../../2/b"):
        ref = UploadRef(Key(key), other.id)
        for call in (
            lambda ref=ref: store.uploads.put(ref, 1, BytesSource(b".")),
            lambda ref=ref: store.uploads.parts(ref),
            lambda ref=ref: store.uploads.finish(ref, [part]),
            lambda ref=ref: store.uploads.abort(ref),
        ):
            with expect.failure(Kind.NOT_FOUND, Kind.INVALID_KEY):
                await call()
    assert await inner.uploads.parts(other) == [part]


@pytest.mark.parametrize("name", ESCAPES)
async def test_no_key_leads_out(inner, store, name):
    before = dict(inner.objects)
    for call in (
        lambda: store.stat(Key(name)),
        lambda: store.read(Key(name)),
        lambda: store.write(Key(name), BytesSource(b"overwritten")),
        lambda: store.delete([Key(name)]),
        lambda: store.uploads.begin(Key(name)),
    ):
        with expect.allowed(Kind.INVALID_KEY, Kind.NOT_FOUND):
            await call()
    for key in OUTSIDE_KEYS:
        assert inner.objects[Key(key)] == before[Key(key)]
    with expect.allowed(Kind.INVALID_KEY):
        found = {entry.key async for entry in store.list(Key(name), deep=True)}
        assert not any(keyed in OUTSIDE_KEYS for keyed in found)


@pytest.mark.parametrize("after", ["", "..", "../../../a", "/", "zzz"])
async def test_no_cursor_leads_out(store, after):
    await store.write(Key("m"), BytesSource(b"."))
    assert {entry.key async for entry in store.list(ROOT, True, after)} <= {"m"}


async def test_deleting_a_tree_stays_inside(inner, store):
    await store.write(Key("b/c"), BytesSource(b"."))
    await delete_tree(store, ROOT)
    assert set(inner.objects) == OUTSIDE_KEYS


async def test_an_error_speaks_of_the_key_that_was_asked_for(store):
    with expect.failure(Kind.NOT_FOUND) as caught:
        await store.stat(Key("model/a"))
    assert caught.value.key in {"model/a", f"{FOLDER}/model/a"}
    assert "model/a" in caught.value.message


async def test_the_root_of_the_store_needs_no_layer(inner):
    assert rooted(inner, ROOT) is inner


async def test_folders_in_folders(inner):
    nested = rooted(rooted(inner, Key("1/run")), Key("artifacts2"))
    assert await read_bytes(nested, Key("a")) == b"beside"
