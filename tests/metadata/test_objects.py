"""The record of stored objects: one row each, of the latest write, found by root and key and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.metadata import places

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.metadata import objects
from shoso.metadata.connect import Database
from shoso.metadata.objects import SETTLED, identity, row

KINDS = places.PLACES

ROOT = "s3://bucket/folder"
META = ObjectMeta(Key("1/run/artifacts/model.bin"), 5, 1700000000.25, "tag", "a" * 64)
NOW = 1_700_000_000_000


def found(conn, *keys, root=ROOT):
    rows = objects.known(conn, [identity(root, Key(key)) for key in keys])
    return {(each.root, each.key, each.size, each.modified, each.digest, each.etag) for each in rows.values()}


async def test_what_was_written_is_found_as_it_was(database):
    strange = replace(META, key=Key("1/ñ %/A'\"b"), size=2**53, etag=None, digest="b" * 64)
    await database.write(objects.write, [row(ROOT, META, NOW), row(ROOT, strange, NOW)], [])
    assert await database.read(found, META.key, strange.key, "1/none") == {
        (ROOT, META.key, 5, 1700000000.25, "a" * 64, "tag"),
        (ROOT, strange.key, 2**53, 1700000000.25, "b" * 64, None),
    }


async def test_a_row_is_of_one_key_in_one_root(database):
    await database.write(objects.write, [row(ROOT, META, NOW)], [])
    for key in (META.key.upper(), "1/run/artifacts", META.key + "/x", "run/artifacts/model.bin"):
        assert await database.read(found, key) == set()
    for root in ("s3://bucket", "s3://bucket/folder/1", "s3://Bucket/folder"):
        assert await database.read(found, META.key, root=root) == set()


async def test_a_later_write_replaces_an_earlier_one_whenever_it_comes(database):
    later = replace(META, size=6, etag="later", digest="b" * 64)
    for rows in ([row(ROOT, META, NOW)], [row(ROOT, later, NOW + 1)], [row(ROOT, META, NOW)]):
        await database.write(objects.write, rows, [])
    assert await database.read(found, META.key) == {
        (ROOT, META.key, 6, META.modified, "b" * 64, "later"),
    }


async def test_what_is_gone_is_removed_and_nothing_else(database):
    other = replace(META, key=Key("1/run/artifacts/other"))
    await database.write(objects.write, [row(ROOT, META, NOW), row(ROOT, other, NOW)], [])
    gone = [identity(ROOT, Key(META.key)), identity(ROOT, Key("1/none"))]
    await database.write(objects.write, [], gone)
    assert {key for _, key, *_ in await database.read(found, META.key, other.key)} == {other.key}


async def test_many_at_once(database):
    metas = [replace(META, key=Key(f"1/{number % 7}/{number}"), size=number) for number in range(1300)]
    await database.write(objects.write, [row(ROOT, meta, NOW) for meta in metas], [])
    ids = [identity(ROOT, meta.key) for meta in metas]
    rows = await database.read(objects.known, ids)
    assert [rows[place].size for place in ids] == list(range(1300))
    await database.write(objects.write, [], ids[1:])
    assert len(await database.read(objects.known, ids)) == 1


async def test_a_database_without_the_table_gets_it_and_keeps_it(tmp_path):
    uri = f"sqlite:///{tmp_path}/a.db"
    for _ in range(2):
        opened = Database.open(uri, artifact_root="/a")
        await opened.write(objects.write, [row(ROOT, META, NOW)], [])
        await opened.close()
    opened = Database.open(uri, artifact_root="/a")
    assert len(await opened.read(found, META.key)) == 1
    await opened.close()


def test_ids_have_32_bytes_and_those_of_a_folder_lie_together():
    keys = ["a", "a/b", "a/c", "x" * 1024, "é/" * 300 + "é"]
    ids = [identity(ROOT, Key(key)) for key in keys]
    assert {len(place) for place in ids} == {32}
    assert len(set(ids)) == len(keys)
    assert ids[1][:16] == ids[2][:16] != ids[0][:16]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"modified": 1.0, "digest": None, "content_type": "text/plain"}, True),  # times need not agree
        ({"etag": "other"}, False),
        ({"etag": None}, False),
        ({"etag": ""}, False),
        ({"size": 6}, False),
        ({"key": "elsewhere"}, False),
    ],
)
def test_a_row_describes_the_version_of_its_etag(change, expected):
    assert objects.describes(row(ROOT, META, NOW), replace(META, **change), NOW) is expected


@pytest.mark.parametrize(
    ("change", "age", "expected"),
    [
        ({}, SETTLED + 1, True),
        ({}, SETTLED, False),  # a write in the same second may not have come here yet
        ({"etag": ""}, SETTLED + 1, True),
        ({"etag": "tag"}, SETTLED + 1, False),
        ({"modified": 1700000001.0}, SETTLED + 1, False),
        ({"size": 6}, SETTLED + 1, False),
    ],
)
def test_without_etags_size_and_time_must_do_once_they_have_settled(change, age, expected):
    bare = replace(META, etag=None)
    assert objects.describes(row(ROOT, bare, NOW), replace(bare, **change), NOW + age) is expected
