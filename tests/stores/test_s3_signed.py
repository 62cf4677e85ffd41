"""Requests that are signed for others: sent by plain HTTP, they do what they say and no more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
import requests
from tests.servers import radosgw
from tests.stores.s3 import Bucket, store_of

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import Part, SignedRequest
from shoso.stores.s3.body import MIB

OBJECT = Key("run/größe + 100%.bin")
ARGS = {
    "ACL": "public-read",
    "CacheControl": "no-store",
    "Metadata": {"Team": "vision"},
    "Tagging": "team=vision&stage=dev",
    "ContentDisposition": "inline",
    "StorageClass": "STANDARD",
}


@pytest.fixture
def bucket():
    """An empty one."""
    made = Bucket()
    yield made
    made.close()


@pytest.fixture(params=["s3v4", "s3"])
async def store(request, bucket):
    """A store whose requests are signed in either way."""
    settings = {**radosgw.environment(), "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION": request.param}
    async with store_of(bucket.uri, settings) as opened:
        yield opened


async def _send(signed: SignedRequest, data: bytes | None = None, **headers: str) -> requests.Response:
    return await asyncio.to_thread(
        requests.request,
        signed.method,
        signed.url,
        headers={**signed.headers, **headers},
        data=data,
        timeout=20,
    )


async def test_a_signed_read_is_saved_under_its_own_name(store):
    await store.write(OBJECT, BytesSource(b"signed"))
    signed = await store.signer.read(OBJECT, 60)
    assert (signed.method, dict(signed.headers)) == ("GET", {})
    reply = await _send(signed)
    assert (reply.status_code, reply.content) == (200, b"signed")
    disposition = reply.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="gr??e + 100%.bin"')
    assert "filename*=UTF-8''gr%C3%B6%C3%9Fe%20%2B%20100%25.bin" in disposition
    part = await _send(signed, range="bytes=1-2")
    assert (part.status_code, part.content) == (206, b"ig")


async def test_a_signed_read_is_good_for_its_object_and_method_only(store, bucket):
    await store.write(OBJECT, BytesSource(b"signed"))
    bucket.put("other", b"other")
    signed = await store.signer.read(OBJECT, 60)
    path = signed.url.partition("?")[0].rpartition("/run/")
    for wrong in (
        replace(signed, url=signed.url.replace(f"{path[1]}{path[2]}", "/other")),
        replace(signed, method="PUT"),
        replace(signed, method="DELETE"),
    ):
        assert (await _send(wrong)).status_code == 403
    assert bucket.get("other") == b"other"


async def test_a_signed_request_expires(store):
    await store.write(OBJECT, BytesSource(b"signed"))
    signed = await store.signer.read(OBJECT, 1)
    assert (await _send(signed)).status_code == 200
    await asyncio.sleep(2.5)
    assert (await _send(signed)).status_code == 403


async def test_a_signed_write_writes_with_its_type(store, bucket):
    signed = await store.signer.write(OBJECT, 60, "text/csv")
    assert signed.headers == {"content-type": "text/csv"}
    assert (await _send(signed, b"a,b")).status_code == 200
    assert await read_bytes(store, OBJECT) == b"a,b"
    assert (await store.stat(OBJECT)).content_type == "text/csv"
    assert (
        await _send(replace(signed, headers={}), b"x", **{"content-type": "text/html"})
    ).status_code == 403


async def test_signed_parts_become_an_object(store, bucket):
    ref = await store.uploads.begin(OBJECT)
    pieces = [b"1" * 5 * MIB, b"2"]
    parts = []
    for number, piece in enumerate(pieces, 1):
        reply = await _send(await store.signer.part(ref, number, 60), piece)
        assert reply.status_code == 200
        parts.append(Part(number, len(piece), reply.headers["etag"].strip('"')))
    assert await store.uploads.parts(ref) == parts
    await store.uploads.finish(ref, parts)
    assert bucket.get(OBJECT) == b"".join(pieces)


async def test_a_signed_request_is_for_the_public_address(bucket):
    settings = {
        **radosgw.environment(),
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{radosgw.port()}",
        "SHOSO_PUBLIC_ENDPOINT_URL": f"http://localhost:{radosgw.port()}",
    }
    async with store_of(bucket.uri, settings) as store:
        await store.write(OBJECT, BytesSource(b"signed"))
        signed = await store.signer.read(OBJECT, 60)
        assert signed.url.startswith(f"http://localhost:{radosgw.port()}/{bucket.name}/team/mlflow/run/")
        assert (await _send(signed)).content == b"signed"


async def test_the_extra_arguments_take_effect_on_every_way_to_write(bucket):
    """radosgw shows afterwards what it was told."""
    settings = {**radosgw.environment(), "MLFLOW_S3_UPLOAD_EXTRA_ARGS": json.dumps(ARGS)}
    async with store_of(bucket.uri, settings) as store:
        await store.write(Key("whole"), BytesSource(b"."), content_type="text/csv")
        await store.write(Key("in parts"), BytesSource(b"." * 9 * MIB), content_type="text/csv")
        ref = await store.uploads.begin(Key("upload"), content_type="text/csv")
        await store.uploads.finish(ref, [await store.uploads.put(ref, 1, BytesSource(b"."))])
        ref = await store.uploads.begin(Key("signed parts"), content_type="text/csv")
        reply = await _send(await store.signer.part(ref, 1, 60), b".")
        await store.uploads.finish(ref, [Part(1, 1, reply.headers["etag"].strip('"'))])
        assert (await _send(await store.signer.write(Key("signed"), 60, "text/csv"), b".")).status_code == 200
        digest = (await store.stat(Key("in parts"))).digest
    for name in ("whole", "in parts", "upload", "signed parts", "signed"):
        _require_args(bucket, name)
    assert digest is not None


def _require_args(bucket, name: str) -> None:
    where = {"Bucket": bucket.name, "Key": f"team/mlflow/{name}"}
    head = bucket.client.head_object(**where)
    assert head["Metadata"]["team"] == "vision", name
    assert (head["CacheControl"], head["ContentDisposition"]) == ("no-store", "inline"), name
    assert head["ContentType"] == "text/csv", name
    tags = {tag["Key"]: tag["Value"] for tag in bucket.client.get_object_tagging(**where)["TagSet"]}
    assert {"team": "vision", "stage": "dev"}.items() <= tags.items(), name
    grants = bucket.client.get_object_acl(**where)["Grants"]
    assert "READ" in {grant["Permission"] for grant in grants}, name
