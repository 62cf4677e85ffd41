"""Data connections: plain or over TLS, on the loop's bare sockets.

Over TLS the bytes pass through memory buffers of `ssl` rather than the loop's own TLS transport: uvloop's
drops what it holds when the far end closes, measured as 200 KB missing of 200 MB
(docs/decisions/0010-ftp.md), and neither loop's can resume the session of another connection, which
servers ask for.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Protocol

from shoso.core.types import Buffer

BLOCK = 256 * 1024
"""Bytes asked for at once; more doesn't go faster."""


RECORD = 16 * 1024
"""Bytes in a record of TLS at the most (RFC 8446, 5.1)."""


class Data(Protocol):
    """One transfer's bytes."""

    async def send(self, data: Buffer) -> None:
        """Hand the bytes to the kernel. Raises OSError where the far end is gone."""
        ...

    async def finish(self) -> None:
        """Say that everything was sent."""
        ...

    async def receive(self) -> Buffer:
        """The next bytes; none at the end."""
        ...

    def close(self) -> None:
        """Let go of the socket; may be called again."""
        ...


class Plain:
    """As the bytes are."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: Buffer) -> None:
        """See Data."""
        await self._loop.sock_sendall(self._sock, data)

    async def finish(self) -> None:
        """See Data."""
        self._sock.shutdown(socket.SHUT_WR)

    async def receive(self) -> Buffer:
        """See Data."""
        return await self._loop.sock_recv(self._sock, BLOCK)

    def close(self) -> None:
        """See Data."""
        self._sock.close()


class Secure:
    """Over TLS."""

    def __init__(self, sock: socket.socket, control: ssl.SSLObject, host: str) -> None:
        self._plain = Plain(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = control.context.wrap_bio(
            self._in, self._out, server_hostname=host, session=control.session
        )

    async def handshake(self) -> None:
        """Agree on keys. Raises ssl.SSLError, OSError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._fill()
            else:
                return await self._flush()

    async def send(self, data: Buffer) -> None:
        """See Data."""
        view = memoryview(data)
        for start in range(0, len(view), BLOCK):
            self._tls.write(view[start : start + BLOCK])
            await self._flush()

    async def finish(self) -> None:
        """See Data; the far end's farewell isn't waited for, its reply comes on the control connection."""
        with suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        await self._flush()
        await self._plain.finish()

    async def receive(self) -> Buffer:
        """See Data. An end without a farewell is one too: the size is compared anyhow."""
        while (block := self._decrypted()) is None:
            await self._fill()
        return block

    def close(self) -> None:
        """See Data."""
        self._plain.close()

    def _decrypted(self) -> bytes | None:
        """What has come, record by record; None where nothing has yet, nothing at the end."""
        records: list[bytes] = []
        held = 0
        with suppress(ssl.SSLZeroReturnError, ssl.SSLEOFError):
            try:
                while held < BLOCK and (record := self._tls.read(RECORD)):
                    records.append(record)
                    held += len(record)
            except ssl.SSLWantReadError:
                return b"".join(records) or None
        return b"".join(records)

    async def _fill(self) -> None:
        await self._flush()
        if data := await self._plain.receive():
            self._in.write(data)
        else:
            self._in.write_eof()

    async def _flush(self) -> None:
        if self._out.pending:
            await self._plain.send(self._out.read())
