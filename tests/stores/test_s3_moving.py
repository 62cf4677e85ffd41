"""A move on S3 is a copy and a delete: what the copy must not lose, and when nothing may be deleted."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

import pytest
from tests.conformance import expect
from tests.servers import radosgw
from tests.servers.listener import Listener
from tests.stores.s3 import Bucket, store_of

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind
from shoso.stores.s3 import moving
from shoso.stores.s3.body import MIB

OLD, NEW = Key("run/model+ü.bin"), Key("trash/model+ü.bin")
LARGE = os.urandom(11 * MIB + 7)


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


@pytest.mark.parametrize("parts", [False, True], ids=["at once", "in parts"])
async def test_a_copy_has_all_that_the_object_had(bucket, monkeypatch, parts):
    if parts:
        monkeypatch.setattr(moving, "WHOLE", 6 * MIB)
        monkeypatch.setattr(moving, "PART", 5 * MIB)
    old, new = ({"Bucket": bucket.name, "Key": f"team/mlflow/{key}"} for key in (OLD, NEW))
    async with store_of(bucket.uri, radosgw.environment()) as store:
        await store.write(OLD, BytesSource(LARGE), content_type="text/x-weights")
        described = {"Metadata": {"team": "vision"}, "CacheControl": "no-store", "ContentLanguage": "de"}
        bucket.client.copy_object(
            **old, CopySource=old, MetadataDirective="REPLACE", ContentType="text/x-weights", **described
        )
        tags = [
            {"Key": "shoso-digest", "Value": f"{digest(LARGE)}/{(await store.stat(OLD)).etag}"},
            {"Key": "kept", "Value": "for a year"},
        ]
        bucket.client.put_object_tagging(**old, Tagging={"TagSet": tags})
        assert (await store.stat(OLD)).digest == digest(LARGE)
        await store.move([(OLD, NEW)])
        moved = await store.stat(NEW)
        assert (moved.digest, moved.content_type, moved.size) == (digest(LARGE), "text/x-weights", len(LARGE))
        assert await read_bytes(store, NEW) == LARGE
    head = bucket.client.head_object(**new)
    assert {name: head[name] for name in described} == {
        **described, "Metadata": {"team": "vision", "shoso-digest": digest(LARGE)},
    }  # fmt: skip
    assert tags[1] in bucket.client.get_object_tagging(**new)["TagSet"]
    assert bucket.names() == {NEW}
    assert bucket.pending() == []


async def test_a_copy_mocked_that_fails_behind_its_200_deletes_nothing():
    """No server here says 200 and then an error, as S3 does."""
    asked: list[bytes] = []
    failed = b"<Error><Code>InternalError</Code><Message>We met an error.</Message></Error>"

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[0])
        body, length = (b"", 5) if head.startswith(b"HEAD") else (failed, len(failed))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % length + body)
        await writer.drain()

    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(Listener(serve))
        settings = radosgw.environment(listener.port)
        store = await stack.enter_async_context(store_of("s3://bucket", settings))
        with expect.failure(Kind.UNAVAILABLE):
            await store.move([(OLD, NEW)])
    assert asked == [b"HEAD", b"PUT"]
