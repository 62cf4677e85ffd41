"""The load generator where there is no wrk: raw sockets on one loop, requests from a template.

Runs in the mlflow environment, which has uvloop. Prints the same JSON line as log_metric.lua.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import dataclass, field

import uvloop

FIRST_STEP = 1_000_000_000  # every step has as many digits, so the length of the body never changes


@dataclass(slots=True)
class Tally:
    """What all connections did together."""

    head: bytes
    deadline: float = 0.0
    step: int = FIRST_STEP
    requests: int = 0
    refused: int = 0
    broken: int = 0
    milliseconds: list[float] = field(default_factory=list)

    def next_request(self) -> bytes:
        """The bytes of a request for a point that no other request logs."""
        self.step += 1
        return b"%b%d}" % (self.head, self.step)


class Sender(asyncio.Protocol):
    """One connection: the next request leaves when the last reply is complete."""

    def __init__(self, tally: Tally, ended: asyncio.Future[None]) -> None:
        self.tally = tally
        self.ended = ended
        self.buffer = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        """Count a complete reply and go on; wait for the rest of an incomplete one."""
        self.buffer += data
        if not _complete(self.buffer):
            return
        now = time.monotonic()
        self.tally.milliseconds.append(1000 * (now - self.sent_at))
        self.tally.requests += 1
        self.tally.refused += not self.buffer.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        if now < self.tally.deadline:
            self._send()
        else:
            self._finish()

    def connection_lost(self, _error: Exception | None) -> None:
        """A connection that the server ends before its time counts as broken."""
        if not self.ended.done():
            self.tally.broken += 1
            self._finish()

    def _send(self) -> None:
        self.sent_at = time.monotonic()
        self.transport.write(self.tally.next_request())

    def _finish(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self.transport.close()


def _complete(reply: bytes) -> bool:
    head, found, body = reply.partition(b"\r\n\r\n")
    if not found:
        return False
    _, sized, tail = head.lower().partition(b"content-length:")
    if sized:
        return len(body) >= int(tail.split(b"\r\n", 1)[0])
    return body.endswith(b"0\r\n\r\n")


def _head(port: int, path: str, run: str, key: str) -> bytes:
    start = f'{{"run_id":"{run}","key":"{key}","value":0.5,"timestamp":1700000000000,"step":'
    length = len(start) + len(str(FIRST_STEP)) + 1
    lines = (f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json")
    return ("\r\n".join([*lines, f"Content-Length: {length}", "", ""]) + start).encode()


async def _flood(options: argparse.Namespace) -> Tally:
    loop = asyncio.get_running_loop()
    tally = Tally(_head(options.port, options.path, options.run, options.key))
    tally.deadline = time.monotonic() + options.seconds
    ends = [loop.create_future() for _ in range(options.connections)]
    for end in ends:
        await loop.create_connection(lambda end=end: Sender(tally, end), "127.0.0.1", options.port)
    await asyncio.wait_for(asyncio.gather(*ends), options.seconds + 30)
    return tally


def main() -> None:
    """Flood the server for the given time and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("port", int), ("path", str), ("run", str), ("key", str)):
        parser.add_argument(name, type=kind)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    began = time.monotonic()
    tally = uvloop.run(_flood(options))
    seconds = time.monotonic() - began
    ranked = sorted(tally.milliseconds)
    result = {
        "requests": tally.requests,
        "seconds": seconds,
        "refused": tally.refused,
        "broken": tally.broken,
    }
    result |= {"p50_ms": statistics.median(ranked), "p99_ms": ranked[int(0.99 * len(ranked))]}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
