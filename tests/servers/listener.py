"""A port of this machine where each connection is served by a task; with the listener end all of them.

    async with Listener(serve) as listener:   # serve(reader, writer); clients use listener.port

The streams of `asyncio.start_server` are closed by nobody where the task that serves them is cancelled, or
never began: what was accepted in the last moment would outlive its loop. Here it doesn't.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Self

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """Accepts connections, over TLS if it's given a context; `socket` is the one that it listens on."""

    def __init__(
        self, serve: Serve, port: int = 0, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self.port, self.host = port, host
        self._serve, self._tls = serve, tls
        self._connections: dict[asyncio.Task[None], socket.socket] = {}

    async def __aenter__(self) -> Self:
        self.socket = socket.create_server((self.host, self.port))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        asyncio.get_running_loop().add_reader(self.socket, self._accept)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.socket)
        self.socket.close()
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for connection in connections.values():
            connection.close()
        await asyncio.sleep(0)  # a transport that was aborted lets go in the next turn of the loop

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):  # whoever came has gone again
            connection, _ = self.socket.accept()
            task = asyncio.get_running_loop().create_task(self._run(connection))
            self._connections[task] = connection
            task.add_done_callback(self._connections.pop)

    async def _run(self, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            reader, writer = await self._streams(connection)
            async with closing(writer):
                await self._serve(reader, writer)

    async def _streams(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


@asynccontextmanager
async def closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Closes it behind the block when what it holds has been sent, or at once where that fails."""
    try:
        yield
        writer.close()
        await writer.wait_closed()
    finally:
        writer.transport.abort()
