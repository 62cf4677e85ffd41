"""A move on Azure is a copy and a delete: the copy has all that the blob had, and no newer one is deleted."""

from __future__ import annotations

import os

import pytest
from azure.storage.blob import ContentSettings
from tests.conformance import expect
from tests.servers.azurite import container
from tests.stores.azure import environment, store_of

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind
from shoso.stores.azure import moving

OLD, NEW = Key("run/model+ü.bin"), Key("trash/model+ü.bin")
DATA = os.urandom(300_000)


@pytest.mark.parametrize("most", [moving.AT_ONCE, 1], ids=["at once", "in blocks"])
async def test_a_copy_has_all_that_the_blob_had(monkeypatch, most):
    monkeypatch.setattr(moving, "AT_ONCE", most)
    monkeypatch.setattr(moving, "COPIED", 100_001)
    made = container()
    async with store_of(made, environment()) as store:
        await store.write(OLD, BytesSource(DATA))
        old, new = (made.client.get_blob_client(key) for key in (OLD, NEW))
        settings = ContentSettings("text/x-weights", None, "de", None, "no-store")
        old.set_http_headers(settings)
        old.set_blob_metadata({"team": "vision", **old.get_blob_properties().metadata})
        await store.move([(OLD, NEW)])
        moved = await store.stat(NEW)
        assert (moved.digest, moved.content_type, moved.size) == (digest(DATA), "text/x-weights", len(DATA))
        assert await read_bytes(store, NEW) == DATA
    found = new.get_blob_properties()
    assert (found.content_settings.cache_control, found.content_settings.content_language) == (
        "no-store",
        "de",
    )
    assert found.metadata == {"team": "vision", "shosodigest": digest(DATA)}
    assert not old.exists()


async def test_what_is_written_while_a_blob_is_copied_is_not_deleted(monkeypatch):
    made = container()
    async with store_of(made, environment()) as store:
        await store.write(OLD, BytesSource(b"first"))
        remove = store.remove_version

        async def late(*args):
            await store.write(OLD, BytesSource(b"second"))
            await remove(*args)

        monkeypatch.setattr(store, "remove_version", late)
        with expect.failure(Kind.CHANGED):
            await store.move([(OLD, NEW)])
        assert await read_bytes(store, OLD) == b"second"
