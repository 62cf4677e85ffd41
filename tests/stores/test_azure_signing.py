"""Signed requests, sent by somebody who knows nothing but the URL."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from azure.storage.blob import BlobServiceClient
from tests.servers import azurite
from tests.servers.azurite import ACCOUNT, KEY
from tests.servers.faultproxy import FaultProxy
from tests.servers.identity import identity_endpoint
from tests.stores.azure import environment, signature, store_of, with_signature

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, SignedRequest
from shoso.errors import Kind, StoreError
from shoso.stores.azure.options import options
from shoso.stores.azure.store import AzureStore

OBJECT = Key("run/größe 100%.bin")


def _send(signed: SignedRequest, data: bytes | None = None, **headers: str) -> requests.Response:
    """Nothing else runs meanwhile, so this may block."""
    return requests.request(
        signed.method, signed.url, data=data, headers={**signed.headers, **headers}, timeout=30,
        verify=azurite.secure()[1] if signed.url.startswith("https:") else None,
    )  # fmt: skip


def _status(method: str, url: str) -> int:
    return _send(
        SignedRequest(method, url, {"x-ms-blob-type": "BlockBlob"}), b"x" if method == "PUT" else None
    ).status_code


@pytest.fixture
async def store():
    """A store by the account's key."""
    async with store_of(azurite.container("folder"), environment()) as opened:
        yield opened


async def test_a_signed_read_is_an_attachment_and_takes_ranges(store):
    await store.write(OBJECT, BytesSource(b"0123456789"))
    signed = await store.signer.read(OBJECT, 60)
    reply = _send(signed)
    assert (signed.method, reply.status_code, reply.content) == ("GET", 200, b"0123456789")
    assert reply.headers["content-disposition"].startswith("attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe")
    assert _send(signed, Range="bytes=2-4").content == b"234"


async def test_a_signed_write_appears_whole_with_its_type(store):
    signed = await store.signer.write(OBJECT, 60, "text/plain")
    assert _send(signed, b"written").status_code == 201
    meta = await store.stat(OBJECT)
    assert (meta.size, meta.content_type, meta.digest) == (7, "text/plain", None)
    assert await read_bytes(store, OBJECT) == b"written"


async def test_a_signed_part_is_a_part(store):
    ref = await store.uploads.begin(OBJECT, content_type="application/x-model")
    for number, data in ((1, b"one"), (2, b"two")):
        reply = _send(await store.signer.part(ref, number, 60), data)
        assert reply.status_code == 201
        assert reply.headers["etag"].strip('"') == (await store.uploads.parts(ref))[-1].etag
    own = await store.uploads.put(ref, 3, BytesSource(b"three"))
    parts = await store.uploads.parts(ref)
    assert [(part.number, part.size) for part in parts] == [(1, 3), (2, 3), (3, 5)]
    assert parts[2] == own
    meta = await store.uploads.finish(ref, await store.uploads.parts(ref))
    assert (meta.size, meta.content_type) == (11, "application/x-model")
    assert await read_bytes(store, OBJECT) == b"onetwothree"


async def test_a_signed_request_expires(store):
    await store.write(OBJECT, BytesSource(b"."))
    ref = await store.uploads.begin(Key("parts"))
    signed = [
        await store.signer.read(OBJECT, 1),
        await store.signer.write(OBJECT, 1),
        await store.signer.part(ref, 1, 1),
    ]
    await asyncio.sleep(2.5)
    for request in signed:
        assert _send(request, b"late" if request.method == "PUT" else None).status_code == 403
    assert await read_bytes(store, OBJECT) == b"."
    assert await store.uploads.parts(ref) == []


async def test_a_signed_request_is_good_for_its_object_and_its_verb_only(store):
    await store.write(OBJECT, BytesSource(b"."))
    await store.write(Key("other"), BytesSource(b"secret"))
    signed = await store.signer.read(OBJECT, 60)
    other = (await store.signer.read(Key("other"), 60)).url.partition("?")[0]
    assert _status("GET", f"{other}?{signed.url.partition('?')[2]}") == 403
    assert _status("DELETE", signed.url) == 403
    assert _status("PUT", signed.url) == 403
    written = await store.signer.write(OBJECT, 60)
    assert _status("GET", written.url) == 403
    assert parse_qs(urlsplit(written.url).query)["sp"] == ["cw"]


async def test_a_part_of_an_id_that_leads_elsewhere_is_not_signed(store):
    ref = await store.uploads.begin(OBJECT)
    for name in ("../uploads/x", "", "0" * 31, ref.id + "/..", "%2e%2e"):
        with pytest.raises(StoreError) as caught:
            await store.signer.part(type(ref)(OBJECT, name), 1, 60)
        assert caught.value.kind is Kind.NOT_FOUND


async def test_clients_are_sent_to_the_public_address():
    async with FaultProxy(azurite.port()) as proxy:
        public = azurite.endpoint(proxy.port)
        settings = environment(SHOSO_PUBLIC_ENDPOINT_URL=public + "/")
        async with store_of(azurite.container(), settings) as store:
            await store.write(OBJECT, BytesSource(b"."))
            signed = await store.signer.read(OBJECT, 60)
            assert signed.url.startswith(public + "/shoso-")
            assert store.info.endpoint == azurite.endpoint()


async def test_a_signature_opens_the_store_and_uploads_in_parts():
    container = azurite.container()
    async with store_of(container, with_signature(signature(container, 600))) as store:
        await store.write(OBJECT, BytesSource(b"first"), CREATE)
        ref = await store.uploads.begin(OBJECT)
        parts = [await store.uploads.put(ref, number, BytesSource(b"part")) for number in (1, 2)]
        await store.uploads.finish(ref, parts)
        assert await read_bytes(store, OBJECT) == b"partpart"
        assert store.signer is None


# -- identities ----------------------------------------------------------------------------------------------


@pytest.fixture
async def identified(monkeypatch):
    """A store on a machine with a managed identity, and no key of the account."""
    endpoint, certificate = azurite.secure()
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    service = BlobServiceClient(endpoint, credential=KEY, connection_verify=certificate)
    container = azurite.container(of=service)
    # The settings can't name another address without a key, so the options are made by hand.
    found = options(container.uri, {})
    by_hand = {name: getattr(found, name) for name in found.__dataclass_fields__}
    with identity_endpoint() as variables:
        for variable, value in variables.items():
            monkeypatch.setenv(variable, value)
        store = AzureStore(type(found)(**{**by_hand, "endpoint": endpoint, "own": True}))
        yield store
        await store.close()
        service.close()


async def test_an_identity_opens_the_store(identified):
    assert ACCOUNT in identified.info.name
    await identified.write(OBJECT, BytesSource(b"by identity"), CREATE)
    assert await read_bytes(identified, OBJECT) == b"by identity"
    assert [entry.key async for entry in identified.list(ROOT, deep=True)] == [OBJECT]
    await identified.delete([OBJECT])


async def test_an_identity_signs_with_a_key_that_azure_lends_it(identified):
    await identified.write(OBJECT, BytesSource(b"."))
    read = await identified.signer.read(OBJECT, 60)
    assert parse_qs(urlsplit(read.url).query)["skoid"] == ["00000000-0000-0000-0000-00000000000a"]
    assert _send(read).content == b"."
    assert _send(await identified.signer.write(OBJECT, 60), b"more").status_code == 201
    assert await read_bytes(identified, OBJECT) == b"more"


async def test_an_identity_uploads_in_parts(identified):
    ref = await identified.uploads.begin(OBJECT)
    assert _send(await identified.signer.part(ref, 1, 7 * 86400), b"one").status_code == 201
    await identified.uploads.put(ref, 2, BytesSource(b"two"))
    await identified.uploads.finish(ref, await identified.uploads.parts(ref))
    assert await read_bytes(identified, OBJECT) == b"onetwo"
