"""uvicorn's HTTP/1.1, with bounds on the head of a request, and refusals in MLflow's words.

The parser itself would take a head of any length, for any time: a client could fill the memory with one
endless header, or hold a connection for ever with half of one.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shoso.errors import Kind
from shoso.server.exchange import ABORT, SMALL
from shoso.wire.entities import encode
from shoso.wire.faults import FAULTS, FaultReply

HEAD_LIMIT = 64 * 1024
"""Bytes of a request line and headers, beside what came with their first byte."""

PATIENCE = 60.0
"""Seconds for a head, or a whole request with a small body, to arrive in; larger bodies: `exchange`."""

NO_HTTP = (
    "This is not valid HTTP/1.1: the path must be percent-encoded ASCII without a fragment, the body framed"
    " as the headers say, and without an Upgrade."
)
TOO_LONG = f"The request line and headers are longer than {HEAD_LIMIT} bytes."

_HEADERS = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"


class Protocol(HttpToolsProtocol):
    """One connection."""

    _in_head = True
    _complete = False
    _fed = 0
    _head = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._end_wait()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what is still a head afterwards counts, but for the piece it began in."""
        self._fed = len(data)
        super().data_received(data)
        if self._is_answered():
            # uvicorn has stopped its timer, and starts none for the rest of a body that nobody reads.
            self._end_wait()
            self._wait()
            return
        if self._complete or not (self._in_head or self._is_small()):
            self._end_wait()
            return
        self._head += self._fed
        if self._head > HEAD_LIMIT:
            self._refuse(TOO_LONG)
        self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]
        self._in_head, self._complete = True, False
        self._head = -self._fed

    def on_headers_complete(self) -> None:
        """The last byte of a head."""
        self._in_head = False
        if b"#" in self.url:
            raise ValueError("the path would be cut short at the fragment, without a word")
        if self.parser.should_upgrade() and self._has_body():
            raise ValueError("the parser takes the body for another protocol's, and would drop it")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The next bytes of a body, handed on as they are: uvicorn would copy them twice more.

        It joins only what comes before the last bytes were taken.
        """
        if len(body) <= HIGH_WATER_LIMIT or self.cycle.body or self.cycle.response_complete:
            super().on_body(body)
            return
        self.cycle.body = body  # type: ignore[assignment]
        self.flow.pause_reading()
        self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        self._complete = True
        super().on_message_complete()

    def _is_answered(self) -> bool:
        """Whether the reply went out before the whole request was here."""
        if self._in_head or self.cycle is None or self.timeout_keep_alive_task is not None:
            return False
        return bool(self.cycle.response_complete)

    def _has_body(self) -> bool:
        return any(name in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)

    def _is_small(self) -> bool:
        """Whether `exchange` leaves the time of the body to us."""
        return any(
            name == b"content-length" and len(value) <= len(str(SMALL)) for name, value in self.headers
        )

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP and close; a request before it that is all there is answered first."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
        else:
            self._refuse(NO_HTTP)

    def _refuse(self, message: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = encode(FaultReply(FAULTS[Kind.INVALID].error_code, message))
            self.transport.write(STATUS_LINE[400] + _HEADERS % len(body) + body)
        self.transport.close()

    def _wait(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(PATIENCE, self.transport.close)

    def _end_wait(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
