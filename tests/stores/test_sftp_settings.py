"""What a URI and OpenSSH's configuration say is heeded; what is wrong is named; no password leaks."""

from __future__ import annotations

import asyncio
import getpass
import logging
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
from tests.conformance import expect
from tests.servers import sshd
from tests.servers.processes import Launcher, free_ports, program, run

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ConfigError, Kind
from shoso.layers import standard
from shoso.stores import open_store
from shoso.stores.sftp import SftpOptions

KEY = Key("run/model/weights")
PASSWORD = "hunter2-is-nobody's-to-see"


@pytest.fixture
def facts():
    """The server that all tests share."""
    return sshd.server()


@pytest.fixture
def config(facts, tmp_path):
    """Writes a configuration of the client; what is given comes before what is usual."""

    def write(first: str = "", usual: bool = True) -> dict[str, str]:
        text = Path(facts["config"]).read_text() if usual else ""
        (tmp_path / "ssh_config").write_text(first + "\n" + text)
        return {"SHOSO_SFTP_CONFIG": str(tmp_path / "ssh_config")}

    return write


@pytest.fixture
def started(tmp_path_factory):
    """Starts a server of one's own, with more in its configuration."""
    launchers = []

    def start(more: str) -> dict:
        launchers.append(Launcher("sshd", tmp_path_factory.mktemp("sshd")))
        return sshd.start(launchers[-1], more)

    yield start
    for launcher in launchers:
        sshd.kill(launcher)


@asynccontextmanager
async def _store(uri: str, environment: dict[str, str]):
    store = open_store(uri, environment)
    yield store
    await store.close()


async def _works(uri: str, environment: dict[str, str]) -> None:
    async with _store(uri, environment) as store:
        await store.write(KEY, BytesSource(b"kept"))
        assert await read_bytes(store, KEY) == b"kept"


async def _refused(uri: str, environment: dict[str, str], kind: Kind, *words: str) -> str:
    async with _store(uri, environment) as store:
        with expect.failure(kind) as caught:
            await store.write(KEY, BytesSource(b"."))
    for word in words:
        assert word in caught.value.message
    return caught.value.message


def _uri(facts, tmp_path, host: str = "127.0.0.1") -> str:
    return f"sftp://{host}:{facts['port']}{tmp_path}/root"


# -- the URI ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("sftp://user@host:2222/a/b/", "sftp://user@host:2222/a/b"),
        ("sftp://host", "sftp://host/"),
        ("sftp:///a", "sftp://localhost/a"),
        ("sftp://user:secret@host/a", "sftp://user@host/a"),
        ("sftp://host/50%25", "sftp://host/50%25"),
    ],
)
async def test_a_store_is_named_by_its_uri_without_the_password(uri, name):
    async with _store(uri, {}) as store:
        assert (store.info.scheme, store.info.name) == ("sftp", name)


@pytest.mark.parametrize(
    "uri", ["sftp://host/a?b", "sftp://host/a#b", "sftp://host:99999/a", "sftp://u:s3cret@h/?q"]
)
def test_a_uri_that_names_no_folder_is_refused(uri):
    with pytest.raises(ConfigError) as caught:
        open_store(uri)
    assert "s3cret" not in str(caught.value)


async def test_the_timeout_is_the_stores_silence():
    async with _store("sftp://host/a", {"MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "7"}) as store:
        assert store.info.silence == 7
    async with _store("sftp://host/a", {}) as store:
        assert store.info.silence == 120


# -- OpenSSH's configuration ------------------------------------------------------------------------------


async def test_an_alias_of_the_configuration_is_a_host(facts, config, tmp_path):
    alias = f"Host depot\n    HostName 127.0.0.1\n    Port {facts['port']}"
    await _works(f"sftp://depot{tmp_path}/root", config(alias))
    assert (tmp_path / "root" / KEY).read_bytes() == b"kept"


async def test_the_uri_goes_before_the_configuration(facts, config, tmp_path):
    await _works(_uri(facts, tmp_path), config("Host *\n    Port 1"))
    user = getpass.getuser()
    await _works(_uri(facts, tmp_path, f"{user}@127.0.0.1"), config("Host *\n    User nobody-of-that-name"))


async def test_a_host_behind_another_is_reached_by_proxy_jump(facts, config, tmp_path):
    port = facts["port"]
    jump = f"Host inner\n    HostName 127.0.0.1\n    Port {port}\n    ProxyJump 127.0.0.1:{port}"
    await _works(f"sftp://inner{tmp_path}/root", config(jump))


async def test_a_key_may_come_from_an_agent(facts, config, tmp_path, monkeypatch):
    socket = tmp_path / "agent"
    agent = Launcher("ssh-agent", tmp_path)
    agent.start(program("ssh-agent"), "-D", "-a", socket)
    try:
        agent.until(socket.exists, "its socket")
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        run(program("ssh-add"), "-q", Path(facts["folder"]) / "user_key")
        hosts = f"Host *\n    UserKnownHostsFile {facts['folder']}/known_hosts\n    IdentityFile none"
        await _works(_uri(facts, tmp_path), config(hosts, usual=False))
    finally:
        agent.stop()


@pytest.mark.parametrize(
    "line", ["RequestTTY force", "RemoteCommand top", "ForwardX11 yes", "ForwardAgent yes"]
)
async def test_what_a_configuration_has_for_people_is_left_out(facts, config, tmp_path, monkeypatch, line):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    monkeypatch.delenv("DISPLAY", raising=False)
    await _works(_uri(facts, tmp_path), config(f"Host *\n    {line}"))


async def test_ciphers_of_the_configuration_are_heeded(facts, config, tmp_path):
    async with _store(_uri(facts, tmp_path), config("Host *\n    Ciphers aes256-ctr")) as store:
        await store.write(KEY, BytesSource(b"."))
        ssh = store.system._connection._ssh
        assert ssh.get_extra_info("send_cipher") == "aes256-ctr"
    async with _store(_uri(facts, tmp_path), config()) as store:
        await store.write(KEY, BytesSource(b"."))
        assert store.system._connection._ssh.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"


# -- host keys --------------------------------------------------------------------------------------------


async def test_an_unknown_host_is_refused_with_the_command_that_records_it(facts, config, tmp_path):
    (tmp_path / "empty").write_text("")
    environment = config(f"Host *\n    UserKnownHostsFile {tmp_path}/empty")
    message = await _refused(_uri(facts, tmp_path), environment, Kind.CONFIG, "ssh-keyscan", "SHA256:")
    assert f"-p {facts['port']} 127.0.0.1" in message
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("place", ["none", "/nowhere/at/all"])
async def test_no_known_hosts_means_no_host_is_known(facts, config, tmp_path, place):
    environment = config(f"Host *\n    UserKnownHostsFile {place}")
    await _refused(_uri(facts, tmp_path), environment, Kind.CONFIG, "known_hosts")


async def test_another_host_key_is_refused_with_the_command_that_forgets_the_old(facts, config, tmp_path):
    run(program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    (tmp_path / "hosts").write_text(f"[127.0.0.1]:{facts['port']} {(tmp_path / 'other.pub').read_text()}")
    environment = config(f"Host *\n    UserKnownHostsFile {tmp_path}/hosts")
    await _refused(_uri(facts, tmp_path), environment, Kind.CONFIG, "another host key", "ssh-keygen -R")


async def test_hashed_known_hosts_are_known(facts, config, tmp_path):
    (tmp_path / "hosts").write_text((Path(facts["folder"]) / "known_hosts").read_text())
    run(program("ssh-keygen"), "-q", "-H", "-f", tmp_path / "hosts")
    assert "127.0.0.1" not in (tmp_path / "hosts").read_text()
    await _works(_uri(facts, tmp_path), config(f"Host *\n    UserKnownHostsFile {tmp_path}/hosts"))


# -- what is wrong, and what to do ------------------------------------------------------------------------


async def test_a_key_that_the_server_does_not_know_is_refused(facts, config, tmp_path):
    run(program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key")
    hosts = f"Host *\n    UserKnownHostsFile {facts['folder']}/known_hosts\n    IdentityFile {tmp_path}/key"
    environment = config(hosts + "\n    IdentitiesOnly yes", usual=False)
    await _refused(_uri(facts, tmp_path), environment, Kind.UNAUTHENTICATED, "IdentityFile", "SSH_AUTH_SOCK")


async def test_an_identity_file_that_is_none_is_named(facts, config, tmp_path):
    (tmp_path / "key").write_text("no key at all")
    hosts = f"Host *\n    UserKnownHostsFile {facts['folder']}/known_hosts\n    IdentityFile {tmp_path}/key"
    await _refused(_uri(facts, tmp_path), config(hosts, usual=False), Kind.CONFIG, "IdentityFile")


async def test_a_line_of_the_configuration_that_can_not_be_read_is_named(facts, config, tmp_path):
    await _refused(_uri(facts, tmp_path), config("Port many"), Kind.CONFIG, "configuration")


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"SHOSO_SFTP_CONFIG.*missing"):
        open_store("sftp://host/a", {"SHOSO_SFTP_CONFIG": str(tmp_path / "missing")})


async def test_a_port_where_nothing_listens_is_named(config, tmp_path):
    [port] = free_ports(1)
    uri = f"sftp://127.0.0.1:{port}{tmp_path}"
    await _refused(uri, config(), Kind.UNAVAILABLE, "nothing listens", str(port))


async def test_a_host_that_is_not_known_is_named(config, tmp_path):
    message = await _refused(
        f"sftp://host.invalid{tmp_path}", config(), Kind.CONFIG, "host.invalid", "HostName"
    )
    assert "URI" in message


async def test_a_server_without_sftp_is_named(started, tmp_path):
    facts = started("ForceCommand /bin/false\n")
    await _refused(
        _uri(facts, tmp_path), {"SHOSO_SFTP_CONFIG": facts["config"]}, Kind.CONFIG, "Subsystem sftp"
    )


async def test_a_server_that_is_read_only_is_named_and_can_be_read(started, tmp_path):
    facts = started("Match all\n    ForceCommand internal-sftp -R\n")
    (tmp_path / "root").mkdir()
    (tmp_path / "root/there").write_bytes(b"there")
    environment = {"SHOSO_SFTP_CONFIG": facts["config"]}
    await _refused(_uri(facts, tmp_path), environment, Kind.FORBIDDEN)
    await _refused(_uri(facts, tmp_path) + "/new", environment, Kind.FORBIDDEN, "make it there", "/root/new")
    async with _store(_uri(facts, tmp_path), environment) as store:
        assert await read_bytes(store, Key("there")) == b"there"


async def test_few_sessions_are_made_do_with(started, tmp_path):
    facts = started("MaxSessions 2\n")
    async with _store(_uri(facts, tmp_path), {"SHOSO_SFTP_CONFIG": facts["config"]}) as bare:
        store = standard(bare)
        for number in range(2):
            await asyncio.gather(
                *(store.write(Key(f"{number}/{name}"), BytesSource(b".")) for name in range(30))
            )
        assert len(await expect.everything(store)) == 60


async def test_a_full_disk_is_named_and_the_old_object_stays(facts, small_disk, config):
    async with _store(f"sftp://127.0.0.1:{facts['port']}{small_disk}/root", config()) as store:
        await store.write(KEY, BytesSource(b"old"))
        with expect.failure(Kind.NO_SPACE):
            await store.write(KEY, BytesSource(b"." * (20 * 1024 * 1024)))
        assert await read_bytes(store, KEY) == b"old"
        assert list((small_disk / "root/.shoso/drafts").iterdir()) == []
        await store.write(KEY, BytesSource(b"new"))
        assert await read_bytes(store, KEY) == b"new"


# -- passwords --------------------------------------------------------------------------------------------


class _Gate(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == PASSWORD


@asynccontextmanager
async def _gated(facts):
    """A server that takes a password, and no key: OpenSSH's would ask the accounts of this machine."""
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=_Gate, server_host_keys=[str(Path(facts["folder"]) / "host_key")],
        sftp_factory=True,
    )  # fmt: skip
    yield server.get_port()
    server.close()
    await server.wait_closed()


async def test_a_password_works_with_a_warning_and_is_shown_nowhere(facts, config, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with _gated(facts) as port:
        uri = f"sftp://somebody:{PASSWORD}@127.0.0.1:{port}{tmp_path}/root"
        async with _store(uri, config()) as store:
            await store.write(KEY, BytesSource(b"kept"))
            assert await read_bytes(store, KEY) == b"kept"
            said = [caplog.text, repr(store), repr(store.info), repr(store.system._options)]
    [warning] = [record for record in caplog.records if "password" in record.getMessage()]
    assert warning.levelno == logging.WARNING
    assert "IdentityFile" in warning.getMessage()
    assert not any(PASSWORD in text for text in said)


def test_the_special_characters_of_a_login_are_written_with_percent_signs():
    store = open_store("sftp://me%40example.com:p%40ss%2Fword@host/a%20b")
    options = store.system._options
    assert (options.user, options.password, options.path) == ("me@example.com", "p@ss/word", "/a%20b")


async def test_a_wrong_password_is_refused_and_shown_nowhere(facts, config, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    async with _gated(facts) as port:
        uri = f"sftp://somebody:wr0ng-one@127.0.0.1:{port}{tmp_path}/root"
        async with _store(uri, config()) as store:
            with expect.failure(Kind.UNAUTHENTICATED) as caught:
                await store.stat(KEY)
    trail, error = [caplog.text], caught.value
    while error is not None:
        trail += [str(error), repr(error)]
        error = error.__cause__
    assert not any("wr0ng-one" in text for text in trail)


def test_options_do_not_show_their_password():
    assert PASSWORD not in repr(SftpOptions("host", "/", password=PASSWORD))


async def test_another_servers_sftp_will_do(facts, config, tmp_path):
    """asyncssh's server lacks copy-data and more: parts go by way of this machine."""
    async with _gated(facts) as port:
        uri = f"sftp://somebody:{PASSWORD}@127.0.0.1:{port}{tmp_path}/root"
        async with _store(uri, config()) as store:
            ref = await store.uploads.begin(KEY)
            pieces = [bytes([number]) * 300_000 for number in range(3)]
            parts = [await store.uploads.put(ref, n, BytesSource(piece)) for n, piece in enumerate(pieces, 1)]
            await store.uploads.finish(ref, parts)
            assert await read_bytes(store, KEY) == b"".join(pieces)
            await store.write(KEY, BytesSource(b"again"))
            await store.delete([KEY])
            assert await expect.everything(store) == []
