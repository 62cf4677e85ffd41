"""A move on Google Cloud Storage: in as many calls as Google asks for, and no newer object is deleted."""

from __future__ import annotations

import json

from tests.conformance import expect
from tests.stores.gcs_mock import Mock, refusal, stored

from shoso.core.keys import Key
from shoso.errors import Kind
from shoso.stores import open_store

OLD, NEW = Key("run/a+ü"), Key("trash/a+ü")
PATH = "/storage/v1/b/bucket/o/folder%2Frun%2Fa%2B%C3%BC"
TARGET = PATH.removeprefix("/storage/v1").replace("run", "trash")
MORE = (200, json.dumps({"done": False, "rewriteToken": "next"}), {})
DONE = (200, json.dumps({"done": True}), {})


async def _moved(replies, *kinds):
    """The requests of a move: what no emulator has, an object that takes several calls, is mocked."""
    async with Mock(replies) as mock:
        store = open_store("gs://bucket/folder", {"STORAGE_EMULATOR_HOST": mock.address})
        try:
            if kinds:
                with expect.failure(*kinds):
                    await store.move([(OLD, NEW)])
            else:
                await store.move([(OLD, NEW)])
        finally:
            await store.close()
        return [(seen.method, seen.path, seen.query) for seen in mock.seen]


async def test_a_large_object_mocked_is_rewritten_until_it_is_done_then_deleted_in_that_version():
    look, *asked = await _moved([stored(generation="7"), MORE, MORE, DONE, (204, "", {})])
    version = {"ifSourceGenerationMatch": "7"}
    assert look[:2] == ("GET", PATH)
    assert asked == [
        ("POST", f"{PATH}/rewriteTo{TARGET}", version),
        ("POST", f"{PATH}/rewriteTo{TARGET}", version | {"rewriteToken": "next"}),
        ("POST", f"{PATH}/rewriteTo{TARGET}", version | {"rewriteToken": "next"}),
        ("DELETE", PATH, {"ifGenerationMatch": "7"}),
    ]


async def test_an_object_mocked_that_was_written_meanwhile_stays():
    asked = await _moved([stored(generation="7"), refusal(412), stored(generation="8")], Kind.CHANGED)
    assert [method for method, _, _ in asked] == ["GET", "POST", "GET"]
    asked = await _moved([stored(generation="7"), DONE, refusal(412), stored(generation="8")], Kind.CHANGED)
    assert [method for method, _, _ in asked] == ["GET", "POST", "DELETE", "GET"]


async def test_an_object_mocked_that_another_has_moved_meanwhile_is_moved():
    await _moved([stored(generation="7"), refusal(412), refusal(404), stored(generation="9")])
    await _moved([refusal(404), refusal(404), stored(generation="9")])
    await _moved([refusal(404), refusal(404), refusal(404)], Kind.NOT_FOUND)
