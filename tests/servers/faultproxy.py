"""A TCP proxy on loopback that misbehaves to order: slow, cut off, silent, corrupting.

    async with FaultProxy(port_of_the_real_server) as proxy:   # clients use proxy.port
        proxy.reset_every = 3

Every fault is an attribute, and may be changed while connections are open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from tests.servers.listener import Listener, closing

CHUNK = 65536


class FaultProxy(Listener):
    """Forwards connections to a port of this machine, with faults.

    latency            seconds that each chunk waits, in each direction
    rate               bytes a second, per connection and direction
    allowance          bytes that pass in all, in both directions; what is behind them waits for more
    reset_every        every k-th connection is reset as soon as its first bytes have gone up
    reset_up_after     a connection is reset when so many bytes have gone up on it
    reset_down_after   the same for what comes down
    corrupt_up_at      the byte at that place of what goes up on a connection is flipped
    corrupt_down_at    the same for what comes down
    corruptions        how many bytes are flipped in all
    lose_answers       so many answers are swallowed, and their connections reset
    blackhole          bytes are swallowed, connections stay open
    refuse             connections are reset at once
    """

    def __init__(self, upstream: int, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(self._forward, port, host)
        self.upstream = upstream
        self.latency = 0.0
        self.rate: float | None = None
        self.allowance: int | None = None
        self.reset_every: int | None = None
        self.reset_up_after: int | None = None
        self.reset_down_after: int | None = None
        self.corrupt_up_at: int | None = None
        self.corrupt_down_at: int | None = None
        self.corruptions = 1
        self.lose_answers = 0
        self.blackhole = False
        self.refuse = False
        self.connections = 0
        self.resets = 0
        self.corrupted = 0
        self._open: set[_Link] = set()

    async def __aexit__(self, *details: object) -> None:
        self.reset_all()
        await super().__aexit__(*details)

    @property
    def busy(self) -> bool:
        """Whether a connection is open."""
        return bool(self._open)

    def reset_all(self) -> None:
        """Reset every open connection now."""
        for link in list(self._open):
            link.reset()

    def deafen(self) -> None:
        """Swallow, for as long as they live, what comes over the connections that are open now."""
        for link in self._open:
            link.deaf = True

    async def allowed(self, size: int) -> None:
        """Wait until so many bytes may pass."""
        while self.allowance is not None and self.allowance < size:  # noqa: ASYNC110  (set by other threads)
            await asyncio.sleep(0.02)
        if self.allowance is not None:
            self.allowance -= size

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refuse:
            self.resets += 1
            return _reset(writer)
        link = _Link(self, self.connections, writer)
        self._open.add(link)
        try:
            await link.serve(reader, writer)
        finally:
            self._open.discard(link)


class _Link:
    """A connection of a client's, and ours to the server."""

    def __init__(self, proxy: FaultProxy, number: int, near: asyncio.StreamWriter) -> None:
        self._proxy, self._number, self._ends = proxy, number, [near]
        self.deaf = False

    def reset(self) -> None:
        for end in self._ends:
            _reset(end)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._proxy.upstream)
        except OSError:
            _reset(writer)
            raise
        self._ends.append(up_writer)
        async with closing(up_writer):
            with suppress(OSError):
                await both(self.pump(reader, up_writer, up=True), self.pump(up_reader, writer, up=False))
            writer.close()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        proxy, seen = self._proxy, 0
        while data := await reader.read(CHUNK):
            await asyncio.sleep(proxy.latency + (len(data) / proxy.rate if proxy.rate else 0))
            await proxy.allowed(len(data))
            if proxy.blackhole or self.deaf:
                continue
            if not up and proxy.lose_answers:
                proxy.lose_answers -= 1
                return self.reset()
            start, seen = seen, seen + len(data)
            writer.write(self._corrupted(data, start, up))
            await writer.drain()
            if self._breaks(seen, up):
                proxy.resets += 1
                return self.reset()
        with suppress(OSError, RuntimeError):
            writer.write_eof()
        return None

    def _breaks(self, seen: int, up: bool) -> bool:
        proxy = self._proxy
        limit = proxy.reset_up_after if up else proxy.reset_down_after
        nth = up and proxy.reset_every is not None and self._number % proxy.reset_every == 0
        return nth or (limit is not None and seen >= limit)

    def _corrupted(self, data: bytes, start: int, up: bool) -> bytes:
        proxy = self._proxy
        at = proxy.corrupt_up_at if up else proxy.corrupt_down_at
        if at is None or not start <= at < start + len(data) or proxy.corrupted >= proxy.corruptions:
            return data
        proxy.corrupted += 1
        changed = bytearray(data)
        changed[at - start] ^= 0xFF
        return bytes(changed)


async def both(*pumps: Coroutine[Any, Any, None]) -> None:
    """Until both have ended, or one has failed. Raises what that raised."""
    tasks = [asyncio.ensure_future(pump) for pump in pumps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, not FIN."""
    with suppress(OSError, AttributeError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
