"""Signed URLs: as Google's own client makes them, and as MLflow's fast path uses them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlsplit

import aiohttp
import pytest
from google.cloud.storage._signing import generate_signed_url_v4
from google.oauth2.service_account import Credentials
from tests.servers import gcs
from tests.servers.gcs import EMAIL, write_key

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.errors import Kind, StoreError
from shoso.stores import open_store
from shoso.stores.gcs import signer as signing

KEY = Key("run/model/weights of\u00a0ours.bin")
NOW = datetime(2026, 11, 27, 12, 34, 56, tzinfo=UTC)


@pytest.fixture
def key_file(tmp_path):
    """A service account's key."""
    write_key(tmp_path / "key.json")
    return tmp_path / "key.json"


@pytest.fixture
async def signed(key_file):
    """A folder of the emulator, opened with a key that signs."""
    target = gcs.target(gcs.bucket(), "folder")
    environment = {
        **target.environment,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
        "SHOSO_PUBLIC_ENDPOINT_URL": gcs.endpoint("localhost"),
    }
    store = open_store(target.uri, environment)
    yield store
    await store.close()


async def _do(request, data=None, headers=None):
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            request.method, request.url, data=data, headers={**request.headers, **(headers or {})}
        ) as reply,
    ):
        return reply.status, dict(reply.headers), await reply.read()


@pytest.mark.parametrize("endpoint", ["https://storage.googleapis.com", "http://minio.example:9000"])
@pytest.mark.parametrize(
    ("method", "headers", "query"),
    [
        ("GET", {}, {"response-content-disposition": 'attachment; filename="a b~*\'().bin"'}),
        ("PUT", {"content-type": "application/json; charset=utf-8"}, {}),
        ("PUT", {}, {}),
    ],
)
async def test_the_url_is_the_one_that_googles_client_makes(
    key_file, monkeypatch, endpoint, method, headers, query
):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):  # noqa: ARG003  (datetime's own)
            return NOW

    monkeypatch.setattr(signing, "datetime", Clock)
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file), "SHOSO_PUBLIC_ENDPOINT_URL": endpoint}
    store = open_store("gs://bucket/a folder", environment)
    name = f"a folder/{KEY}~!'()*&?#"
    request = await store.signer._signed(KEY, method, name, 900, headers, query)
    theirs = generate_signed_url_v4(
        Credentials.from_service_account_file(str(key_file)),
        resource=quote(f"/bucket/{name}", safe="/~"),
        expiration=900,
        api_access_endpoint=endpoint,
        method=method,
        headers=dict(headers),
        query_parameters=dict(query),
        _request_timestamp="20261127T123456Z",
    )
    assert request.url == theirs
    assert request.headers == headers


async def test_a_signed_read_saves_the_file_under_its_name(signed):
    request = await signed.signer.read(KEY, 300)
    query = parse_qs(urlsplit(request.url).query)
    [disposition] = query["response-content-disposition"]
    assert disposition == "attachment; filename*=UTF-8''weights%20of%C2%A0ours.bin"
    assert query["X-Goog-Expires"] == ["300"]
    assert query["X-Goog-Credential"][0].startswith(f"{EMAIL}/")
    assert re.fullmatch(r"[0-9a-f]{256}", query["X-Goog-Signature"][0])
    assert query["X-Goog-Signature"][0] not in repr(request)


async def test_what_is_signed_can_be_read_and_written(signed):
    request = await signed.signer.write(KEY, 300, "text/plain")
    assert request.headers == {"content-type": "text/plain"}
    status, _, _ = await _do(request, b"straight")
    assert status == 200
    assert await read_bytes(signed, KEY) == b"straight"
    assert (await signed.stat(KEY)).content_type == "text/plain"
    assert (await _do(await signed.signer.read(KEY, 300)))[2] == b"straight"
    assert (await _do(await signed.signer.read(KEY, 300), headers={"range": "bytes=2-4"}))[2] == b"rai"


async def test_parts_put_by_signed_urls_become_one_object(signed):
    ref = await signed.uploads.begin(KEY, content_type="text/x-log")
    for number, piece in ((2, b"second"), (1, b"first,")):
        status, _, _ = await _do(await signed.signer.part(ref, number, 3600), piece)
        assert status == 200
    parts = await signed.uploads.parts(ref)
    assert [(part.number, part.size) for part in parts] == [(1, 6), (2, 6)]
    assert (await signed.uploads.finish(ref, parts)).size == 12
    assert await read_bytes(signed, KEY) == b"first,second"
    assert (await signed.stat(KEY)).content_type == "text/x-log"


async def test_urls_lead_to_the_public_endpoint(key_file):
    target = gcs.target(gcs.bucket(), "folder")
    environment = {
        **target.environment,
        "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
        "SHOSO_PUBLIC_ENDPOINT_URL": "https://storage.example.com/",
    }
    store = open_store(target.uri, environment)
    request = await store.signer.read(KEY, 10)
    assert request.url.startswith("https://storage.example.com/test-")


async def test_a_url_is_good_for_seven_days_at_most(signed):
    request = await signed.signer.read(KEY, 1e9)
    assert "X-Goog-Expires=604800&" in request.url


async def test_what_the_store_keeps_for_itself_is_not_signed(signed):
    with pytest.raises(StoreError) as caught:
        await signed.signer.read(Key(".shoso/uploads/x"), 10)
    assert caught.value.kind is Kind.INVALID_KEY
