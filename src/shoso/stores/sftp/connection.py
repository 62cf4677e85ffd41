"""One SSH connection, with as many SFTP sessions on it as there are calls under way, up to a limit.

Within a session a server answers in order: a sync or a copy there would hold up every other call. A
connection that was lost is made anew by the next call.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import asyncssh

from shoso.errors import Kind, StoreError, store_error
from shoso.stores.sftp import SftpOptions
from shoso.stores.sftp.errors import UNSAID, translating, unreachable

SESSIONS = 8
"""Sessions on the connection; OpenSSH allows 10 (MaxSessions)."""

PATIENCE = 30.0
"""Seconds that a connection may take to come about."""

CLOSING = 5.0
"""Seconds that closing it may take."""

KEEPALIVE = 15.0
"""Seconds of silence after which the server is asked for a sign of life; it has three chances."""

PACKET = 128 * 1024
"""Bytes in a packet from the server; the default of 32 KiB costs more of our time."""

SCRAPS = 1024 * 1024
"""Bytes left on a disk that count as none."""

CIPHER = "aes128-gcm@openssh.com"
"""The fastest that OpenSSH offers by default, where the processor has AES; see docs/decisions/0005."""

AUTHENTICATED = {CIPHER, "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"}

IGNORED = 2
"""SSH_MSG_IGNORE."""

KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
"""Where OpenSSH looks, when the configuration names no files."""


class Session:
    """An SFTP session, and how many calls and open files there are on it.

    One whose call was lost or left in its middle takes no new ones: what the server still has to do for
    nobody, and the files that nobody will close, end with it.
    """

    def __init__(self, client: asyncssh.SFTPClient, connection: Connection) -> None:
        self.client, self._connection = client, connection
        self.busy = 0
        self.over = False

    @property
    def root(self) -> bytes:
        """The root, without links."""
        return self._connection.root

    @asynccontextmanager
    async def calling(self, path: str) -> AsyncIterator[None]:
        """Around every call. Raises OSError."""
        try:
            with translating(path):
                yield
        except (ConnectionError, asyncio.CancelledError):
            self.over = True
            raise
        except OSError as error:
            if error.errno == UNSAID and await self._full():
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path) from error
            raise

    async def _full(self) -> bool:
        """Whether the disk is; a server that can't write says only that it couldn't."""
        try:
            disk = await self.client.statvfs(self.root)
        except asyncssh.Error:
            return False
        return disk.bavail * disk.frsize < SCRAPS or (disk.files > 0 and not disk.favail)

    def finish(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this without anybody waiting for it, unless it's for the connection to close."""
        task = asyncio.get_running_loop().create_task(work)
        self._connection.finishing.add(task)
        task.add_done_callback(self._connection.finishing.discard)

    def leave(self) -> None:
        """One call or file less; the last one turns out the light."""
        self.busy -= 1
        if self.over and not self.busy:
            self.client.exit()


class Connection:
    """The connection to a host and the sessions on it."""

    def __init__(self, options: SftpOptions) -> None:
        self._options = options
        self.root = options.path.encode()
        self.finishing: set[asyncio.Task[None]] = set()
        self._resolved = False
        self._ssh: asyncssh.SSHClientConnection | None = None
        self._sessions: list[Session] = []
        self._most = SESSIONS
        self._opening = asyncio.Lock()
        self._where = f"{options.host}:{options.port}" if options.port else options.host
        logger = logging.getLogger("asyncssh")
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)  # it tells of every connection and session

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """The least busy session, for one call. Raises OSError, StoreError."""
        session = await self.lease()
        try:
            yield session
        finally:
            session.leave()

    async def lease(self) -> Session:
        """The least busy session, until `leave`. Raises OSError, StoreError."""
        if (session := self._idle()) is None:
            async with self._opening:
                session = self._idle() or await self._another()
        session.busy += 1
        return session

    async def close(self) -> None:
        """Close the connection; may be called again."""
        ssh, self._ssh, self._sessions = self._ssh, None, []
        if ssh is not None:
            ssh.abort()
            with suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(CLOSING):
                    await ssh.wait_closed()
        if self.finishing:
            await asyncio.wait(self.finishing, timeout=CLOSING)

    async def resolve(self, session: Session) -> None:
        """Find out where the root really is; as long as it isn't there, it is where it's said to be."""
        if not self._resolved:
            with suppress(asyncssh.SFTPNoSuchFile):
                self.root = await session.client.realpath(self._options.path.encode())
                self._resolved = True

    def _idle(self) -> Session | None:
        """A session with nothing to do; the one with least, when there can be no more of them."""
        if self._ssh is None or self._ssh.is_closed():
            return None
        self._sessions = [session for session in self._sessions if not session.over]
        session = min(self._sessions, key=lambda session: session.busy, default=None)
        full = len(self._sessions) >= self._most
        return session if session is not None and (full or not session.busy) else None

    async def _another(self) -> Session:
        fresh = self._ssh is None or self._ssh.is_closed()
        if self._ssh is None or fresh:
            self._ssh, self._sessions, self._most = await self._connected(), [], SESSIONS
        try:
            async with asyncio.timeout(PATIENCE):
                session = await self._begun(self._ssh)
        except (OSError, asyncssh.Error) as error:
            return self._spare(error, fresh)
        self._sessions.append(session)
        return session

    async def _begun(self, ssh: asyncssh.SSHClientConnection) -> Session:
        """A session that knows the root. One that nobody waits for any more ends when it has begun.

        The library would let it go on: cancelled often enough, the server would refuse any further one.
        """
        beginning = asyncio.ensure_future(ssh.start_sftp_client(path_encoding=None))
        try:
            session = Session(await asyncio.shield(beginning), self)
            await self.resolve(session)
        except BaseException:
            beginning.add_done_callback(_end)
            raise
        return session

    def _spare(self, error: Exception, fresh: bool) -> Session:
        """Where the server refuses one more, those that there are have to do."""
        if isinstance(error, asyncssh.ChannelOpenError) and self._sessions:
            self._most = len(self._sessions)
            return min(self._sessions, key=lambda session: session.busy)
        if fresh and isinstance(error, asyncssh.ChannelOpenError | asyncssh.SFTPError):
            raise _no_sftp(self._where) from error
        raise unreachable(error, self._where) from error

    async def _connected(self) -> asyncssh.SSHClientConnection:
        keeper = _Keeper()
        try:
            async with asyncio.timeout(min(PATIENCE, self._options.silence or PATIENCE)):
                settings = await asyncio.to_thread(_settings, self._options)
                keeper.known = settings["known_hosts"]
                ssh = await asyncssh.connect(client_factory=lambda: keeper, **settings)
                return _without_padding(ssh)
        except asyncssh.HostKeyNotVerifiable as error:
            raise keeper.refusal(self._where, error) from error
        except (OSError, ValueError, asyncssh.Error, asyncssh.KeyImportError) as error:
            raise unreachable(error, self._where) from error


def _end(begun: asyncio.Future[asyncssh.SFTPClient]) -> None:
    if not begun.cancelled() and begun.exception() is None:
        begun.result().exit()


class _Keeper(asyncssh.SSHClient):
    """Keeps the host key that wasn't recorded, to tell of it; it never accepts one."""

    known: list[str] | bytes = b""
    key: asyncssh.SSHKey | None = None
    place: tuple[str, str, int] = ("", "", 0)

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """See asyncssh.SSHClient; asked about keys that known_hosts doesn't have."""
        self.key, self.place = key, (host, addr, port)
        return False

    def refusal(self, where: str, error: Exception) -> StoreError:
        """Why the host isn't trusted, and the commands that change it."""
        if self.key is None:
            return store_error(Kind.CONFIG, f"{where} isn't trusted: {error}")
        host, addr, port = self.place
        shown = f"{self.key.get_algorithm()} {self.key.get_fingerprint()}"
        name = host if port == 22 else f"[{host}]:{port}"
        if asyncssh.match_known_hosts(self.known, host, addr, port)[0]:
            return store_error(Kind.CONFIG, _OTHER.format(where=where, key=shown, name=name))
        return store_error(Kind.CONFIG, _UNKNOWN.format(where=where, key=shown, port=port, host=host))


_OTHER = (
    "{where} shows another host key ({key}) than known_hosts has for it: it was set up anew, or somebody is"
    " in between. Ask who runs it; then remove the old key: ssh-keygen -R '{name}'"
)
_UNKNOWN = (
    "{where} isn't in known_hosts; its host key is {key}. Compare it with the server's, then record it:"
    " ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts"
)


_UNWANTED = {"command": None, "request_pty": False, "agent_forwarding": False, "x11_forwarding": False}
"""What a configuration has for people (RemoteCommand, RequestTTY …); OpenSSH's sftp leaves it out as well."""


def _without_padding(ssh: asyncssh.SSHClientConnection) -> asyncssh.SSHClientConnection:
    """The same, without the ignored packet that asyncssh puts before each of ours.

    It guards against guesses at the next block of a CBC cipher (RFC 4251, 9.3.1). Those that authenticate
    what they encrypt don't need it, and it is a seventh of our time in an upload (docs/decisions/0005).
    """
    send = ssh.send_packet

    def send_packet(kind: int, *data: bytes, **more: Any) -> None:
        if kind != IGNORED:
            send(kind, *data, **more)

    if ssh.get_extra_info("send_cipher") in AUTHENTICATED:
        ssh.send_packet = send_packet  # type: ignore[method-assign, assignment]
    return ssh


def _settings(given: SftpOptions) -> dict[str, Any]:
    """What asyncssh is to be told: the URI goes above the configuration. Reads files."""
    config = Path(given.config or "~/.ssh/config").expanduser()
    named = {"port": given.port, "username": given.user, "password": given.password}
    settings: dict[str, Any] = {
        "host": given.host,
        "config": [config] if given.config or config.is_file() else [],
        **{name: value for name, value in named.items() if value is not None},
    }
    found = asyncssh.SSHClientConnectionOptions(**settings)
    default = asyncssh.SSHClientConnectionOptions(config=[], host=given.host)
    if found.encryption_algs == default.encryption_algs:
        settings["encryption_algs"] = f"^{CIPHER}"
    silence = given.silence or KEEPALIVE * 4
    return settings | {
        "known_hosts": _known_hosts(cast("list[str]", found.known_hosts or [])),
        **_UNWANTED,
        "keepalive_interval": min(KEEPALIVE, silence / 4),
        "keepalive_count_max": 3,
        "max_pktsize": PACKET,
    }


def _known_hosts(named: list[str]) -> list[str] | bytes:
    """The files of known hosts that there are; never None, with which anybody would be trusted."""
    files = [Path(name).expanduser() for name in named or KNOWN_HOSTS]
    return [str(path) for path in files if path.is_file()] or b""


def _no_sftp(where: str) -> StoreError:
    return store_error(
        Kind.CONFIG,
        f"{where} offers no SFTP: sshd_config there needs the line 'Subsystem sftp internal-sftp'.",
    )
