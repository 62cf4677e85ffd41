"""HTTP to the byte: what is sent is what stands here, and no client tidies it up on the way."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from tests.e2e.servers import Server

from shoso.wire.faults import KIND_HEADER

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
OBJECTS = "/api/shoso/1/objects"
API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Answer:
    """A reply: header names in lower case; `body` as far as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def is_whole(self) -> bool:
        return len(self.body) == int(self.headers.get("content-length", 0))


class Wire:
    """A connection. Bytes go out as they are; replies are read one by one."""

    def __init__(self, server: Server, timeout: float = 60) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, method: str, target: str | bytes, body: bytes | None = None, **headers: str) -> Answer:
        """One request with its reply."""
        self.send(request(method, target, body, **headers))
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """The next reply; a body that was cut short is given as far as it came."""
        head = self._until(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        bare = method == "HEAD" or status.split()[1] in {"100", "204", "304"}
        size = 0 if bare else int(headers.get("content-length", 0))
        while len(self._held) < size and self._receive():
            pass
        body, self._held = self._held[:size], self._held[size:]
        return Answer(int(status.split()[1]), headers, body)

    def has_begun(self) -> bool:
        """Whether the first bytes of a reply have come, after waiting for them."""
        return self._receive()

    def is_closed(self) -> bool:
        """Whether the server closes the connection without another byte."""
        try:
            return self._held == b"" and not self._receive()
        except ConnectionError:
            return True

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            if not self._receive():
                raise ConnectionError(f"the server closed after {self._held!r}")
        head, _, self._held = self._held.partition(mark)
        return head

    def _receive(self) -> bool:
        data = self.socket.recv(1 << 20)
        self._held += data
        return bool(data)


def request(method: str, target: str | bytes, body: bytes | None = None, **headers: str) -> bytes:
    """A request's bytes; `content_type=…` is a header, `host=""` leaves the Host out."""
    fields: dict[str, str] = {"host": "localhost"} | {n.replace("_", "-"): v for n, v in headers.items()}
    if body is not None:
        fields.setdefault("content-length", str(len(body)))
    lines = [f"{name}: {value}\r\n".encode() for name, value in fields.items() if name != "host" or value]
    raw = target if isinstance(target, bytes) else target.encode()
    return b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method.encode(), raw, b"".join(lines), body or b"")


def ask(
    server: Server, method: str, target: str | bytes, body: bytes | None = None, **headers: str
) -> Answer:
    """One request on a connection of its own."""
    with Wire(server) as wire:
        return wire.ask(method, target, body, **headers)


def post(server: Server, call: str, fields: Any, **headers: str) -> Answer:
    """A call of the REST API: `fields` as JSON, or bytes as they are."""
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    return ask(server, "POST", f"{API}/{call}", body, **{"content_type": "application/json", **headers})


def get(server: Server, target: str, **headers: str) -> Answer:
    return ask(server, "GET", target, **headers)


def put(server: Server, path: str, body: bytes, **headers: str) -> Answer:
    """Keep an artifact; `path` is percent-encoded already."""
    return ask(server, "PUT", f"{ARTIFACTS}/{path}", body, **headers)


def read(server: Server, path: str, **headers: str) -> Answer:
    """Fetch an artifact; `path` is percent-encoded already."""
    return ask(server, "GET", f"{ARTIFACTS}/{path}", **headers)


def require_refusal(answer: Answer, status: int, code: str, *words: str) -> None:
    """The answer is that error in MLflow's form, with a sentence that has these words."""
    assert answer.status == status, answer
    assert set(answer.json) == {"error_code", "message"}
    assert answer.json["error_code"] == code
    message = answer.json["message"]
    assert message[0].isupper() or message[0] == "'", message
    assert message.endswith((".", "found", "request parameters.")), message
    assert all(word in message for word in words), message
    assert "Traceback" not in message
    assert answer.headers[KIND_HEADER]


def chunked(*pieces: bytes) -> bytes:
    """A body in chunks, ended."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def fields_of(mapping: Mapping[str, str]) -> str:
    """A query string of values that are encoded already."""
    return "&".join(f"{name}={value}" for name, value in mapping.items())
