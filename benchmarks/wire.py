"""HTTP/1.1 over one keep-alive socket with next to no cost of its own: requests are bytes made beforehand."""

import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlencode

JSON_HEADERS = "Content-Type: application/json\r\n"


class ReplyError(RuntimeError):
    """The server answered something else than 200; the text holds the body's beginning."""


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one request to localhost."""
    length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n".encode() + body


def json_request(method: str, path: str, payload: Any) -> bytes:
    """The bytes of one request with a JSON body."""
    return request(method, path, json.dumps(payload).encode(), JSON_HEADERS)


@dataclass(slots=True)
class Connection:
    """One socket; opened with the first exchange, closed by `with`."""

    port: int
    timeout: float = 120.0
    _socket: socket.socket | None = field(default=None, init=False)
    _rest: bytearray = field(default_factory=bytearray, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the socket; the next exchange opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._rest.clear()

    def exchange(self, message: bytes) -> tuple[int, bytes]:
        """Send the request and read the whole reply: status and body."""
        head = self._head(message)
        return int(head[9:12]), self._body(head)

    def first_byte(self, message: bytes) -> float:
        """Seconds from the request to the first byte of a body; the rest is read until the server closes."""
        began = time.perf_counter()
        self._head(message)
        if not self._rest:
            self._more(1 << 20)
        seconds = time.perf_counter() - began
        with suppress(ConnectionError):
            while True:
                self._rest.clear()
                self._more(1 << 20)
        return seconds

    def _head(self, message: bytes) -> bytes:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(message)
        return self._until(b"\r\n\r\n").lower()

    def call(self, method: str, path: str, payload: Any = None) -> Any:
        """One JSON call of the API under /api/2.0/mlflow; raises ReplyError on any status but 200."""
        full = f"/api/2.0/mlflow/{path}"
        if method == "GET":
            message = request("GET", f"{full}?{urlencode(payload or {})}")
        else:
            message = json_request(method, full, payload or {})
        status, body = self.exchange(message)
        if status != 200:
            raise ReplyError(f"{method} {path}: {status} {body[:300].decode(errors='replace')}")
        return json.loads(body or b"{}")

    def _body(self, head: bytes) -> bytes:
        if b"transfer-encoding: chunked" in head:
            return self._chunks()
        _, found, tail = head.partition(b"content-length:")
        return self._exactly(int(tail.split(b"\r\n", 1)[0])) if found else b""

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            parts.append(self._exactly(size))
            self._until(b"\r\n")
        self._until(b"\r\n")
        return b"".join(parts)

    def _until(self, mark: bytes) -> bytes:
        while (at := self._rest.find(mark)) < 0:
            self._more(65536)
        return self._take(at + len(mark))

    def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            self._more(1 << 20)
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _more(self, size: int) -> None:
        data = self._socket.recv(size) if self._socket else b""
        if not data:
            self.close()
            raise ConnectionError("the server closed the connection in the middle of a reply")
        self._rest += data
