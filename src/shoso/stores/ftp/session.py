"""One login on an FTP server: aioftp speaks on the control connection, data connections are ours.

Passive only. EPSV comes first; where a server has none, PASV is asked and the address in its reply ignored,
which is wrong behind NAT. The TLS handshake of a data connection comes after the command's 150, as RFC 4217
(10.2) has it: ProFTPD waits for nothing else, and aioftp, which begins with it, would wait for ever.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from contextlib import suppress

import aioftp

from shoso.errors import Kind, store_error
from shoso.stores.ftp.address import FtpOptions, Tls
from shoso.stores.ftp.data import Data, Plain, Secure

CONNECT_TIMEOUT = 30.0
"""Seconds for a login, and for a data connection to come about."""

SETTLE_TIMEOUT = 5.0
"""Seconds that a server gets to answer for a transfer that was broken off."""

KEEPALIVE = 60
"""Seconds of silence after which the kernel asks whether the far end still lives: routers forget a control
connection over which nothing comes while a large transfer lasts."""

FACTS = "type;size;modify;unique;"
"""What MLST and MLSD are to tell; ProFTPD takes half as long again where it tells the owners' names."""

_EPSV = re.compile(r"\((.)\1\1(\d+)\1\)")
_PASV = re.compile(r"(\d+),(\d+),(\d+),(\d+),(\d+),(\d+)")

Refused = aioftp.StatusCodeError
"""The server answered, and not what was hoped for."""


def code(refused: Refused) -> str:
    """The reply's three digits."""
    return str(refused.received_codes[-1])


class Session:
    """A control connection, logged in, and at most one transfer on it."""

    def __init__(self, options: FtpOptions, context: ssl.SSLContext | None) -> None:
        self._options = options
        self._context = context
        self._client = aioftp.Client(ssl=context if options.tls is Tls.IMPLICIT else None)
        self._extended = True
        self._owed = False
        self.used = time.monotonic()

    async def open(self) -> None:
        """Connect and log in. Raises OSError, Refused, StoreError."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connect()
                await self._log_in()
                await self._prepare()
        except BaseException:
            self.drop()
            raise

    @property
    def usable(self) -> bool:
        """Whether it stands where a new command may follow: no reply is owed, and nobody has hung up."""
        stream = self._client.stream
        return not (self._owed or stream.writer.transport.is_closing() or stream.reader.at_eof())

    async def ask(self, command: str, *expected: str) -> list[str]:
        """The lines of the reply to a command. Raises Refused where its code isn't among `expected`."""
        return await self._exchange(command, expected)

    async def reply(self, *expected: str) -> None:
        """The reply that is still owed, for a transfer."""
        await self._exchange(None, expected)

    async def _exchange(self, command: str | None, expected: tuple[str, ...], hidden: int = 0) -> list[str]:
        self._owed = True
        try:
            digits, lines = await self._client.command(command, expected, censor_after=hidden or None)
        except Refused as refused:
            self._owed = code(refused) == "421"  # it is about to hang up
            raise
        self._owed = digits.startswith("1")
        self.used = time.monotonic()
        return list(lines)

    async def transfer(self, command: str, start: int = 0) -> Data:
        """A data connection for a command that moves bytes, from byte `start` on."""
        async with asyncio.timeout(CONNECT_TIMEOUT):
            sock = await self._passive()
            try:
                if start:
                    await self.ask(f"REST {start}", "350")
                await self.ask(command, "1xx")
                return await self._data(sock)
            except BaseException:
                sock.close()
                raise

    async def settle(self, data: Data) -> None:
        """Break a transfer off; the session can be used again if the server has had its last word on it."""
        data.close()
        if self.usable:
            return
        with suppress(OSError, EOFError, ValueError, Refused):
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self.reply("xxx")
                if await self.alive():
                    return
        self._owed = True  # a second word on the transfer, or none: the next reply would be that of another

    async def alive(self) -> bool:
        """Whether the server still answers."""
        with suppress(OSError, EOFError, ValueError, Refused):
            async with asyncio.timeout(SETTLE_TIMEOUT):
                await self.ask("NOOP", "200")
                return True
        return False

    def drop(self) -> None:
        """Let go of the connection at once; may be called again."""
        with suppress(ConnectionError):
            self._client.stream.writer.transport.abort()

    async def quit(self) -> None:
        """Take leave, and let go of the connection; takes a second at the most."""
        with suppress(OSError, ValueError, Refused):
            async with asyncio.timeout(1):
                await self.ask("QUIT", "2xx")
        self.drop()
        with suppress(OSError):
            await self._client.stream.writer.wait_closed()

    # -- logging in ---------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        options = self._options
        await self._client.connect(options.host, options.port)
        _keep_alive(self._client.stream.writer.get_extra_info("socket"))
        if options.tls is Tls.EXPLICIT and self._context is not None:
            try:
                await self.ask("AUTH TLS", "234")
            except Refused:
                what = f"{options.name}: the server offers no TLS; use ftp://, or switch it on there."
                raise store_error(Kind.CONFIG, what, store=options.name) from None
            await self._begin_tls(self._context)

    async def _begin_tls(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on. What came in the clear behind 234 would be taken for what came over it."""
        more = asyncio.ensure_future(self._client.stream.reader.read(1))
        await asyncio.sleep(0)
        if more.done() and more.result():
            raise ConnectionError("somebody speaks up in the clear where TLS is to begin")
        more.cancel()
        await asyncio.wait([more])
        await self._client.stream.start_tls(context, self._options.host)

    async def _log_in(self) -> None:
        try:
            await self.ask(f"USER {self._options.user}", "230")
        except Refused as refused:
            if code(refused) not in {"331", "332"}:
                raise self._turned_away(refused, "USER") from None
            await self._give_password()

    async def _give_password(self) -> None:
        command = f"PASS {self._options.password}"
        try:
            await self._exchange(command, ("202", "230"), hidden=len("PASS "))
        except Refused as refused:
            raise self._turned_away(refused, "PASS") from None

    def _turned_away(self, refused: Refused, step: str) -> Exception:
        if code(refused).startswith("4"):
            return refused
        what = f"{self._options.name} refuses the login of '{self._options.user}' ({code(refused)})"
        if step == "USER" and self._options.tls is Tls.NONE:
            fix = "check the user in the URI, and use ftps:// if the server wants TLS"
        else:
            fix = "check the user and the password in the URI or in ~/.netrc"
        return store_error(Kind.UNAUTHENTICATED, f"{what}: {fix}.", store=self._options.name)

    async def _prepare(self) -> None:
        if self._options.tls is not Tls.NONE:
            await self.ask("PBSZ 0", "200")
            await self.ask("PROT P", "200")
        await self.ask("OPTS UTF8 ON", "xxx")
        await self.ask(f"OPTS MLST {FACTS}", "xxx")
        await self.ask("TYPE I", "200")

    # -- data connections ---------------------------------------------------------------------------------

    async def _passive(self) -> socket.socket:
        port = await self._port()
        host = self._client.stream.writer.get_extra_info("peername")[0]
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def _port(self) -> int:
        if self._extended:
            try:
                [*_, line] = await self.ask("EPSV", "229")
            except Refused as refused:
                if not code(refused).startswith("5"):
                    raise
                self._extended = False
            else:
                return int(_numbers(_EPSV, line)[1])
        [*_, line] = await self.ask("PASV", "227")
        high, low = _numbers(_PASV, line)[4:]
        return int(high) * 256 + int(low)

    async def _data(self, sock: socket.socket) -> Data:
        control = self._client.stream.writer.get_extra_info("ssl_object")
        if control is None:
            return Plain(sock)
        secure = Secure(sock, control, self._options.host)
        await secure.handshake()
        return secure


def _numbers(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    if (found := pattern.search(line)) is None:
        raise ConnectionError("The server's reply names no port for the data.")
    return found.groups()


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # named otherwise, or missing, on some systems
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE)
