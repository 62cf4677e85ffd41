"""Each mistake that an account can be set up with gives one sentence: the setting and the fix, no secret."""

from __future__ import annotations

import base64
import logging
import time
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest
from azure.storage.blob import BlobLeaseClient
from tests.conformance.sources import Endless
from tests.servers import azurite
from tests.servers.azurite import ACCOUNT, KEY
from tests.servers.listener import Listener
from tests.stores.azure import environment, signature, store_of, with_signature

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE
from shoso.errors import Kind, Retry, StoreError
from shoso.stores.azure.credentials import Request
from shoso.stores.azure.failures import Failures
from shoso.stores.azure.options import options

OBJECT = Key("run/model.bin")
WRONG_KEY = base64.b64encode(b"a key that was renewed long ago").decode()


async def _failures(store) -> list[StoreError]:
    """How every verb fails."""
    found = []
    for call in (
        store.stat(OBJECT),
        store.read(OBJECT),
        store.write(OBJECT, BytesSource(b".")),
        store.write(OBJECT, Endless(9 * 1024 * 1024)),
        store.delete([OBJECT, Key("another")]),
        store.uploads.begin(OBJECT),
        anext(store.list(ROOT)),
        anext(store.uploads.pending(ROOT)),
    ):
        with pytest.raises(StoreError) as caught:
            await call
        found.append(caught.value)
    return found


async def _say(store, kind: Kind, *words: str) -> None:
    """Every verb fails in that way, and says so in one sentence."""
    for error in await _failures(store):
        assert error.kind is kind, error
        assert not [word for word in words if word not in error.message], error
        assert error.store == store.info.name
        assert error.retry is Retry.NEVER


async def test_a_container_that_is_missing_is_named():
    async with store_of(f"wasbs://nowhere@{ACCOUNT}.blob.core.windows.net/p", environment()) as store:
        await _say(store, Kind.NOT_FOUND, "no container 'nowhere'", ACCOUNT, "create it")


async def test_a_wrong_key_is_named_by_its_setting():
    settings = {"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string(key=WRONG_KEY)}
    async with store_of(azurite.container(), settings) as store:
        await _say(store, Kind.UNAUTHENTICATED, "AZURE_STORAGE_CONNECTION_STRING", "Access keys")


async def test_a_signature_that_expired_is_named():
    container = azurite.container()
    async with store_of(container, with_signature(signature(container, -60))) as store:
        await _say(store, Kind.UNAUTHENTICATED, "expired", "AZURE_STORAGE_CONNECTION_STRING")


async def test_a_signature_without_the_permission_is_named():
    container = azurite.container()
    async with store_of(container, with_signature(signature(container, 600, "rl"))) as store:
        container.put(OBJECT, b"there")
        assert await read_bytes(store, OBJECT) == b"there"
        with pytest.raises(StoreError) as caught:
            await store.write(OBJECT, BytesSource(b"."))
    assert caught.value.kind in {Kind.FORBIDDEN, Kind.UNAUTHENTICATED}
    assert "racwdl" in caught.value.message


async def test_an_account_that_no_name_server_knows_is_named():
    text = f"AccountName=team;AccountKey={KEY};BlobEndpoint=http://team.blob.invalid"
    settings = {"AZURE_STORAGE_CONNECTION_STRING": text}
    async with store_of("wasbs://c@team.blob.core.windows.net", settings) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert caught.value.kind is Kind.UNAVAILABLE
    assert "http://team.blob.invalid" in caught.value.message
    assert "correct the account" in caught.value.message


async def test_nothing_that_listens_is_unavailable():
    [port] = azurite.free_ports(1)
    async with store_of(azurite.container(), environment(port)) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert (caught.value.kind, caught.value.retry) == (Kind.UNAVAILABLE, Retry.SOON)


async def test_a_certificate_that_is_not_trusted_is_named():
    endpoint, _ = azurite.secure()
    text = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}"
    settings = {"AZURE_STORAGE_CONNECTION_STRING": text}
    async with store_of(f"wasbs://c@{ACCOUNT}.blob.core.windows.net", settings) as store:
        await _say(store, Kind.CONFIG, "SSL_CERT_FILE", endpoint)


async def test_a_password_that_netrc_has_for_everybody_is_none_of_azures(monkeypatch, tmp_path):
    container, netrc = azurite.container(), tmp_path / "netrc"
    netrc.write_text("default login somebody password hidden\n")
    for variable, value in (("NETRC", netrc), ("HTTP_PROXY", "http://proxy:3128"), ("NO_PROXY", "127.0.0.1")):
        monkeypatch.setenv(variable, str(value))
    async with store_of(container, environment()) as store:
        await store.write(OBJECT, BytesSource(b"."))
        assert await read_bytes(store, OBJECT) == b"."


async def test_an_identity_that_is_not_found_is_named(monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    for variable in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(variable, raising=False)
    async with store_of(f"wasbs://c@{ACCOUNT}.blob.core.windows.net", {}) as store:
        await _say(
            store, Kind.UNAUTHENTICATED, "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CLIENT_ID", "az login"
        )


async def test_a_lease_is_named():
    container = azurite.container()
    async with store_of(container, environment()) as store:
        await store.write(OBJECT, BytesSource(b"old"))
        lease = BlobLeaseClient(container.client.get_blob_client(OBJECT))
        lease.acquire()
        for call in (
            store.write(OBJECT, BytesSource(b"new")),
            store.write(OBJECT, Endless(9 * 1024 * 1024)),
            store.delete([OBJECT]),
        ):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.kind is Kind.FORBIDDEN
            assert "lease" in caught.value.message
        assert await read_bytes(store, OBJECT) == b"old"
        lease.release()


async def test_blocks_of_another_program_in_the_way_are_named():
    container = azurite.container()
    container.client.get_blob_client(OBJECT).stage_block(base64.b64encode(b"1").decode(), b"left behind")
    async with store_of(container, environment()) as store:
        with pytest.raises(StoreError) as caught:
            await store.write(OBJECT, Endless(9 * 1024 * 1024))
        assert caught.value.kind is Kind.EXISTS
        assert "week" in caught.value.message
        await store.write(OBJECT, BytesSource(b"small"))
        assert await read_bytes(store, OBJECT) == b"small"


async def test_blocks_that_microsofts_programs_left_are_in_nobodys_way():
    container = azurite.container()
    block = f"{7:048d}"  # as azure-storage-blob and AzCopy name them
    container.client.get_blob_client(OBJECT).stage_block(block, b"left behind")
    async with store_of(container, environment()) as store:
        await store.write(OBJECT, Endless(9 * 1024 * 1024))
        assert (await store.stat(OBJECT)).size == 9 * 1024 * 1024


async def test_what_is_kept_for_uploads_is_no_key():
    container = azurite.container()
    async with store_of(container, environment()) as store:
        ref = await store.uploads.begin(OBJECT)
        for key in (Key(".shoso"), Key(f".shoso/uploads/{ref.id}")):
            for call in (store.stat(key), store.write(key, BytesSource(b".")), store.delete([key])):
                with pytest.raises(StoreError) as caught:
                    await call
                assert caught.value.kind is Kind.INVALID_KEY
        assert [found async for found in store.uploads.pending(ROOT)] == [ref]


async def test_a_folder_of_a_container_keeps_to_itself():
    container = azurite.container("team/mlflow")
    async with store_of(container, environment()) as store:
        await store.write(OBJECT, BytesSource(b"inside"))
        ref = await store.uploads.begin(Key("other"))
        await store.uploads.finish(ref, [await store.uploads.put(ref, 1, BytesSource(b"parts"))])
        container.client.upload_blob("team/mlflow-2/stranger", b"outside")
        assert [entry.key async for entry in store.list(ROOT, deep=True)] == ["other", OBJECT]
    assert container.names() == {"team/mlflow/other", f"team/mlflow/{OBJECT}", "team/mlflow-2/stranger"}


async def test_no_secret_is_logged_or_raised(caplog):
    caplog.set_level(logging.DEBUG)
    container = azurite.container()
    token = signature(container, 600)
    found = []
    for settings in (
        {"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string(key=WRONG_KEY)},
        with_signature(signature(container, -60)),
        with_signature(token, azurite.free_ports(1)[0]),
    ):
        async with store_of(container, settings) as store:
            found += [f"{error!r} {error} {error.__cause__!r}" for error in await _failures(store)]
    async with store_of(container, environment()) as store:
        ref = await store.uploads.begin(OBJECT)
        await store.uploads.finish(ref, [await store.uploads.put(ref, 1, BytesSource(b"parts"))])
        found.append(repr(await store.signer.read(OBJECT, 60)))
    shown = "\n".join([*found, caplog.text])
    assert OBJECT in shown
    assert not [secret for secret in (KEY, WRONG_KEY, "sig=", token) if secret in shown]


# -- what Azurite never says, said by a server that says nothing else --------------------------------------


@asynccontextmanager
async def _answering(status: int, code: str = "", **headers: str):
    """A server that gives this answer to everything."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        lines = [f"HTTP/1.1 {status} Said", "content-length: 0", "connection: close"]
        lines += [f"x-ms-error-code: {code}"] if code else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()

    async with Listener(serve) as listener:
        settings = environment(listener.port)
        async with store_of(f"wasbs://c@{ACCOUNT}.blob.core.windows.net", settings) as store:
            yield store


@pytest.mark.parametrize(
    ("status", "code", "kind", "word"),
    [
        (409, "BlobImmutableDueToPolicy", Kind.FORBIDDEN, "immutability policy"),
        (403, "KeyBasedAuthenticationNotPermitted", Kind.FORBIDDEN, "unset AZURE_STORAGE_CONNECTION_STRING"),
        (403, "AuthorizationPermissionMismatch", Kind.FORBIDDEN, "Storage Blob Data Contributor"),
        (403, "AccountIsDisabled", Kind.FORBIDDEN, "disabled"),
        (403, "CannotVerifyCopySource", Kind.FORBIDDEN, "firewall"),
        (409, "BlobArchived", Kind.FORBIDDEN, "archive"),
        (409, "SnapshotsPresent", Kind.FORBIDDEN, "snapshots"),
        (501, "APINotImplemented", Kind.UNSUPPORTED, "newer version"),
        (418, "Teapot{key}", Kind.UNEXPECTED, "418 Teapot{key}"),
    ],
)
async def test_a_mocked_refusal_says_what_to_change(status, code, kind, word):
    async with _answering(status, code) as store:
        with pytest.raises(StoreError) as caught:
            await store.write(OBJECT, BytesSource(b"."))
    assert (caught.value.kind, caught.value.retry) == (kind, Retry.NEVER)
    assert word in caught.value.message


@pytest.mark.parametrize("status", [409, 412])
async def test_what_is_there_mocked_is_there_in_either_way_azure_says_it(status):
    code = {409: "BlobAlreadyExists", 412: "ConditionNotMet"}[status]
    async with _answering(status, code) as store:
        with pytest.raises(StoreError) as caught:
            await store.write(OBJECT, BytesSource(b"."), CREATE)
    assert caught.value.kind is Kind.EXISTS


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (429, "TooManyRequests"), (503, "")])
async def test_mocked_throttling_says_how_long_to_wait(status, code):
    async with _answering(status, code, retry_after="7") as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert (caught.value.kind, caught.value.retry) == (Kind.THROTTLED, Retry.AFTER)
    assert caught.value.retry_after == 7
    async with _answering(status, code) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert (caught.value.retry, caught.value.retry_after) == (Retry.SOON, None)


@pytest.mark.parametrize(("off", "word"), [(-3600, "60 minutes ahead"), (7200, "120 minutes behind")])
async def test_a_mocked_clock_that_is_off_is_named(off, word):
    moment = formatdate(time.time() + off, usegmt=True)
    async with _answering(403, "AuthenticationFailed", date=moment) as store:
        with pytest.raises(StoreError) as caught:
            await store.stat(OBJECT)
    assert caught.value.kind is Kind.UNAUTHENTICATED
    assert word in caught.value.message


@pytest.mark.parametrize("status", [200, 206])
async def test_a_mocked_server_that_is_no_storage_is_named(status):
    async with _answering(status) as store:
        for call in (store.stat(OBJECT), store.read(OBJECT), anext(store.list(ROOT))):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.kind is Kind.UNEXPECTED
            assert "isn't Azure's blob service" in caught.value.message


def test_a_firewall_is_not_taken_for_a_wrong_key():
    account = options("wasbs://c@team.blob.core.windows.net", {"AZURE_STORAGE_ACCESS_KEY": KEY})
    error = Failures(account).refused("stat", OBJECT, 403, {"x-ms-error-code": "AuthorizationFailure"})
    assert error.kind is Kind.UNAUTHENTICATED
    assert "firewall" in error.message


def test_a_space_in_a_query_is_no_plus():
    assert Request("GET", "https://c", {"prefix": "a b+c/"}).address == "https://c?prefix=a%20b%2Bc%2F"
