"""What Amazon, Cloudflare (R2) and Backblaze (B2) ask for, that Ceph's gateway doesn't."""

from __future__ import annotations

import asyncio
import json
import os
from itertools import islice

import pytest
import requests
from tests.servers import radosgw
from tests.servers.listener import Listener
from tests.stores.s3 import Bucket, store_of

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import IfMatch, UploadRef
from shoso.errors import StoreError
from shoso.stores import open_store
from shoso.stores.s3.account import Account
from shoso.stores.s3.body import MIB
from shoso.stores.s3.options import parse
from shoso.stores.s3.store import S3Store
from shoso.stores.s3.writing import PARTS_MAX, sizes

OBJECT = Key("run/model.bin")
LARGE = os.urandom(9 * MIB + 7)
LOCK = {"MLFLOW_S3_UPLOAD_EXTRA_ARGS": json.dumps({"ObjectLockLegalHoldStatus": "ON"})}
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


async def _heard(call, r2: bool = False, **more: str) -> str:
    """The head of the request that a store makes; the answer is a refusal."""
    heads = []

    async def serve(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()

    async with Listener(serve) as listener:
        settings = radosgw.environment(listener.port)
        account = Account(parse("s3://bucket", {**settings, **more}))
        account.r2 = r2
        store = S3Store(account)
        with pytest.raises(StoreError):
            await call(store)
        await store.close()
    return heads[0]


@pytest.mark.parametrize("data", [b".", LARGE[: 8 * MIB + 1]], ids=len)
async def test_what_is_locked_mocked_comes_with_its_md5(data):
    """Amazon refuses "Put Object" and "Put Part" with Object Lock parameters without one."""
    whole = await _heard(lambda store: store.write(OBJECT, BytesSource(data[: 8 * MIB])), **LOCK)
    part = await _heard(
        lambda store: store.uploads.put(UploadRef(OBJECT, "id"), 1, BytesSource(data)), **LOCK
    )
    for head in (whole, part):
        assert "\r\ncontent-md5: " in head
    assert "\r\nx-amz-object-lock-legal-hold: on" in whole


def test_what_is_locked_is_signed_for_nobody():
    assert open_store("s3://bucket", {**KEYS, **LOCK}).signer is None


@pytest.mark.parametrize(("r2", "said"), [(False, "abc"), (True, '"abc"')])
async def test_an_etag_mocked_is_in_quotes_where_they_are_taken(r2, said):
    head = await _heard(lambda store: store.write(OBJECT, BytesSource(b"."), IfMatch("abc")), r2)
    assert f"\r\nif-match: {said}\r\n" in head
    head = await _heard(lambda store: store.read(OBJECT, if_match="abc"), r2)
    assert '\r\nif-match: "abc"\r\n' in head


async def test_a_large_part_for_r2_has_no_signed_chunks(bucket):
    account = Account(parse(bucket.uri, radosgw.environment()))
    account.r2 = True
    store = S3Store(account)
    ref = await store.uploads.begin(OBJECT)
    parts = [await store.uploads.put(ref, 1, BytesSource(LARGE))]
    await store.uploads.finish(ref, parts)
    assert await read_bytes(store, OBJECT) == LARGE
    await store.close()


def test_parts_for_r2_are_of_one_size():
    assert len(set(islice(sizes(None, even=True), PARTS_MAX))) == 1
    endpoint = {"MLFLOW_S3_ENDPOINT_URL": "https://0abc.eu.r2.cloudflarestorage.com"}
    assert Account(parse("s3://bucket", {**KEYS, **endpoint})).r2
    assert not Account(parse("s3://bucket", KEYS)).r2


def test_b2_promises_no_conditions():
    endpoint = {"MLFLOW_S3_ENDPOINT_URL": "https://s3.us-west-004.backblazeb2.com"}
    for uri, more in (("b2://bucket@s3.us-west-004.backblazeb2.com/path", {}), ("s3://bucket", endpoint)):
        able = open_store(uri, {**KEYS, **more}).capabilities
        assert not able.create
        assert not able.if_match
    assert open_store("s3://bucket", KEYS).capabilities.create


async def test_a_signed_read_names_owner_and_payer_too(bucket):
    settings = {
        **radosgw.environment(),
        "MLFLOW_S3_EXPECTED_BUCKET_OWNER": "111122223333",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS": json.dumps({"RequestPayer": "requester"}),
    }
    bucket.put(OBJECT, b"paid")
    async with store_of(bucket.uri, settings) as store:
        signed = await store.signer.read(OBJECT, 60)
    assert "x-amz-request-payer=requester" in signed.url
    assert "x-amz-expected-bucket-owner=111122223333" in signed.url
    reply = await asyncio.to_thread(requests.get, signed.url, timeout=20)
    assert reply.content == b"paid"
