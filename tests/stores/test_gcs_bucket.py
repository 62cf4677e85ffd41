"""A folder in a bucket that others use as well: what is ours, what is theirs, what is left behind."""

from __future__ import annotations

import asyncio
import gzip

import pytest
from tests.servers import gcs

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Prefix
from shoso.errors import Kind, StoreError
from shoso.layers import standard
from shoso.stores import open_store

KEY = Key("run/weights.bin")
LARGE = bytes(range(256)) * (9 * 1024 * 4)


@pytest.fixture
def bucket():
    """An empty bucket."""
    return gcs.bucket()


@pytest.fixture
async def store(bucket):
    """A folder of it."""
    target = gcs.target(bucket, "team/artifacts")
    store = open_store(target.uri, target.environment)
    yield store
    await store.close()


def _names(bucket) -> list[str]:
    return sorted(blob.name for blob in bucket.list_blobs())


async def _keys(store, deep=True) -> list[str]:
    return [entry.key for entry in [entry async for entry in store.list(ROOT, deep)]]


async def test_the_folder_is_where_mlflow_looks(bucket, store):
    await store.write(KEY, BytesSource(b"bytes"))
    assert _names(bucket) == ["team/artifacts/run/weights.bin"]
    bucket.blob("team/artifacts/run/MLmodel").upload_from_string("theirs")
    assert await _keys(store) == ["run/MLmodel", "run/weights.bin"]


async def test_nothing_outside_the_folder_is_seen_or_touched(bucket, store):
    outside = ["other", "team/artifacts", "team/artifacts-2/x", "team/artifacts.txt", "team/b"]
    for name in outside:
        bucket.blob(name).upload_from_string("theirs")
    await store.write(KEY, BytesSource(b"bytes"))
    assert await _keys(store) == [KEY]
    await delete_tree(store, Key("run"))
    assert _names(bucket) == sorted(outside)


async def test_what_no_key_can_name_is_not_shown(bucket, store):
    for name in ("", "run/", "run//double", "run/../up", "a\\..\\b", ".shoso/uploads/x", ".shoso/else"):
        bucket.blob(f"team/artifacts/{name}").upload_from_string("theirs")
    await store.write(KEY, BytesSource(b"bytes"))
    assert await _keys(store) == [KEY]
    assert [entry async for entry in store.list(ROOT)] == [Prefix(Key("run"))]


@pytest.mark.parametrize("key", [".shoso", ".shoso/uploads", ".shoso/uploads/x/00001"])
async def test_what_the_store_keeps_for_itself_is_no_key(store, key):
    async def listed():
        return [entry async for entry in store.list(Key(key))]

    for call in (
        store.write(Key(key), BytesSource(b"x")), store.read(Key(key)), store.stat(Key(key)),
        store.delete([Key(key)]), store.uploads.begin(Key(key)), listed(),
    ):  # fmt: skip
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.kind is Kind.INVALID_KEY


async def test_more_parts_than_are_composed_at_once_become_one_object(bucket, store):
    ref = await store.uploads.begin(KEY, content_type="text/plain")
    pieces = [b"%04d," % number for number in range(1, 71)]
    await asyncio.gather(
        *(store.uploads.put(ref, number, BytesSource(piece)) for number, piece in enumerate(pieces, 1))
    )
    meta = await store.uploads.finish(ref, await store.uploads.parts(ref))
    assert await read_bytes(store, KEY) == b"".join(pieces)
    assert (meta.size, meta.content_type) == (350, "text/plain")
    assert _names(bucket) == ["team/artifacts/run/weights.bin"]


async def test_an_upload_leaves_nothing_behind(bucket, store):
    finished, aborted = await store.uploads.begin(KEY), await store.uploads.begin(KEY)
    for ref in (finished, aborted):
        await store.uploads.put(ref, 1, BytesSource(b"one"))
        await store.uploads.put(ref, 1, BytesSource(b"uno"))
        await store.uploads.put(ref, 2, BytesSource(LARGE))
    await store.uploads.finish(finished, (await store.uploads.parts(finished))[:1])
    await store.uploads.abort(aborted)
    assert _names(bucket) == ["team/artifacts/run/weights.bin"]


async def test_a_part_that_comes_when_the_upload_is_over_goes_too(bucket, store, monkeypatch):
    ref = await store.uploads.begin(KEY)
    real, asked = store.uploads._about, []

    async def about(op, ref):
        item = await real(op, ref)
        if op == "put" and not asked:
            asked.append(op)
            await store.uploads.abort(ref)
        return item

    monkeypatch.setattr(store.uploads, "_about", about)
    with pytest.raises(StoreError) as caught:
        await store.uploads.put(ref, 1, BytesSource(b"late"))
    assert caught.value.kind is Kind.NOT_FOUND
    assert _names(bucket) == []


async def test_a_finish_whose_parts_are_gone_finds_the_object(store):
    ref = await store.uploads.begin(KEY)
    parts = [await store.uploads.put(ref, 1, BytesSource(b"bytes"))]
    meta = await store.uploads.finish(ref, parts)
    assert await store.uploads.finish(ref, parts) == meta
    await store.write(KEY, BytesSource(b"another's"))
    with pytest.raises(StoreError) as caught:
        await store.uploads.finish(ref, parts)
    assert caught.value.kind is Kind.NOT_FOUND


async def test_what_is_stored_as_gzip_comes_as_it_is_stored(bucket, store):
    packed = gzip.compress(b"text" * 1000)
    blob = bucket.blob("team/artifacts/packed")
    blob.content_encoding = "gzip"
    blob.upload_from_string(packed, "text/plain")
    meta = await store.stat(Key("packed"))
    assert meta.size == len(packed)
    assert await read_bytes(standard(store), Key("packed")) == packed


async def test_the_digest_travels_with_the_object(bucket, store):
    for data in (b"small", LARGE):
        written = await store.write(KEY, BytesSource(data))
        assert bucket.get_blob("team/artifacts/run/weights.bin").metadata == {"shoso-digest": digest(data)}
        async with await store.read(KEY) as reading:
            assert reading.meta.digest == digest(data)
            assert (reading.meta.etag, reading.meta.size) == (written.etag, written.size)
    bucket.blob("team/artifacts/run/weights.bin").upload_from_string("another's")
    assert (await store.stat(KEY)).digest is None


async def test_a_listing_of_several_pages_is_whole(bucket, store, monkeypatch):
    monkeypatch.setattr("shoso.stores.gcs.store.PAGE", 3)
    keys = [f"{number:02}/x" for number in range(10)] + [f"file-{number:02}" for number in range(10)]
    await asyncio.gather(*(store.write(Key(key), BytesSource(b"")) for key in keys))
    assert await _keys(store) == keys
    assert await _keys(store, deep=True) == keys


async def test_deletes_run_side_by_side_and_name_what_failed(store):
    keys = [Key(f"k/{number}") for number in range(100)]
    await asyncio.gather(*(store.write(key, BytesSource(b"")) for key in keys))
    with pytest.raises(StoreError) as caught:
        await store.delete([*keys[:50], Key(".shoso/a"), Key("missing"), *keys[50:]])
    assert caught.value.kind is Kind.INVALID_KEY
