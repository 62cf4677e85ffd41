"""The remote store against servers that refuse early, break off, lie, or are no Shoso at all."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from contextlib import asynccontextmanager

import pytest
from tests.conformance.sources import Endless
from tests.server.sockets import put, read
from tests.server.test_transfers import flip_a_bit

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, ObjectMeta, SmallObject
from shoso.errors import Kind, Retry, StoreError
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.remote.store import RemoteOptions, RemoteStore
from shoso.wire import tar
from shoso.wire.objects import TAR_TYPE

MIB = 1 << 20
KEY = Key("a")
META = ObjectMeta(KEY, 1, 1.0)


@asynccontextmanager
async def remote(uri: str, silence: float = 20.0):
    """A store at that address, with little patience."""
    store = RemoteStore(RemoteOptions(uri, silence=silence))
    yield store
    await store.close()


@pytest.fixture
async def store(server):
    async with remote(server.uri) as store:
        yield store


async def failure(call) -> StoreError:
    """The error of a call, which must be one of a store's."""
    with pytest.raises(StoreError) as caught:
        await call
    assert caught.value.message.endswith("."), caught.value
    return caught.value


def hurried(store):
    """The store under the standard layers, with short pauses."""
    return standard(store, Policy(RetryPolicy(attempts=3, first=0.01)))


# -- Shoso's own server -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 64 * MIB])
async def test_a_refusal_is_heard_though_the_body_is_still_being_sent(server, store, unique, size):
    key = Key(unique)
    await store.write(key, BytesSource(b"old"))
    for refused, kind in ((Key(".shoso/x"), Kind.INVALID_KEY), (Key(f"{unique}/below"), Kind.EXISTS)):
        error = await failure(store.write(refused, Endless(size)))
        assert (error.kind, error.op, error.key) == (kind, "write", refused)
    assert (await failure(store.write(key, Endless(size), CREATE))).kind is Kind.EXISTS
    assert read(server, unique).body == b"old"


async def test_what_cant_fit_is_refused_though_it_could_be_sent_for_ever(store, unique):
    error = await failure(store.write(Key(unique), Endless(10**15)))
    assert (error.kind, error.retry) == (Kind.NO_SPACE, Retry.NEVER)


@pytest.mark.parametrize("size", [1000, 5 * MIB])
async def test_a_file_that_has_rotted_is_an_error_that_names_it(server, store, unique, size):
    put(server, unique, os.urandom(size))
    flip_a_bit(server.artifacts / unique)
    error = await failure(read_bytes(store, Key(unique)))
    assert error.kind in {Kind.CORRUPT, Kind.UNAVAILABLE}
    error = await failure(read_bytes(hurried(store), Key(unique)))
    assert error.kind is Kind.CORRUPT
    assert unique in error.message


async def test_a_store_is_named_without_its_password():
    async with remote("http://user:secret@127.0.0.1:1/x/") as store:
        assert "secret" not in store.info.name
        error = await failure(store.stat(KEY))
        assert "secret" not in str(error)


# -- others -----------------------------------------------------------------------------------------------


class Impostor:
    """A server that says the same to everybody; None hangs up, no bytes stay silent."""

    def __init__(self, said: bytes | None) -> None:
        self.said = said
        self.asked: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        held = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                break
            self.asked.append(connection.recv(1 << 16))
            if self.said:
                connection.sendall(self.said)
            if self.said is None or self.said:
                connection.shutdown(socket.SHUT_WR)
            held.append(connection)
        for connection in held:
            connection.close()


@pytest.fixture
def impostor():
    """Start one."""
    started = []

    def start(said: bytes | None) -> Impostor:
        started.append(Impostor(said))
        return started[-1]

    yield start
    for server in started:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()


def reply(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers]
    if not any(header.startswith("content-length") for header in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


FOREIGN = {
    "a page": reply("200 OK", b"<html>Welcome to nginx!</html>", "content-type: text/html"),
    "nothing": reply("200 OK"),
    "JSON of another kind": reply("200 OK", b'{"hello": 1}'),
    "half of JSON": reply("200 OK", b'{"entries": ['),
    "no text": reply("200 OK", b"\xff\xfe"),
    "a page that isn't there": reply("404 Not Found", b"<html>404</html>"),
    "a way elsewhere": reply("302 Found", b"", "location: http://127.0.0.1:1/"),
    "a login": reply("401 Unauthorized", b"", "www-authenticate: Basic"),
    "a gateway's trouble": reply("502 Bad Gateway", b"<html>"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a length that is none": reply("200 OK", b"", "content-length: x"),
    "a size that is none": reply(
        "206 Partial Content", b"x", "content-range: bytes 0-0/x", "content-length: 1"
    ),
    "a time that is none": reply("200 OK", b"x", "shoso-modified: yesterday", "content-length: 1"),
    "a body cut short": reply("200 OK", b"x", "content-length: 100"),
    "a header without end": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    "a hang-up": None,
}
VERBS = {
    "connect": lambda store: store.connect(),
    "stat": lambda store: store.stat(KEY),
    "read": lambda store: read_bytes(store, KEY),
    "write": lambda store: store.write(KEY, BytesSource(b"x" * 100_000)),
    "delete": lambda store: store.delete([KEY]),
    "move": lambda store: store.move([(KEY, Key("b"))]),
    "begin": lambda store: store.uploads.begin(KEY),
    "write many": lambda store: store.batches.write([SmallObject(META, b"x" * 100_000)] * 3),
    "read many": lambda store: store.batches.read([KEY]),
}


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
async def test_whatever_another_server_says_is_a_store_error_or_no_error(impostor, said):
    server = impostor(said)
    async with remote(server.uri, silence=2.0) as store:
        for call in VERBS.values():
            try:
                await call(store)
            except StoreError as error:
                assert error.message.endswith(".")  # noqa: PT017
        error = await failure(store.connect())
        assert error.store == server.uri
    assert not any(request.startswith(b"GET / ") for request in server.asked)


def tarred(*objects: SmallObject, end: bytes = tar.END) -> bytes:
    """The reply to a read of many."""
    pieces = [tar.head(each.meta) + each.data + tar.tail(len(each.data)) for each in objects]
    return reply("200 OK", b"".join(pieces) + end, f"content-type: {TAR_TYPE}")


@pytest.mark.parametrize(
    "said",
    {
        "nothing": tarred(),
        "another object": tarred(SmallObject(ObjectMeta(Key("b"), 1, 1.0), b"x")),
        "more than was asked for": tarred(*[SmallObject(META, b"x")] * 3),
        "a large one": tarred(SmallObject(ObjectMeta(KEY, 2**40, 1.0), b"x" * 1000)),
        "no end": tarred(SmallObject(META, b"x"), end=b""),
        "half of it": tarred(SmallObject(ObjectMeta(KEY, 5000, 1.0), b"x" * 1000), end=b""),
        "a climbing name": tarred(SmallObject(ObjectMeta(Key("../a"), 1, 1.0), b"x")),
        "no tar": reply("200 OK", b"x" * 5000),
        "a damaged header": tarred(SmallObject(META, b"x")).replace(b"ustar", b"USTAR"),
    }.items(),
    ids=lambda case: case[0],
)
async def test_a_tar_that_isnt_what_was_asked_for_is_no_objects(impostor, said):
    server = impostor(said[1])
    async with remote(server.uri) as store:
        try:
            found = await store.batches.read([KEY])
        except StoreError as error:
            assert error.store == server.uri  # noqa: PT017
        else:
            assert said[0] in {"more than was asked for", "a climbing name"}
            assert [isinstance(each, StoreError) for each in found] == [said[0] == "a climbing name"]


@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        [{"written": {"key": "b", "size": 1}}],
        [{"written": {"key": "a"}}],
        [{}],
        [{"written": {"key": "a", "size": 1}}] * 2,
    ],
    ids=str,
)
async def test_outcomes_that_arent_those_of_what_was_sent_are_no_outcomes(impostor, outcomes):
    server = impostor(reply("200 OK", json.dumps({"outcomes": outcomes}).encode()))
    async with remote(server.uri) as store:
        error = await failure(store.batches.write([SmallObject(META, b"x")]))
        assert (error.kind, error.store) == (Kind.UNEXPECTED, server.uri)


async def test_a_failure_among_many_is_of_its_kind_also_one_of_a_later_release(impostor):
    failures = [{"failure": {"key": "a", "kind": kind, "message": "No."}} for kind in ("no_space", "new")]
    server = impostor(reply("200 OK", json.dumps({"outcomes": failures}).encode()))
    async with remote(server.uri) as store:
        full, new = await store.batches.write([SmallObject(META, b"x")] * 2)
    assert (full.kind, full.key, full.message, full.store) == (Kind.NO_SPACE, KEY, "No.", server.uri)
    assert new.kind is Kind.UNEXPECTED


async def test_a_move_that_took_long_and_failed_is_an_error(impostor):
    said = {"key": "b", "kind": "no_space", "message": "No."}
    server = impostor(reply("200 OK", b"  " + json.dumps({"failure": said}).encode()))
    async with remote(server.uri) as store:
        error = await failure(store.move([(KEY, Key("b"))]))
    assert (error.kind, error.key, error.op, error.store) == (Kind.NO_SPACE, "b", "move", server.uri)


async def test_a_server_that_cant_move_says_so_or_nothing(impostor):
    older = {
        "create": True, "if_match": True, "ranges": True, "uploads": "parts", "part_min": 0, "part_max": 1,
        "parts_max": 1, "sorted_list": True, "bulk_delete": 1000, "digests": "all",
    }  # fmt: skip
    for said in ({}, {"move": False}, {"move": True}):
        server = impostor(reply("200 OK", json.dumps({**older, **said}).encode()))
        async with remote(server.uri) as store:
            await store.connect()
            assert store.capabilities.move is said.get("move", False)


async def test_a_server_that_stays_silent_is_given_up(impostor):
    server = impostor(b"")
    async with remote(server.uri, silence=0.3) as store:
        for verb, call in VERBS.items():
            error = await failure(call(store))
            assert (error.kind, error.retry) == (Kind.TIMEOUT, Retry.SOON), verb
            assert "0.3 s" in error.message


async def test_a_server_that_is_gone_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with remote(uri) as store:
        for call in VERBS.values():
            error = await failure(call(store))
            assert (error.kind, error.retry) == (Kind.UNAVAILABLE, Retry.SOON)


async def test_a_call_that_is_cancelled_leaves_the_store_usable(server, store, unique):
    slow = asyncio.ensure_future(store.write(Key(unique), Endless(10**10, announced=False)))
    await asyncio.sleep(0.2)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await store.write(Key(unique), BytesSource(b"after"))
    assert read(server, unique).body == b"after"
