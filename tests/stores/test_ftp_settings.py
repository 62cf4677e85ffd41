"""What an FTP URI and its settings mean, and that no password is ever shown."""

from __future__ import annotations

import logging

import pytest
import uvloop
from tests.conformance.sources import Endless
from tests.servers import ftpd
from tests.servers.processes import Launcher

from shoso.core.keys import ROOT, Key
from shoso.core.options import from_environment
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, Kind, StoreError
from shoso.layers import standard
from shoso.stores import open_store
from shoso.stores.ftp import SETTINGS
from shoso.stores.ftp.address import FtpOptions, Tls, options

SECRET = "hunter2%40!"
KEY = Key("run/model.bin")


def _options(uri: str, **environment: str) -> FtpOptions:
    return options(uri, from_environment(SETTINGS, {"NETRC": "/nowhere", **environment}))


@pytest.fixture
def own(tmp_path):
    """Starts servers that end with the test."""
    launchers = []

    def start(begin, **changes):
        folder = tmp_path / f"server{len(launchers)}"
        folder.mkdir()
        launchers.append(Launcher("ftpd", folder))
        return begin(launchers[-1], **changes)

    yield start
    for launcher in launchers:
        launcher.stop()


async def _works(uri: str, **environment: str) -> None:
    """A write, a read, a listing and a deletion."""
    store = open_store(uri, environment)
    data = b"0123456789" * 200_000
    await store.write(KEY, BytesSource(data))
    assert await read_bytes(store, KEY) == data
    assert [entry.key async for entry in store.list(ROOT, deep=True)] == [KEY]
    await store.delete([KEY])
    assert [entry async for entry in store.list(ROOT)] == []
    await store.close()


@pytest.mark.parametrize(
    ("uri", "host", "port", "root", "tls"),
    [
        ("ftp://host", "host", 21, "/", Tls.NONE),
        ("ftp://host/", "host", 21, "/", Tls.NONE),
        ("ftp://host/a/b/", "host", 21, "/a/b", Tls.NONE),
        ("ftp://host/50%25 off", "host", 21, "/50%25 off", Tls.NONE),
        ("FTP://HOST:2121/a", "host", 2121, "/a", Tls.NONE),
        ("ftp:///a", "localhost", 21, "/a", Tls.NONE),
        ("ftp://[::1]:2121/a", "::1", 2121, "/a", Tls.NONE),
        ("ftps://host/a", "host", 21, "/a", Tls.EXPLICIT),
        ("ftps://host:990/a", "host", 990, "/a", Tls.IMPLICIT),
        ("ftps://host:2121/a", "host", 2121, "/a", Tls.EXPLICIT),
    ],
)
def test_a_uri_names_server_and_folder(uri, host, port, root, tls):
    found = _options(uri)
    assert (found.host, found.port, found.root, found.tls) == (host, port, root, tls)


@pytest.mark.parametrize(
    ("value", "port", "tls"), [("true", 2121, Tls.IMPLICIT), ("false", 990, Tls.EXPLICIT)]
)
def test_a_setting_decides_how_tls_begins(value, port, tls):
    assert _options(f"ftps://host:{port}/a", SHOSO_FTPS_IMPLICIT=value).tls is tls


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("", "anonymous", "anonymous@"),
        ("me@", "me", ""),
        ("me:secret@", "me", "secret"),
        ("me:50%2525%40home@", "me", "50%25@home"),
        ("d%40in:x@", "d@in", "x"),
    ],
)
def test_the_login_stands_in_the_uri(login, user, password):
    found = _options(f"ftp://{login}host/a")
    assert (found.user, found.password) == (user, password)


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("", "me", "from netrc"),
        ("me@", "me", "from netrc"),
        ("me:own@", "me", "own"),
        ("other@", "other", ""),
    ],
)
def test_a_login_without_a_password_is_looked_up(tmp_path, login, user, password):
    (tmp_path / "netrc").write_text('machine host login me password "from netrc"\n')
    found = _options(f"ftp://{login}host/a", NETRC=str(tmp_path / "netrc"))
    assert (found.user, found.password) == (user, password)


def test_the_netrc_of_the_home_folder_is_read_where_no_other_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine host login me password secret\n")
    assert options("ftp://host/a", from_environment(SETTINGS, {})).password == "secret"


@pytest.mark.parametrize(
    ("uri", "environment", "named"),
    [
        ("ftp://host:x/a", {}, "ftp://user@host:port/path"),
        ("ftp://me:DELE/x@host/a", {}, "special characters of a password"),
        ("ftp://host/a/../b", {}, "'..'"),
        ("ftp://host/a?b", {}, "query"),
        ("ftp://host/a", {"SHOSO_FTP_CONNECTIONS": "0"}, "SHOSO_FTP_CONNECTIONS"),
        ("ftps://host/a", {"SHOSO_FTPS_IMPLICIT": "maybe"}, "SHOSO_FTPS_IMPLICIT"),
        ("ftps://host/a", {"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE: '/nowhere.pem'"),
        ("ftp://me:a%0d%0aDELE%20x@host/a", {}, "line break"),
    ],
)
def test_a_setting_that_cant_be_used_is_named(uri, environment, named):
    with pytest.raises(ConfigError) as caught:
        open_store(uri, environment)
    assert named in caught.value.message
    assert "DELE" not in caught.value.message


def test_a_netrc_that_cant_be_read_is_named_and_not_quoted(tmp_path):
    (tmp_path / "netrc").write_text("machine host\nlogin me password\nhunter2 hunter2\n")
    with pytest.raises(ConfigError) as caught:
        open_store("ftp://host/a", {"NETRC": str(tmp_path / "netrc")})
    assert str(tmp_path / "netrc") in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_password_in_the_uri_is_warned_of_once(caplog):
    for _ in range(3):
        open_store(f"ftp://me:{SECRET}@once.example/a")
    [said] = [record.getMessage() for record in caplog.records]
    assert "ftp://me@once.example/a" in said
    assert "~/.netrc" in said


async def test_no_password_is_ever_shown(caplog):
    caplog.set_level(logging.DEBUG)
    facts = ftpd.proftpd()
    for password, wrong in ((ftpd.PASSWORD, False), ("wr0ng-secret", True)):
        uri = ftpd.uri(facts, path="shown").replace(ftpd.PASSWORD, password)
        store = open_store(uri, {})
        shown = [repr(store.info), repr(_options(uri)), repr(store), repr(standard(store))]
        with pytest.raises(StoreError) as caught:
            await store.stat(Key("missing"))
        error = caught.value
        shown += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
        assert (error.kind is Kind.UNAUTHENTICATED) == wrong
        await store.close()
        assert password not in "".join([*shown, caplog.text])
    assert "aioftp" in caplog.text


async def test_the_time_out_is_mlflows():
    assert _options("ftp://host/a").silence == 120
    assert _options("ftp://host/a", MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT="7").silence == 7
    assert open_store("ftp://host/a", {"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "-1"}).info.silence is None


# -- ways to reach a server --------------------------------------------------------------------------------


async def test_proftpd_over_tls_works():
    facts = ftpd.proftpd()
    await _works(ftpd.uri(facts, "ftps", "tls", "tls_port"), SSL_CERT_FILE=facts["certificate"])


async def test_proftpd_that_wants_the_same_tls_session_works(own):
    facts = own(ftpd.start_proftpd, TLSOptions="")
    await _works(ftpd.uri(facts, "ftps", "a", "tls_port"), SSL_CERT_FILE=facts["certificate"])


@pytest.mark.parametrize("server", ["proftpd", "pyftpd"])
def test_what_comes_over_tls_is_whole_on_uvloop_too(server):
    """The server's loop; its own TLS loses what it holds when the far end closes."""
    facts = getattr(ftpd, server)()
    uri = ftpd.uri(facts, "ftps", "uvloop", "tls_port")

    async def there_and_back() -> None:
        store = open_store(uri, {"SSL_CERT_FILE": facts["certificate"]})
        for _ in range(3):
            await store.write(KEY, Endless(48 * 1024 * 1024))
            async with await store.read(KEY) as reading:
                assert sum([len(data) async for data in reading.body]) == 48 * 1024 * 1024
        await store.close()

    uvloop.run(there_and_back())


async def test_tls_from_the_first_byte_works():
    facts = ftpd.pyftpd()
    environment = {"SSL_CERT_FILE": facts["certificate"], "SHOSO_FTPS_IMPLICIT": "true"}
    await _works(ftpd.uri(facts, "ftps", "implicit", "implicit_port"), **environment)


async def test_a_server_without_epsv_and_with_the_wrong_address_works(own):
    facts = own(ftpd.start_pyftpd, without=["EPSV"], masquerade_address="192.0.2.1")
    await _works(ftpd.uri(facts, path="nat"))


async def test_a_login_from_netrc_works(tmp_path):
    facts = ftpd.proftpd()
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {ftpd.USER} password {ftpd.PASSWORD}\n")
    await _works(f"ftp://127.0.0.1:{facts['port']}/netrc", NETRC=str(tmp_path / "netrc"))


async def test_an_anonymous_login_reads(own):
    facts = own(ftpd.start_pyftpd)
    store = open_store(f"ftp://127.0.0.1:{facts['port']}/", {"NETRC": "/nowhere"})
    assert [entry async for entry in store.list(ROOT)] == []
    await store.close()
