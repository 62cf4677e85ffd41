"""A server that says what it's told to, one reply after another, and keeps what it was asked."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Said:
    """A reply; a status of 0 hangs up without one, and so does `broken` behind the body."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str | None] = field(default_factory=dict)
    broken: bool = False


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def chunked(body: bytes, *, whole: bool = True, **headers: str) -> Said:
    """A body without a length, in one chunk; one that isn't `whole` breaks off behind it."""
    framed = b"%x\r\n%b\r\n" % (len(body), body) + (b"0\r\n\r\n" if whole else b"")
    return Said(200, framed, {"content-length": None, "transfer-encoding": "chunked", **headers}, not whole)


def fault(status: int, error_code: str, message: str = "as the server said") -> Said:
    """An error in MLflow's words."""
    return Said(status, json.dumps({"error_code": error_code, "message": message}).encode())


class Scripted:
    """The last reply is said again and again; `tls` makes it a https server."""

    def __init__(self, replies: Sequence[Said], tls: ssl.SSLContext | None = None) -> None:
        self.replies = [*replies]
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.handle_error = lambda *_: None  # a client that hangs up is none of ours
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.uri = f"{'https' if tls else 'http'}://{self.host}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Hang up."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> Said:
        """The next reply."""
        with self._lock:
            self.asked.append(asked)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._say(scripted.answer(Asked(self.command, self.path, headers, body)))

            def _say(self, said: Said) -> None:
                if not said.status:
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in {"content-length": str(len(said.body)), **said.headers}.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said.body)
                self.close_connection = self.close_connection or said.broken

            def log_message(self, *_: Any) -> None:
                """Say nothing of it."""

        return Handler
