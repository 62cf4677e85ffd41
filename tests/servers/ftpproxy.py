"""Data connections that go wrong: a front door of an FTP server that leads them through faults.

    async with FtpProxy(port_of_the_real_server) as front:   # clients use front.port
        front.faults = {"reset_up_after": 1_000_000}         # of FaultProxy, for each new data connection

Control connections pass unharmed, but for the port in the reply to EPSV. `swallow_after` is a fault of its
own: what goes up behind so many bytes is lost, and the connection ends in good order, as if that were all.
`twice` has the server say 226 once more behind a 426, as some do for a transfer that is broken off.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, suppress

from tests.servers.faultproxy import FaultProxy, both
from tests.servers.listener import Listener, closing

_EPSV = re.compile(rb"\(\|\|\|(\d+)\|\)")


class FtpProxy(Listener):
    """Forwards FTP, without TLS, to a port of this machine; at most `times` data connections have faults."""

    def __init__(self, upstream: int) -> None:
        super().__init__(self._forward)
        self.upstream = upstream
        self.faults: dict[str, object] = {}
        self.times: int | None = None
        self.twice = False
        self._data = AsyncExitStack()

    async def __aexit__(self, *details: object) -> None:
        await super().__aexit__(*details)
        await self._data.aclose()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        async with closing(up_writer):
            await both(self._up(reader, up_writer), self._down(up_reader, writer))

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
        finally:
            writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if line.startswith(b"229") and (found := _EPSV.search(line)):
                    port = await self._data_port(int(found[1]))
                    line = line.replace(found[1], b"%d" % port)
                writer.write(line)
                if self.twice and line.startswith(b"426 "):
                    writer.write(b"226 Abort successful\r\n")
        finally:
            writer.close()

    async def _data_port(self, upstream: int) -> int:
        faulty = self.times is None or self.times > 0
        if faulty and self.faults and self.times is not None:
            self.times -= 1
        faults = dict(self.faults) if faulty else {}
        kind = _Swallowing if "swallow_after" in faults else FaultProxy
        proxy = kind(upstream)
        for name, value in faults.items():
            setattr(proxy, name, value)
        return (await self._data.enter_async_context(proxy)).port


class _Swallowing(FaultProxy):
    """Loses what goes up behind `swallow_after` bytes, and ends the connection there in good order."""

    swallow_after = 0

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        left = self.swallow_after
        async with closing(up_writer):
            with suppress(OSError):
                while data := await reader.read(65536):
                    up_writer.write(data[:left])
                    left -= len(data[:left])
                    if not left and not up_writer.is_closing():
                        up_writer.close()
