"""Who a remote store is to its server, whom it believes, how long it waits: by MLflow's variables."""

from __future__ import annotations

import socket
import ssl

import pytest
from tests.servers.certificates import self_signed
from tests.servers.scripted import Said, Scripted

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, Kind, Retry, StoreError
from shoso.stores import open_store

KEY = Key("a")
DATA = Said(body=b"data")


@pytest.fixture
def scripted():
    """Start servers that say what they are told to."""
    started = []

    def start(*replies: Said, tls: ssl.SSLContext | None = None) -> Scripted:
        started.append(Scripted(replies, tls))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
async def opened(tmp_path):
    """Open the store of a server, with these variables; closed at the end."""
    stores = []

    def start(uri: str, **variables: str):
        stores.append(open_store(uri, {"HOME": str(tmp_path), **variables}))
        return stores[-1]

    yield start
    for store in stores:
        await store.close()


async def failure(call) -> StoreError:
    with pytest.raises(StoreError) as caught:
        await call
    return caught.value


async def test_credentials_come_from_the_environment_or_the_uri(scripted, opened):
    server = scripted(DATA)
    await read_bytes(opened(server.uri, MLFLOW_TRACKING_TOKEN="t"), KEY)
    own = {"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b"}
    await read_bytes(opened(server.uri, **own), KEY)
    await read_bytes(opened(server.uri.replace("//", "//c:d@"), **own), KEY)
    assert [asked.headers["authorization"] for asked in server.asked] == [
        "Bearer t",
        "Basic YTpi",
        "Basic Yzpk",
    ]


async def test_a_redirect_elsewhere_is_read_without_credentials(scripted, opened):
    other = scripted(DATA)
    server = scripted(Said(302, headers={"location": f"{other.uri}/signed?by=somebody"}))
    assert await read_bytes(opened(server.uri, MLFLOW_TRACKING_TOKEN="t"), KEY) == b"data"
    assert other.asked[0].path == "/signed?by=somebody"
    assert "authorization" not in other.asked[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_write_goes_nowhere_else_but_says_where_it_was_sent(scripted, opened, status):
    server = scripted(Said(status, headers={"location": "https://me:hunter2@other/x?token=hunter2"}))
    error = await failure(opened(server.uri).write(KEY, BytesSource(b"data")))
    assert error.retry is Retry.NEVER
    assert "It leads to https://other/x; use that address." in error.message


async def test_a_pause_that_the_server_asks_for_is_handed_on(scripted, opened):
    server = scripted(Said(503, headers={"retry-after": "7"}))
    error = await failure(read_bytes(opened(server.uri), KEY))
    assert (error.retry, error.retry_after) == (Retry.AFTER, 7)
    store = opened(server.uri, MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER="false")
    assert (await failure(read_bytes(store, KEY))).retry is Retry.SOON


@pytest.mark.parametrize(
    ("variables", "silence"),
    [
        ({}, 120.0),
        ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}, 7.0),
        ({"MLFLOW_HTTP_REQUEST_TIMEOUT": "7", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "9"}, 9.0),
        ({"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "-1"}, None),
    ],
)
def test_the_time_out_is_the_transfers_else_the_requests(opened, variables, silence):
    assert opened("http://127.0.0.1:1", **variables).info.silence == silence


async def test_the_time_out_is_one_of_silence(opened):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        error = await failure(read_bytes(opened(uri, MLFLOW_HTTP_REQUEST_TIMEOUT="0.2"), KEY))
    assert (error.kind, error.retry) == (Kind.TIMEOUT, Retry.SOON)
    assert "sent nothing for 0.2 s" in error.message


async def test_a_certificate_that_nobody_vouches_for_is_never_tried_again(scripted, opened, tmp_path):
    certificate, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = scripted(DATA, tls=context)
    error = await failure(read_bytes(opened(server.uri), KEY))
    assert (error.kind, error.retry) == (Kind.CONFIG, Retry.NEVER)
    assert "MLFLOW_TRACKING_SERVER_CERT_PATH" in error.message
    for variables in (
        {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(certificate)},
        {"REQUESTS_CA_BUNDLE": str(certificate)},
        {"MLFLOW_TRACKING_INSECURE_TLS": "true"},
    ):
        assert await read_bytes(opened(server.uri, **variables), KEY) == b"data"


@pytest.mark.parametrize(
    "uri", ["http://", "http://user:hunter2@", "https://h:99999/", "http://h/x?y=hunter2"]
)
def test_what_is_no_address_is_refused_without_its_secrets(opened, uri):
    with pytest.raises(ConfigError) as caught:
        opened(uri)
    assert "hunter2" not in caught.value.message


async def test_a_proxy_of_the_environment_is_used(scripted, opened, monkeypatch):
    proxy, server = scripted(DATA), scripted(DATA)
    monkeypatch.setenv("http_proxy", proxy.uri.replace("//", "//me:secret@"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert await read_bytes(opened("http://far.invalid", MLFLOW_TRACKING_TOKEN="t"), KEY) == b"data"
    assert proxy.asked[0].path == "http://far.invalid/api/shoso/1/objects/a"
    assert proxy.asked[0].headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
    await read_bytes(opened(server.uri), KEY)
    assert (len(proxy.asked), len(server.asked)) == (1, 1)


async def test_a_listing_that_comes_round_again_ends_by_a_mock(scripted, opened):
    page = Said(body=b'{"entries": [{"key": "a", "size": 1, "modified": 1.5}], "after": "a"}')
    store = opened(scripted(page, page, page).uri)
    error = await failure(collect(store))
    assert (error.kind, "circles" in str(error)) == (Kind.UNEXPECTED, True)


async def collect(store) -> list:
    return [entry async for entry in store.list(Key(""))]
