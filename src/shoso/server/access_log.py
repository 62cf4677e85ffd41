"""One line per request on stderr: readable on a terminal, or JSON for machines.

Lines are gathered and written together, at the latest after `DELAY` seconds: a write per request would cost
more than formatting it. Values are quoted, so that no path or header can forge a line.
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import lru_cache

from shoso.server.exchange import Exchange
from shoso.server.lines import Lines

DELAY = 0.05

SHOWN = 100
"""Characters of an id; whoever sends a longer one means no run of ours."""


class AccessLog:
    """Writes what an exchange was: method, route, status, ms, bytes, run or experiment."""

    def __init__(self, form: str, out: Lines) -> None:
        self._format = _json_line if form == "json" else _text_line
        self._out = out
        self._lines: list[str] = []

    def record(self, exchange: Exchange, seconds: float) -> None:
        """Note a finished exchange."""
        if not self._lines:
            asyncio.get_running_loop().call_later(DELAY, self.flush)
        self._lines.append(self._format(exchange, time.time(), seconds * 1000))

    def flush(self) -> None:
        """Hand over what was noted."""
        lines, self._lines = self._lines, []
        if lines:
            self._out.write("".join(lines))

    def close(self) -> None:
        """Write what was noted, if somebody reads it."""
        self.flush()
        self._out.close()


@lru_cache(1)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def _text_line(exchange: Exchange, now: float, ms: float) -> str:
    clock = _clock(int(now))
    subject = "".join(f" {name}={value[:SHOWN]!r}" for name, value in exchange.subject.items())
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
        **{name: value[:SHOWN] for name, value in exchange.subject.items()},
    }
    return json.dumps(line, ensure_ascii=True) + "\n"
