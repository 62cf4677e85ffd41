"""Each thing that can be wrong is one sentence that says what to change."""

from __future__ import annotations

import asyncio
import logging
import ssl
import traceback
from contextlib import asynccontextmanager

import pytest
from tests.servers import gcs
from tests.servers.listener import Listener
from tests.stores.gcs_mock import Mock, refusal, stored

from shoso.core.keys import ROOT, Key
from shoso.core.streams import BytesSource
from shoso.errors import Kind, Retry, StoreError
from shoso.stores import open_store
from shoso.stores.gcs import access

KEY = Key("run/file")
SMALL = BytesSource(b"bytes")
NEVER, SOON = Retry.NEVER, Retry.SOON


@pytest.fixture
async def mock():
    """A server that answers as told."""
    async with Mock() as running:
        yield running


@asynccontextmanager
async def emulated(address, **environment):
    store = open_store("gs://bucket/folder", {"STORAGE_EMULATOR_HOST": address, **environment})
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def google(mock, monkeypatch, tmp_path):
    """A store that takes the mock for Google itself, with a service account's key."""
    for module in ("api", "store"):
        monkeypatch.setattr(f"shoso.stores.gcs.{module}.PUBLIC", mock.address)
    private = gcs.write_key(tmp_path / "key.json", f"{mock.address}/token")
    store = open_store("gs://bucket/folder", {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json")})
    mock.private = private
    yield store
    await store.close()


async def _failure(call):
    with pytest.raises(StoreError) as caught:
        await call
    error = caught.value
    assert error.store == "gs://bucket/folder"
    assert "secret-token" not in error.message + repr(error.__cause__)
    return error


def _calls(store):
    async def listed():
        return [entry async for entry in store.list(ROOT)]

    return {
        "stat": lambda: store.stat(KEY),
        "read": lambda: store.read(KEY),
        "write": lambda: store.write(KEY, SMALL),
        "list": listed,
        "delete": lambda: store.delete([KEY]),
        "begin": lambda: store.uploads.begin(KEY),
    }


@pytest.mark.parametrize(
    ("op", "permission"),
    [
        ("stat", "storage.objects.get"),
        ("read", "storage.objects.get"),
        ("write", "storage.objects.create"),
        ("list", "storage.objects.list"),
        ("delete", "storage.objects.delete"),
        ("begin", "storage.objects.create"),
    ],
)
async def test_what_the_account_may_not_do_names_the_permission_by_a_mock(google, mock, op, permission):
    mock.replies.append(refusal(403, "forbidden", "shoso@project doesn't have access."))
    error = await _failure(_calls(google)[op]())
    assert error.kind is Kind.FORBIDDEN
    assert permission in error.message
    assert "shoso@project" in error.message


REFUSALS = [
    (refusal(429, "rateLimitExceeded", retry_after="7"), "write", Kind.THROTTLED, "too many", 7),
    (refusal(429), "stat", Kind.THROTTLED, "too many", SOON),
    (refusal(403, "userRateLimitExceeded"), "read", Kind.THROTTLED, "too many", SOON),
    (refusal(503, retry_after="2"), "list", Kind.THROTTLED, "too many", 2),
    (refusal(503, "backendError"), "list", Kind.UNAVAILABLE, "right now", SOON),
    (refusal(500, retry_after="Fri, 27 Nov 2026 12:00:00 GMT"), "read", Kind.UNAVAILABLE, "right now", SOON),
    (refusal(408), "write", Kind.UNAVAILABLE, "right now", SOON),
    (refusal(404, "notFound"), "write", Kind.NOT_FOUND, "no bucket", NEVER),
    (refusal(404, "notFound"), "list", Kind.NOT_FOUND, "no bucket", NEVER),
    (refusal(404, "notFound"), "stat", Kind.NOT_FOUND, "is not there", NEVER),
    (refusal(400, "required"), "stat", Kind.CONFIG, "GOOGLE_CLOUD_QUOTA_PROJECT", NEVER),
    (refusal(400, "invalid", "CRC32C doesn't match"), "write", Kind.CORRUPT, "damaged", SOON),
    (refusal(403, "retentionPolicyNotMet"), "delete", Kind.FORBIDDEN, "retention policy", NEVER),
    (refusal(403, "objectUnderActiveHold"), "write", Kind.FORBIDDEN, "hold", NEVER),
    (refusal(403, "accountDisabled"), "read", Kind.FORBIDDEN, "billing", NEVER),
    (refusal(403, "insufficientPermissions"), "read", Kind.FORBIDDEN, "scope", NEVER),
    (refusal(413), "write", Kind.TOO_LARGE, "5 TiB", NEVER),
    (refusal(418, "teapot", "short and stout"), "stat", Kind.UNEXPECTED, "stout", NEVER),
    ((302, "", {"location": "/"}), "stat", Kind.UNEXPECTED, "302", NEVER),
    ((200, "<html>", {}), "stat", Kind.UNEXPECTED, "STORAGE_EMULATOR_HOST", NEVER),
    ((200, "<html>", {}), "read", Kind.UNEXPECTED, "STORAGE_EMULATOR_HOST", NEVER),
    ((200, '{"kind": "another"}', {}), "write", Kind.UNEXPECTED, "no Cloud Storage", NEVER),
]


@pytest.mark.parametrize(
    ("reply", "op", "kind", "words", "retry"),
    REFUSALS,
    ids=[f"{op} {reply[0]} {words}" for reply, op, _, words, _ in REFUSALS],
)
async def test_a_refusal_is_a_sentence_by_a_mock(google, mock, reply, op, kind, words, retry):
    mock.replies.append(reply)
    error = await _failure(_calls(google)[op]())
    assert error.kind is kind, error
    assert (error.retry_after or error.retry) == retry
    assert (error.retry is Retry.AFTER) == (error.retry_after is not None)
    assert words in error.message


async def test_a_token_that_is_refused_is_renewed_by_a_mock(google, mock):
    mock.replies += [refusal(401, "authError"), stored()]
    error = await _failure(google.stat(KEY))
    assert (error.kind, error.retry) == (Kind.UNAUTHENTICATED, Retry.SOON)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message
    await google.stat(KEY)
    assert [seen.headers["authorization"] for seen in mock.seen] == [
        "Bearer secret-token-1",
        "Bearer secret-token-2",
    ]


async def test_one_token_does_for_many_at_once_by_a_mock(google, mock):
    mock.replies += [stored() for _ in range(20)]
    await asyncio.gather(*(google.stat(KEY) for _ in range(20)))
    assert mock.tokens == 1


async def test_a_revoked_key_or_a_wrong_clock_is_named_by_a_mock(google, mock):
    mock.token_status = 400
    error = await _failure(google.stat(KEY))
    assert (error.kind, error.retry) == (Kind.UNAUTHENTICATED, Retry.NEVER)
    assert "clock" in error.message
    assert "revoked" in error.message


async def test_a_project_pays_where_it_is_named_by_a_mock(mock):
    async with emulated(mock.address, GOOGLE_CLOUD_QUOTA_PROJECT="payer") as store:
        mock.replies.append(stored())
        await store.stat(KEY)
    assert mock.seen[0].headers["x-goog-user-project"] == "payer"
    assert "authorization" not in mock.seen[0].headers


async def test_no_token_and_no_key_is_ever_logged_by_a_mock(google, mock, caplog):
    caplog.set_level(logging.DEBUG)
    mock.replies += [stored(), refusal(403), refusal(401)]
    await google.stat(KEY)
    for _ in range(2):
        await _failure(google.stat(KEY))
    url = (await google.signer.read(KEY, 60)).url
    shown = caplog.text + repr(google) + repr(vars(google)) + repr(google.info)
    assert "secret-token" not in shown
    assert url.rpartition("=")[2] not in shown
    for line in mock.private.splitlines()[1:-1]:
        assert line not in shown


async def test_without_credentials_requests_are_anonymous_and_a_line_says_so(
    mock, monkeypatch, tmp_path, caplog
):
    for module in ("api", "store"):
        monkeypatch.setattr(f"shoso.stores.gcs.{module}.PUBLIC", mock.address)
    for variable, value in (("NO_GCE_CHECK", "true"), ("CLOUDSDK_CONFIG", str(tmp_path))):
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setattr(access, "_on_google", lambda: False)
    store = open_store("gs://bucket/folder")
    assert store.signer is None
    mock.replies += [stored(), stored(), refusal(401, "required")]
    for _ in range(2):
        await store.stat(KEY)
    error = await _failure(store.stat(KEY))
    assert error.kind is Kind.UNAUTHENTICATED
    assert "GOOGLE_APPLICATION_CREDENTIALS" in error.message
    assert [record.levelname for record in caplog.records if "anonymous" in record.message] == ["WARNING"]
    await store.close()


async def test_a_missing_bucket_is_named():
    environment = {"STORAGE_EMULATOR_HOST": gcs.endpoint()}
    store = open_store("gs://no-such-bucket/folder", environment)
    for call in (store.write(KEY, SMALL), store.uploads.begin(KEY), anext(store.list(ROOT))):
        with pytest.raises(StoreError) as caught:
            await call
        assert caught.value.kind is Kind.NOT_FOUND
        assert "no bucket" in caught.value.message
        assert "gs://no-such-bucket" in caught.value.message
    await store.close()


async def test_a_server_that_is_not_there_is_unavailable():
    async with emulated("http://127.0.0.1:1") as store:
        for call in _calls(store).values():
            error = await _failure(call())
            assert (error.kind, error.retry) == (Kind.UNAVAILABLE, Retry.SOON)
            assert "check the network and HTTPS_PROXY, or STORAGE_EMULATOR_HOST" in error.message


async def test_a_certificate_that_is_not_trusted_is_named(tmp_path):
    async def serve(reader, writer):
        await reader.read()

    async with (
        Listener(serve, tls=_context(tmp_path)) as listener,
        emulated(f"https://127.0.0.1:{listener.port}") as store,
    ):
        error = await _failure(store.stat(KEY))
    assert error.kind is Kind.CONFIG
    assert "SSL_CERT_FILE" in error.message


async def test_a_name_that_is_too_long_is_refused():
    async with emulated("http://127.0.0.1:1") as store:
        error = await _failure(store.write(Key("k" * 1020), SMALL))
    assert error.kind is Kind.INVALID_KEY
    assert "1,024" in error.message


def _context(folder) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "both.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context


async def test_a_proxy_that_refuses_is_told_without_its_password(monkeypatch):
    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    monkeypatch.setenv("NO_PROXY", "elsewhere")
    async with Listener(refuse) as listener:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@127.0.0.1:{listener.port}")
        async with emulated("https://storage.test") as store:
            error = await _failure(store.stat(KEY))
    assert error.kind is Kind.UNAVAILABLE
    assert "407" in error.message
    assert "hidden" not in "".join(traceback.format_exception(error))
