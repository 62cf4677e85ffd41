"""One line per request on stderr: readable on a terminal, or JSON for machines.

Lines are gathered and written together, at the latest after `DELAY` seconds: a write per request would cost
more than formatting it. Values are quoted, so that no path or header can forge a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from functools import lru_cache
from typing import TextIO

from shoso.server.exchange import Exchange

DELAY = 0.05


class AccessLog:
    """Writes what an exchange was: method, route, status, ms, bytes, run or experiment."""

    def __init__(self, form: str, stream: TextIO | None = None) -> None:
        self._format = _json_line if form == "json" else _text_line
        self._stream = stream or sys.stderr
        self._lines: list[str] = []

    def record(self, exchange: Exchange, seconds: float) -> None:
        """Note a finished exchange."""
        if not self._lines:
            asyncio.get_running_loop().call_later(DELAY, self.flush)
        self._lines.append(self._format(exchange, time.time(), seconds * 1000))

    def flush(self) -> None:
        """Write what was noted."""
        lines, self._lines = self._lines, []
        if lines:
            self._stream.write("".join(lines))
            self._stream.flush()


@lru_cache(1)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _text_line(exchange: Exchange, now: float, ms: float) -> str:
    clock = _clock(int(now))
    subject = "".join(f" {name}={value!r}" for name, value in exchange.subject.items())
    size = exchange.received + exchange.sent
    return f"{clock} {exchange.status} {exchange.method} {exchange.route} {ms:.1f} ms {size} B{subject}\n"


def _json_line(exchange: Exchange, now: float, ms: float) -> str:
    line = {
        "time": round(now, 3),
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ms": round(ms, 2),
        "bytes_in": exchange.received,
        "bytes_out": exchange.sent,
        **exchange.subject,
    }
    return json.dumps(line, ensure_ascii=True) + "\n"
