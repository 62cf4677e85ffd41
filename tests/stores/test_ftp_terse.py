"""vsftpd, which has neither MLST nor MLSD: everything works but that listings tell the time to the minute."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from tests.conformance.sources import Endless
from tests.servers import ftpd

from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import FromTo, ObjectMeta, Prefix
from shoso.errors import Kind, NotFound, StoreError
from shoso.layers import standard
from shoso.stores import open_store
from shoso.stores.ftp.terse import found_in

MIB = 1024 * 1024
NAMES = [" lead", "trail ", ".hidden", "[1]/x", "日本語/倉.bin", "a  b", "-dash", "~", "a -> b", "n" * 255]


@pytest.fixture
async def opened():
    """The store, and the way around it."""
    target = ftpd.fresh_terse()
    store = standard(open_store(target.uri, target.environment))
    yield store, target
    await store.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_comes_back_as_it_went_in(opened, name):
    store, target = opened
    await store.write(Key(name), BytesSource(name.encode()))
    assert await read_bytes(store, Key(name)) == name.encode() == target.get(name)
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == [name]
    await store.delete([Key(name)])
    assert [entry async for entry in store.list(ROOT)] == []


async def test_what_others_put_is_listed_and_read(opened):
    store, target = opened
    for name in ("a/b", "a/c", "d"):
        target.put(name, name.encode())
    found = [entry async for entry in store.list(ROOT)]
    assert [(type(entry), entry.key) for entry in found] == [(Prefix, "a"), (ObjectMeta, "d")]
    meta = await store.stat(Key("a/b"))
    assert meta.size == 3
    assert abs(meta.modified - time.time()) < 5
    [listed, _] = [entry async for entry in store.list(Key("a"))]
    assert 0 <= meta.modified - listed.modified < 61


async def test_a_large_object_is_whole_and_read_from_its_middle(opened):
    store, _ = opened
    await store.write(Key("large"), Endless(20 * MIB))
    whole = await read_bytes(store, Key("large"))
    assert len(whole) == 20 * MIB
    assert await read_bytes(store, Key("large"), FromTo(5 * MIB, 5 * MIB + 10)) == whole[5 * MIB :][:10]


async def test_an_upload_in_parts_is_joined(opened):
    store, target = opened
    ref = await store.uploads.begin(Key("run/model"))
    parts = [await store.uploads.put(ref, number, BytesSource(b"%d" % number * 1000)) for number in (1, 2, 3)]
    assert await store.uploads.parts(ref) == parts
    assert [ref async for ref in store.uploads.pending(ROOT)] == [ref]
    await store.uploads.finish(ref, parts)
    assert target.get("run/model") == b"1" * 1000 + b"2" * 1000 + b"3" * 1000


async def test_what_is_missing_is_not_found_and_folders_are_none(opened):
    store, target = opened
    target.put("folder/there", b".")
    for missing in ("missing", "folder", "folder/missing", "folder/there/below"):
        with pytest.raises(NotFound):
            await store.stat(Key(missing))
        with pytest.raises(NotFound):
            await store.read(Key(missing))
    assert [entry async for entry in store.list(Key("missing"))] == []
    assert [entry async for entry in store.list(Key("folder/there"))] == []
    with pytest.raises(StoreError) as caught:
        await store.write(Key("folder"), BytesSource(b"."))
    assert caught.value.kind is Kind.EXISTS


async def test_a_tree_is_deleted(opened):
    store, target = opened
    for number in range(50):
        target.put(f"run/{number % 5}/{number}", b".")
    target.put("other", b".")
    await delete_tree(store, Key("run"))
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == ["other"]


@pytest.mark.parametrize(
    "line",
    [
        b"total 12\r\n",
        b"lrwxrwxrwx    1 0  0   7 Nov 27 12:03 link -> target\r\n",
        b"crw-rw-rw-    1 0  0   1, 3 Nov 27 12:03 null\r\n",
        b"-rw-r--r--    1 0  0   7 Foo 27 12:03 no month\r\n",
        b"-rw-r--r--    1 0  0   7 Nov 31 2025 no day\r\n",
        b"-rw-r--r--    1 0  0   7 Nov 27 12:03 \xff\xfe\r\n",
        b"drwxr-xr-x    1 0  0   7 Nov 27 12:03 ..\r\n",
        bytes(range(256)),
    ],
)
def test_what_is_no_line_of_a_file_or_folder_is_passed_over(line):
    assert found_in(line) is None


def test_a_time_without_a_year_is_within_the_last_twelve_months():
    now = datetime.now(UTC)
    for back in (0, 100, 170):
        then = datetime.fromtimestamp(now.timestamp() - back * 86400, UTC)
        text = then.strftime("-rw-r--r-- 1 0 0 7 %b %d %H:%M name").encode()
        found = found_in(text)
        assert found is not None
        assert found.status.modified == then.replace(second=0, microsecond=0).timestamp()
    old = found_in(b"-rw-r--r--+ 1 user some-group 7 Feb 29  2024 name")
    assert old is not None
    assert old.status.modified == datetime(2024, 2, 29, tzinfo=UTC).timestamp()
