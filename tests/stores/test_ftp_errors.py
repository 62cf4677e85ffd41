"""Each mistake in the way to an FTP server gives one sentence: what is wrong and what to change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.conformance.sources import Endless
from tests.servers import ftpd
from tests.servers.listener import Listener
from tests.servers.processes import Launcher, free_ports

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, Retry, StoreError
from shoso.stores import open_store

KEY = Key("run/model.bin")


@pytest.fixture
def own(tmp_path):
    """Starts a server that ends with the test."""
    launcher = Launcher("ftpd", tmp_path)
    yield lambda begin, **changes: begin(launcher, **changes)
    launcher.stop()


async def _failure(uri: str, **environment: str) -> StoreError:
    store = open_store(uri, environment)
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert ftpd.PASSWORD not in caught.value.message
    return caught.value


def _says(error: StoreError, kind: Kind, *words: str) -> None:
    assert error.kind is kind, error
    assert not [word for word in words if word not in error.message], error
    assert error.retry is Retry.NEVER


async def test_a_wrong_password_is_named():
    facts = ftpd.proftpd()
    error = await _failure(ftpd.uri(facts).replace(ftpd.PASSWORD, "another"))
    _says(error, Kind.UNAUTHENTICATED, f"'{ftpd.USER}'", "~/.netrc", "530")


async def test_nobody_who_listens_is_unavailable():
    [port] = free_ports(1)
    error = await _failure(f"ftp://user@127.0.0.1:{port}/a")
    assert (error.kind, error.retry) == (Kind.UNAVAILABLE, Retry.SOON)
    assert f"127.0.0.1:{port}" in error.message


async def test_a_host_that_no_name_server_knows_is_named():
    error = await _failure("ftp://user@nowhere.invalid/a")
    assert error.kind in {Kind.CONFIG, Kind.UNAVAILABLE}
    assert "nowhere.invalid" in error.message


async def test_a_certificate_that_is_not_trusted_is_named():
    facts = ftpd.pyftpd()
    for port, implicit in (("tls_port", "false"), ("implicit_port", "true")):
        error = await _failure(ftpd.uri(facts, "ftps", "a", port), SHOSO_FTPS_IMPLICIT=implicit)
        _says(error, Kind.CONFIG, "127.0.0.1", "isn't trusted", "SSL_CERT_FILE")


async def test_a_certificate_for_another_host_is_named(own):
    facts = own(ftpd.start_pyftpd, hosts=["elsewhere.example"])
    uri = ftpd.uri(facts, "ftps", "a", "tls_port")
    error = await _failure(uri, SSL_CERT_FILE=facts["certificate"])
    _says(error, Kind.CONFIG, "isn't trusted", "the host name that stands in the certificate")


async def test_a_mock_that_speaks_for_the_server_before_tls_begins_is_not_believed():
    """What somebody in between adds in the clear would be taken for the first replies over TLS."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await reader.readline()
        writer.write(b"234 go on\r\n230 logged in already\r\n")
        await reader.read()

    async with Listener(serve) as listener:
        error = await _failure(f"ftps://me@127.0.0.1:{listener.port}/")
    assert error.kind is Kind.UNAVAILABLE
    assert "in the clear where TLS is to begin" in error.message


async def test_a_server_without_tls_is_named(own):
    facts = own(ftpd.start_proftpd, TLSEngine="")
    _says(await _failure(ftpd.uri(facts, "ftps")), Kind.CONFIG, "offers no TLS", "ftp://")


@pytest.mark.parametrize("server", ["proftpd", "pyftpd"])
async def test_a_server_that_wants_tls_is_named(server):
    facts = getattr(ftpd, server)()
    _says(await _failure(ftpd.uri(facts, port="tls_port")), Kind.UNAUTHENTICATED, "ftps://")


async def test_tls_spoken_to_a_server_that_does_not_begin_with_it_is_unavailable():
    uri = ftpd.uri(ftpd.pyftpd(), "ftps", "a", "port")
    error = await _failure(uri, SHOSO_FTPS_IMPLICIT="true")
    assert error.kind is Kind.UNAVAILABLE
    assert "TLS" in error.message


async def test_a_command_that_the_server_lacks_is_named(own):
    facts = own(ftpd.start_pyftpd, without=["MLST", "MLSD", "SIZE"])
    _says(await _failure(ftpd.uri(facts)), Kind.UNSUPPORTED, "doesn't know a command", "SIZE")


async def test_a_user_who_may_only_read_reads(own):
    facts = own(ftpd.start_pyftpd, permissions="elr")
    _says(await _failure(ftpd.uri(facts)), Kind.FORBIDDEN, "may not be touched")
    store = open_store(ftpd.uri(facts), {})
    assert [entry async for entry in store.list(ROOT)] == []
    await store.close()


async def test_a_server_that_replaces_nothing_is_named(own):
    facts = own(ftpd.start_proftpd, AllowOverwrite="off")
    store = open_store(ftpd.uri(facts), {})
    await store.write(KEY, BytesSource(b"first"))
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, BytesSource(b"second"))
    _says(caught.value, Kind.FORBIDDEN, "AllowOverwrite")
    assert await read_bytes(store, KEY) == b"first"
    await store.close()


async def test_more_connections_than_the_server_allows_is_named(own):
    facts = own(ftpd.start_proftpd, MaxClients="1")
    (Path(facts["home"]) / "there").write_bytes(b".")
    store = open_store(ftpd.uri(facts), {})
    assert (await store.stat(Key("there"))).size == 1
    with pytest.raises(StoreError) as caught:
        await read_bytes(store, Key("there"))
    assert (caught.value.kind, caught.value.retry) == (Kind.THROTTLED, Retry.SOON)
    assert "SHOSO_FTP_CONNECTIONS" in caught.value.message
    await store.close()


@pytest.mark.parametrize(
    ("start", "kinds"),
    [
        (ftpd.start_proftpd, {Kind.NO_SPACE, Kind.UNEXPECTED}),  # 451, at times with the words for EIO
        (ftpd.start_pyftpd, {Kind.UNAVAILABLE}),  # it says 426, and drops the connection
    ],
    ids=["proftpd", "pyftpd"],
)
async def test_a_full_disk_is_named_and_nothing_is_left(own, small_disk, start, kinds):
    facts = own(start, home=small_disk)
    store = open_store(ftpd.uri(facts), {})
    with pytest.raises(StoreError) as caught:
        await store.write(KEY, Endless(20_000_000))
    assert caught.value.kind in kinds, caught.value
    await store.write(KEY, Endless(4_000_000))
    assert [entry.size async for entry in store.list(ROOT, deep=True)] == [4_000_000]
    await store.close()
    assert list((small_disk / ".shoso/drafts").glob("*")) == []
