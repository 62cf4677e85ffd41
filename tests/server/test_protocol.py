"""HTTP/1.1 to the byte: heads and small bodies are bounded in size and time; no byte is lost or misread."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn
from uvicorn.server import ServerState

from shoso.server import protocol
from shoso.server.protocol import HEAD_LIMIT, NO_HTTP, TOO_LONG, Protocol

HEAD = b"PUT /a HTTP/1.1\r\nhost: x\r\n"


async def echo(scope, receive, send):
    """Says what came: method, raw path and body; `/early` answers before it reads, `/slow` takes its time."""
    body = b""
    if scope["path"] != "/early":
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            more = message["more_body"]
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    said = json.dumps([scope["method"], scope["raw_path"].decode(), len(body), body[:99].decode()]).encode()
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


class Client:
    """A connection to an echo behind our protocol."""

    def __init__(self, port: int, state: ServerState) -> None:
        self.port, self.state = port, state

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def said(self):
        """What the echo said, or (status, error) of a refusal."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        body = json.loads(await asyncio.wait_for(self.reader.readexactly(size), 10))
        status = int(head.split()[1])
        return body if status == 200 else (status, body["error_code"], body["message"])

    async def closed(self) -> bool:
        """Whether the server closes, without another byte."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


@pytest.fixture
async def client():
    config = uvicorn.Config(echo, http=Protocol, ws="none", log_config=None, log_level="critical")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    client = Client(server.sockets[0].getsockname()[1], state)
    await client.open()
    yield client
    await client.close()
    server.close()
    for connection in tuple(state.connections):
        connection.transport.abort()
    while state.tasks:
        await asyncio.wait(state.tasks)


REFUSED = (400, "INVALID_PARAMETER_VALUE", NO_HTTP)


async def test_a_request_is_taken_and_the_connection_kept(client):
    for _ in range(3):
        await client.send(HEAD + b"content-length: 3\r\n\r\nabc")
        assert await client.said() == ["PUT", "/a", 3, "abc"]


async def test_a_request_may_come_byte_by_byte(client):
    for byte in HEAD + b"content-length: 3\r\n\r\nabc":
        await client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await client.said() == ["PUT", "/a", 3, "abc"]


async def test_requests_in_a_row_are_answered_in_order(client):
    await client.send(
        b"".join(HEAD.replace(b"/a", b"/%d" % n) + b"content-length: 1\r\n\r\nx" for n in range(20))
    )
    assert [(await client.said())[1] for _ in range(20)] == [f"/{n}" for n in range(20)]


async def test_a_body_in_chunks_is_put_together(client):
    await client.send(
        HEAD + b"transfer-encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )
    assert await client.said() == ["PUT", "/a", 3, "abc"]


async def test_a_client_that_waits_for_100_continue_gets_it(client):
    await client.send(HEAD + b"expect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.send(b"abc")
    assert await client.said() == ["PUT", "/a", 3, "abc"]


async def test_a_client_that_waits_for_100_continue_is_answered_without_its_body(client):
    await client.send(b"PUT /early HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
    assert await client.said() == ["PUT", "/early", 0, ""]


# -- what is no HTTP --------------------------------------------------------------------------------------

BROKEN = {
    "no HTTP at all": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 64,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": b"get / HTTP/1.1\r\nhost: x\r\n\r\n",
    "two lengths": HEAD + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "a length and chunks": HEAD
    + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunks and a length": HEAD
    + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a negative length": HEAD + b"content-length: -1\r\n\r\n",
    "a length that is no number": HEAD + b"content-length: 3x\r\n\r\nabc",
    "a length with a sign": HEAD + b"content-length: +3\r\n\r\nabc",
    "a length over 64 bits": HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
    "chunks under another name": HEAD + b"transfer-encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "a chunk without a size": HEAD + b"transfer-encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n",
    "a chunk that is longer": HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    "a header without a colon": b"PUT /a HTTP/1.1\r\nhost x\r\n\r\n",
    "a space before a colon": HEAD + b"content-length : 3\r\n\r\nabc",
    "a folded header": HEAD + b"x: a\r\n b\r\n\r\n",
    "a NUL in a header": HEAD + b"x: a\0b\r\n\r\n",
    "a lone CR in a header": HEAD + b"x: a\rcontent-length: 3\r\n\r\nabc",
    "a fragment": b"PUT /a#b HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    "a fragment behind a query": b"GET /a?b#c HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path that isn't ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path with a blank": b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a path with a NUL": b"GET /a\0b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tunnel": b"CONNECT evil:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "a body behind an upgrade": HEAD + b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n\r\nabc",
    "chunks behind an upgrade": HEAD
    + b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
async def test_what_is_no_http_is_refused_and_the_connection_closed(client, data):
    await client.send(data)
    assert await client.said() == REFUSED
    assert await client.closed()


async def test_an_upgrade_without_a_body_is_ignored(client):
    await client.send(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
    assert await client.said() == ["GET", "/a", 0, ""]


@pytest.mark.parametrize("path", ["/slow", "/a"])
async def test_bytes_behind_a_body_are_no_part_of_it(client, path):
    """A length that is too small: the request is what it announced, and nothing else is taken from there."""
    await client.send(HEAD.replace(b"/a", path.encode()) + b"content-length: 3\r\n\r\nabcdefghi")
    assert await client.said() == ["PUT", path, 3, "abc"]
    answer = await asyncio.wait_for(client.reader.read(), 10)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


async def test_a_request_is_answered_before_the_nonsense_behind_it(client):
    await client.send(
        HEAD.replace(b"/a", b"/slow") + b"content-length: 1\r\n\r\nx" + b"\x16\x03\x01 nonsense\r\n\r\n"
    )
    assert (await client.said())[:3] == ["PUT", "/slow", 1]
    assert await client.closed()


# -- bounds -----------------------------------------------------------------------------------------------


async def test_a_long_head_is_taken_up_to_a_bound(client):
    await client.send(b"GET /a HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (HEAD_LIMIT - 1024) + b"\r\n\r\n")
    assert await client.said() == ["GET", "/a", 0, ""]


ENDLESS = {
    "a header": (b"GET / HTTP/1.1\r\nx: ", b"y"),
    "headers": (b"GET / HTTP/1.1\r\n", b"x: y\r\n"),
    "a path": (b"GET /", b"x"),
    "a method": (b"", b"G"),
    "blank lines": (b"", b"\r\n"),
    "a second request": (HEAD + b"content-length: 0\r\n\r\nGET / HTTP/1.1\r\nx: ", b"y"),
}


@pytest.mark.parametrize(("start", "piece"), ENDLESS.values(), ids=ENDLESS)
async def test_a_head_without_end_is_cut_off(client, start, piece):
    await client.send(start)
    sent = 0
    try:
        while not client.reader.at_eof() and sent < 64 * HEAD_LIMIT:
            await client.send(piece * (16384 // len(piece)))
            sent += 16384
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert sent < 64 * HEAD_LIMIT
    assert not client.state.connections


async def test_a_head_in_one_piece_with_a_large_body_is_no_long_head(client):
    body = b"x" * (1 << 20)
    request = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
    await client.send(request + request[:30])
    assert (await client.said())[2] == len(body)
    await client.send(request[30:])
    assert (await client.said())[2] == len(body)


async def test_a_refused_head_says_so(client):
    await client.send(b"GET / HTTP/1.1\r\nx: y")
    said = asyncio.ensure_future(client.said())
    while not said.done():
        await client.send(b"y" * 1024)
        await asyncio.sleep(0.01)
    assert said.result() == (400, "INVALID_PARAMETER_VALUE", TOO_LONG)


SLOW = {
    "nothing": b"",
    "half a line": b"GET /a HT",
    "half a head": HEAD,
    "half a small body": HEAD + b"content-length: 3\r\n\r\nab",
    "half a second head": HEAD + b"content-length: 0\r\n\r\n" + HEAD,
}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
async def test_half_a_request_is_given_up(monkeypatch, client, data):
    monkeypatch.setattr(protocol, "PATIENCE", 0.2)
    await client.close()
    await client.open()
    await client.send(data)
    if b"content-length: 0" in data:
        assert await client.said() == ["PUT", "/a", 0, ""]
    assert await client.closed()
    assert not client.state.connections


async def test_a_drip_is_given_up_too(monkeypatch, client):
    monkeypatch.setattr(protocol, "PATIENCE", 0.3)
    await client.close()
    await client.open()
    dripped = 0
    try:
        for byte in HEAD * 100:
            await client.send(bytes([byte]))
            dripped += 1
            await asyncio.sleep(0.02)
            if client.reader.at_eof():
                break
    except ConnectionError:
        pass
    assert dripped < 100


async def test_a_large_body_and_an_idle_connection_are_left_to_others(monkeypatch, client):
    monkeypatch.setattr(protocol, "PATIENCE", 0.1)
    await client.close()
    await client.open()
    await client.send(HEAD + b"content-length: 10000\r\n\r\n")
    await asyncio.sleep(0.3)
    await client.send(b"x" * 10000)
    assert (await client.said())[2] == 10000
    await asyncio.sleep(0.3)
    await client.send(HEAD + b"content-length: 0\r\n\r\n")
    assert await client.said() == ["PUT", "/a", 0, ""]


@pytest.mark.parametrize(
    "rest", [b"", b"x" * 5000, b"x" * 19_000], ids=["nothing", "a part", "all but the end"]
)
async def test_a_sender_that_goes_silent_after_an_early_answer_is_let_go(monkeypatch, client, rest):
    """uvicorn stops its own timer at the first byte after the reply, and starts no other."""
    monkeypatch.setattr(protocol, "PATIENCE", 0.3)
    await client.close()
    await client.open()
    await client.send(HEAD.replace(b"/a", b"/early") + b"content-length: 20000\r\n\r\nx")
    await client.said()
    await client.send(rest)
    assert await client.closed()
    assert not client.state.connections
