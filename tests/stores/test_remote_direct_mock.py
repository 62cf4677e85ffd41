"""What is said to a storage that signed requests lead to, and what is believed of its replies."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import ssl
import time
from contextlib import asynccontextmanager

import pytest
from tests.servers.certificates import self_signed
from tests.servers.scripted import Asked, Said, Scripted

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource, StreamSource
from shoso.core.types import FromTo, Part, UploadRef
from shoso.errors import Kind, StoreError
from shoso.http.options import HttpOptions
from shoso.stores.remote import hosts, parcel
from shoso.stores.remote.store import FROM, RemoteOptions, RemoteStore
from shoso.wire.faults import KIND_HEADER

KEY = Key("run/weights.bin")
REF = UploadRef(KEY, "upload-1")
DATA = os.urandom(FROM + 5)
MD5 = hashlib.md5(DATA).hexdigest()
CAPABILITIES = {
    "create": True, "if_match": True, "ranges": True, "uploads": "parts", "part_min": 0, "part_max": 2**40,
    "parts_max": 10000, "sorted_list": True, "bulk_delete": 1000, "digests": "written", "direct": True,
}  # fmt: skip
OBJECT = {"key": KEY, "size": len(DATA), "modified": 1.5, "etag": "v1", "digest": digest(DATA)}
RANGE = f"bytes 0-{len(DATA) - 1}/{len(DATA)}"
WHOLE = {"etag": '"v1"', "content-range": RANGE, "content-length": str(len(DATA))}


class SigningServer(Scripted):
    """A Shoso server that signs requests to `storage`, and moves bytes itself when it is asked to."""

    def __init__(self, storage: str) -> None:
        self.storage = storage
        self.offers = self.signs = True
        self.more: dict[str, object] = {}
        super().__init__([Said()])

    def answer(self, asked: Asked) -> Said:
        self.asked.append(asked)
        if asked.path.endswith("/capabilities"):
            return _json({**CAPABILITIES, "direct": self.offers})
        if asked.path.endswith("/sign"):
            return self._signed(json.loads(asked.body)) if self.signs else _unsigned()
        if asked.method == "PUT":
            return _json({"number": 1, "size": len(DATA), "etag": "from-the-server"})
        return Said(206, DATA, {**WHOLE, "shoso-modified": "1.5"})

    def _signed(self, asked: dict) -> Said:
        part = bool(asked.get("id"))
        url = f"{self.storage}/b/k?n={asked.get('number', 0)}&Signature=hunter2"
        signed = {"method": "PUT" if part else "GET", "url": url, "headers": {"x-amz-signed": "yes"}}
        return _json(signed | self.more | ({} if part else {"object": OBJECT}))

    def of(self, end: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.partition("?")[0].endswith(end)]


def _json(value: object) -> Said:
    return Said(200, json.dumps(value).encode())


def _unsigned() -> Said:
    return Said(501, b'{"error_code": "NOT_IMPLEMENTED", "message": "No."}', {KIND_HEADER: "unsupported"})


class Storage(Scripted):
    """A storage; the first call, by which it is found, is answered apart."""

    def answer(self, asked: Asked) -> Said:
        if asked.path == "/":
            self.asked.append(asked)
            return Said(403, headers={"set-cookie": "tracking=1"})
        return super().answer(asked)

    @property
    def moved(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path != "/"]


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    """Nothing is known of any storage yet."""
    monkeypatch.setattr(hosts, "VERDICTS", {})


@pytest.fixture
def storage():
    started = Storage([Said(206, DATA, WHOLE)])
    yield started
    started.stop()


@pytest.fixture
def server(storage):
    started = SigningServer(storage.uri)
    yield started
    started.stop()


@asynccontextmanager
async def opened(server: SigningServer, **options: str):
    http = HttpOptions(username="me", password="made-up-secret", **options)
    store = RemoteStore(RemoteOptions(server.uri, http=http))
    yield store
    await store.close()


@pytest.fixture
async def store(server):
    async with opened(server) as store:
        yield store


async def read(store) -> bytes:
    return await read_bytes(store, KEY, FromTo(0, len(DATA)))


async def put(store, source=None) -> Part:
    return await store.uploads.put(REF, 1, source or BytesSource(DATA))


# -- what is said -----------------------------------------------------------------------------------------


async def test_a_storage_is_told_nothing_but_what_was_signed_by_a_mock(store, server, storage):
    assert await read(store) == DATA
    storage.replies = [Said(200, headers={"etag": f'"{MD5}"'})]
    assert await put(store) == Part(1, len(DATA), MD5)
    assert [(asked.method, asked.path) for asked in storage.asked] == [
        ("GET", "/"), ("GET", "/b/k?n=0&Signature=hunter2"), ("PUT", "/b/k?n=1&Signature=hunter2"),
    ]  # fmt: skip
    assert storage.moved[1].body == DATA
    for asked in storage.asked:
        assert not {"authorization", "cookie", "referer"} & asked.headers.keys()
        assert "made-up-secret" not in str(asked)
    for asked in storage.moved:
        assert asked.headers["x-amz-signed"] == "yes"
    assert storage.moved[0].headers["range"] == f"bytes=0-{len(DATA) - 1}"
    assert server.of("/sign")
    assert all("authorization" in asked.headers for asked in server.asked)


async def test_a_storage_is_found_once_and_a_server_asked_once_what_it_offers_by_a_mock(
    store, server, storage
):
    for _ in range(3):
        await read(store)
    assert len([asked for asked in storage.asked if asked.path == "/"]) == 1
    assert len(server.of("/capabilities")) == 1
    async with opened(server) as other:
        await read(other)
    assert len([asked for asked in storage.asked if asked.path == "/"]) == 1


async def test_what_is_small_or_comes_once_is_not_signed_for_by_a_mock(store, server, storage):
    async def stream():
        yield DATA

    assert (await put(store, StreamSource(stream(), len(DATA)))).etag == "from-the-server"
    assert (await put(store, BytesSource(b"small"))).etag == "from-the-server"
    assert not server.of("/sign")
    assert not storage.asked


@pytest.mark.parametrize("how", ["offers", "signs"])
async def test_a_server_that_signs_nothing_is_asked_once_by_a_mock(store, server, storage, how):
    setattr(server, how, False)
    for _ in range(3):
        assert await read(store) == DATA
        assert (await put(store)).etag == "from-the-server"
    assert len(server.of("/capabilities")) == 1
    assert len(server.of("/sign")) == (how == "signs")
    assert not storage.asked


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "//host/x", "ftp://host/x", "http://", "no", "http://[x/"]
)
async def test_an_address_that_is_none_of_http_is_not_followed_by_a_mock(store, server, url):
    server.storage = url
    assert await read(store) == DATA
    assert (await put(store)).etag == "from-the-server"


@pytest.mark.parametrize(
    "wrong", [{"method": "DELETE"}, {"headers": {"a": "b\r\nc: d"}}, {"headers": {"a\n": "b"}}]
)
async def test_a_request_that_moves_no_bytes_is_not_made_by_a_mock(store, server, storage, wrong):
    server.more = wrong
    assert await read(store) == DATA
    assert (await put(store)).etag == "from-the-server"
    assert not storage.asked


# -- what is believed -------------------------------------------------------------------------------------


def _without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    "reply",
    [
        Said(302, headers={"location": "/elsewhere"}),
        Said(403, b"<Code>AccessDenied</Code>"),
        Said(404),
        Said(503),
        Said(0),
        Said(200, DATA, {**WHOLE, "etag": '"v2"'}),
        Said(206, DATA, {**WHOLE, "etag": '"v2"'}),
        Said(206, DATA, _without(WHOLE, "etag")),
        Said(206, DATA, _without(WHOLE, "content-range")),
        Said(206, DATA, {**WHOLE, "content-range": f"bytes 1-{len(DATA)}/{len(DATA) + 1}"}),
        Said(206, DATA[:-1], {**WHOLE, "content-length": str(len(DATA) - 1)}),
        Said(206, DATA, {**WHOLE, "content-encoding": "gzip"}),
    ],
    ids=lambda said: f"{said.status}",
)
async def test_a_reply_that_isnt_the_object_is_left_for_the_servers_by_a_mock(store, server, storage, reply):
    storage.replies = [reply]
    assert await read(store) == DATA
    assert len(server.of(f"/objects/{KEY}")) == 1
    assert {asked.path for asked in storage.moved} == {"/b/k?n=0&Signature=hunter2"}
    [verdict] = hosts.VERDICTS.values()
    assert (verdict.usable, verdict.strikes) == (True, 1)
    storage.replies = [Said(206, DATA, WHOLE)]
    assert await read(store) == DATA
    assert len(server.of(f"/objects/{KEY}")) == 1
    assert verdict.strikes == 0


@pytest.mark.parametrize(
    "headers",
    [{"etag": '"v1"'}, {"etag": '"whatever"', "x-goog-generation": "v1"}],
    ids=["etag", "Google's generation"],
)
async def test_the_version_is_the_one_that_the_server_spoke_of_by_a_mock(store, server, storage, headers):
    storage.replies = [Said(206, DATA, {**WHOLE, **headers})]
    assert await read(store) == DATA
    assert not server.of(f"/objects/{KEY}")


async def test_another_version_than_wanted_is_left_for_the_server_by_a_mock(store, server, storage):
    async with await store.read(KEY, FromTo(0, len(DATA)), "v0"):
        pass
    [asked] = server.of(f"/objects/{KEY}")
    assert asked.headers["if-match"] == '"v0"'
    assert not storage.moved


@pytest.mark.parametrize(
    "reply",
    [
        Said(200, headers={"etag": f'"{MD5}"'}),
        Said(201, headers={"etag": '"0x8D"', "content-md5": base64.b64encode(bytes.fromhex(MD5)).decode()}),
    ],
    ids=["S3", "Azure"],
)
async def test_a_part_has_arrived_when_the_storage_has_its_md5_by_a_mock(store, server, storage, reply):
    storage.replies = [reply]
    assert await put(store) == Part(1, len(DATA), reply.headers["etag"].strip('"'))
    assert not [asked for asked in server.asked if asked.method == "PUT"]


@pytest.mark.parametrize(
    "reply",
    [
        Said(200),
        Said(200, headers={"etag": f'"{"0" * 32}"'}),
        Said(200, headers={"etag": '"opaque"'}),
        Said(200, headers={"etag": '"opaque"', "content-md5": "!"}),
        Said(200, headers={"etag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}),
        Said(201, headers={"etag": f'"{MD5}"', "content-md5": base64.b64encode(bytes(16)).decode()}),
        Said(307, headers={"location": "/elsewhere", "etag": f'"{MD5}"'}),
        Said(403),
        Said(500),
        Said(0),
    ],
    ids=lambda said: f"{said.status}",
)
async def test_a_part_of_which_nobody_knows_that_it_has_arrived_is_sent_again_by_a_mock(
    store, server, storage, reply
):
    storage.replies = [reply]
    assert (await put(store)).etag == "from-the-server"
    [sent] = [asked for asked in server.asked if asked.method == "PUT"]
    assert sent.body == DATA + bytes.fromhex(digest(DATA))
    assert {asked.path for asked in storage.moved} == {"/b/k?n=1&Signature=hunter2"}


@pytest.mark.parametrize(
    ("headers", "direct"),
    [
        ({"etag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"}, True),
        ({"etag": f'"{"0" * 32}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, True),
        ({"etag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "AES256"}, False),
        ({"etag": '"opaque"'}, True),
    ],
    ids=["by a key", "by the customer's key", "by S3's", "opaque"],
)
async def test_over_tls_a_storage_neednt_say_what_it_has_by_a_mock(server, tmp_path, headers, direct):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    storage = Storage([Said(200, headers=headers)], context)
    server.storage = storage.uri
    async with opened(server, bundle=str(certificate)) as store:
        etag = (await put(store)).etag
    storage.stop()
    assert etag == (headers["etag"].strip('"') if direct else "from-the-server")


async def test_for_a_storage_out_of_reach_the_server_signs_no_more_by_a_mock(store, server, storage):
    storage.stop()
    for _ in range(3):
        assert await read(store) == DATA
        assert (await put(store)).etag == "from-the-server"
    assert len(server.of("/sign")) == 1


async def test_a_storage_that_takes_nothing_is_left_for_the_server_by_a_mock(store, server, monkeypatch):
    monkeypatch.setattr(parcel, "SILENCE", 0.3)
    asked, gone = [], asyncio.Event()

    async def deaf(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if len(asked) == 1:
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            writer.close()
        else:
            await gone.wait()
            writer.transport.abort()

    listening = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    server.storage = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    began = time.monotonic()
    assert (await put(store)).etag == "from-the-server"
    assert 0.3 < time.monotonic() - began < 5
    assert len(asked) == 2
    gone.set()
    listening.close()
    await asyncio.sleep(0)


async def test_a_storage_whose_certificate_isnt_trusted_is_out_of_reach_by_a_mock(server, tmp_path):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    storage = Storage([Said(200)], context)
    server.storage = storage.uri
    async with opened(server) as store:
        assert (await put(store)).etag == "from-the-server"
    storage.stop()
    assert not storage.asked


# -- sources that fail ------------------------------------------------------------------------------------


class Source(BytesSource):
    """Announces `size` bytes, whatever it has; raises `error` behind half of them."""

    def __init__(
        self, size: int = len(DATA), error: Exception | None = None, claimed: str | None = None
    ) -> None:
        super().__init__(DATA, claimed)
        self._announced, self._error = size, error

    @property
    def size(self) -> int:
        return self._announced

    async def open(self, start: int = 0):
        async for data in super().open(start):
            yield data
            if self._error is not None:
                raise self._error


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (Source(len(DATA) + 1), Kind.INCOMPLETE),
        (Source(len(DATA) - 1), Kind.INCOMPLETE),
        (Source(claimed=digest(b"another's")), Kind.CORRUPT),
    ],
    ids=["short", "long", "digest of something else"],
)
async def test_a_source_that_isnt_what_it_says_never_arrives_by_a_mock(store, server, storage, source, kind):
    storage.replies = [Said(200, headers={"etag": f'"{MD5}"'})]
    with pytest.raises(StoreError) as caught:
        await put(store, source)
    assert caught.value.kind is kind
    assert not storage.moved  # the body never ended
    assert not [asked for asked in server.asked if asked.method == "PUT"]


async def test_a_source_that_breaks_raises_its_own_error_by_a_mock(store, server, storage):
    with pytest.raises(LookupError, match="mine"):
        await put(store, Source(error=LookupError("mine")))
    assert not [asked for asked in server.asked if asked.method == "PUT"]
    [verdict] = hosts.VERDICTS.values()
    assert verdict.strikes == 0
