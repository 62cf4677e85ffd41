"""Bytes on the move: conditions, digests, lengths that lie, writers and readers at once, rotten files."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from tests.server.sockets import ARTIFACTS, OBJECTS, Wire, ask, chunked, put, read, request, require_refusal
from tests.server.trees import drafts

from shoso.core.digest import digest

MIB = 1 << 20
ROUTES = [ARTIFACTS, OBJECTS]
OLD, NEW = b"old " * 1000, b"new " * 1000


def eventually(condition, seconds: float = 20) -> bool:
    """Whether a condition comes true."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(true)


@pytest.fixture
def path(server, unique):
    """A path with the bytes of OLD; afterwards no draft is left."""
    assert put(server, f"{unique}/a", OLD).status == 200
    yield f"{unique}/a"
    assert eventually(lambda: not drafts(server.artifacts)), drafts(server.artifacts)


@pytest.fixture(params=ROUTES, ids=["artifacts", "objects"])
def target(request, path):
    """The path as a URL, by MLflow's route and by Shoso's."""
    return f"{request.param}/{path}"


def etag_of(server, target) -> str:
    return ask(server, "HEAD", target).headers["etag"]


# -- what is said of an object ----------------------------------------------------------------------------


def test_a_put_says_what_it_kept(server, target):
    answer = ask(server, "PUT", target, NEW)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["shoso-digest"] == digest(NEW)
    head = ask(server, "HEAD", target)
    for name in ("etag", "shoso-digest", "shoso-modified"):
        assert head.headers[name] == answer.headers[name]
    assert head.headers["content-length"] == str(len(NEW))


def test_every_write_has_an_etag_of_its_own(server, target):
    assert len({ask(server, "PUT", target, OLD).headers["etag"] for _ in range(5)}) == 5


# -- conditions -------------------------------------------------------------------------------------------


def test_a_put_that_only_creates_leaves_what_is_there(server, target, path):
    require_refusal(ask(server, "PUT", target, NEW, if_none_match="*"), 409, "RESOURCE_CONFLICT", path)
    assert read(server, path).body == OLD
    assert ask(server, "PUT", target + "-new", NEW, if_none_match="*").status == 200


def test_a_put_that_replaces_a_version_replaces_no_other(server, target, path):
    first = etag_of(server, target)
    replaced = ask(server, "PUT", target, NEW, if_match=first)
    assert replaced.status == 200
    require_refusal(ask(server, "PUT", target, OLD, if_match=first), 412, "ABORTED", path)
    require_refusal(ask(server, "PUT", f"{target}-new", OLD, if_match=first), 412, "ABORTED", path)
    assert read(server, path).body == NEW
    assert read(server, f"{path}-new").status == 404


UNKEPT = [
    {"if_none_match": '"x"'},
    {"if_none_match": "x"},
    {"if_none_match": ""},
    {"if_match": "*"},
    {"if_match": 'W/"x"'},
    {"if_match": '"a", "b"'},
    {"if_match": ""},
    {"if_match": '""'},
    {"if_match": "unquoted"},
    {"if_match": '"x"', "if_none_match": "*"},
]


@pytest.mark.parametrize("condition", UNKEPT, ids=str)
def test_a_condition_that_cant_be_kept_is_refused_and_never_ignored(server, target, path, condition):
    require_refusal(ask(server, "PUT", target, NEW, **condition), 400, "INVALID_PARAMETER_VALUE", "If-Match")
    assert read(server, path).body == OLD


def test_of_creators_at_once_one_wins(server, unique):
    contents = [b"%d" % n * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda content: put(server, unique, content, if_none_match="*"), contents))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    [winner] = [content for content, answer in zip(contents, answers, strict=True) if answer.status == 200]
    assert read(server, unique).body == winner


def test_of_replacers_of_one_version_at_once_one_wins(server, path):
    etag = etag_of(server, f"{ARTIFACTS}/{path}")
    contents = [b"%d" % n * 100_000 for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda content: put(server, path, content, if_match=etag), contents))
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7
    [winner] = [content for content, answer in zip(contents, answers, strict=True) if answer.status == 200]
    assert read(server, path).body == winner


# -- ranges -----------------------------------------------------------------------------------------------

NO_RANGES = [
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=5-2",
    "items=0-1",
    "bytes 0-1",
    "bytes=0-1,3-4",
    "bytes=0-1-2",
]
NO_RANGES += ["bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=\xb2-\xb3", "bytes=--1", "x" * 9000]


@pytest.mark.parametrize("text", NO_RANGES)
def test_what_is_no_range_is_ignored(server, target, text):
    with Wire(server) as wire:
        wire.send(
            b"GET %s HTTP/1.1\r\nhost: localhost\r\nrange: %s\r\n\r\n"
            % (target.encode(), text.encode("latin-1"))
        )
        answer = wire.answer()
    assert (answer.status, answer.body) == (200, OLD)


@pytest.mark.parametrize(
    "text", ["bytes=4000-", "bytes=99999999999999999999-", "bytes=-0", "bytes=5000-6000"]
)
def test_a_range_of_no_byte_is_refused_with_the_size(server, target, text):
    answer = ask(server, "GET", target, range=text)
    require_refusal(answer, 416, "INVALID_PARAMETER_VALUE", "4000 bytes")
    assert answer.headers["content-range"] == "bytes */4000"


@pytest.mark.parametrize(("text", "part"), [("bytes=1-2", slice(1, 3)), ("bytes=-3", slice(-3, None))])
@pytest.mark.parametrize("more", ["", "9" * 18])
def test_a_range_is_exactly_those_bytes(server, target, text, part, more):
    if more and text.startswith("bytes=-"):
        part = slice(None)
    elif more:
        part = slice(1, None)
    answer = ask(server, "GET", target, range=text + more)
    assert (answer.status, answer.body) == (206, OLD[part])


def test_a_range_of_another_version_is_the_whole(server, target):
    etag = etag_of(server, target)
    ask(server, "PUT", target, NEW)
    assert ask(server, "GET", target, range="bytes=0-1", if_range=etag).body == NEW
    require_refusal(ask(server, "GET", target, if_match=etag), 412, "ABORTED")


# -- digests ----------------------------------------------------------------------------------------------


def test_a_digest_that_is_right_is_taken(server, target, path):
    assert ask(server, "PUT", target, NEW, shoso_digest=digest(NEW)).status == 200
    assert ask(server, "PUT", target, NEW, shoso_digest=digest(NEW).upper()).status == 200
    trailing = NEW + bytes.fromhex(digest(NEW))
    assert ask(server, "PUT", target, trailing, shoso_trailer="digest").status == 200
    assert read(server, path).body == NEW


@pytest.mark.parametrize("large", [False, True])
def test_a_digest_that_is_wrong_keeps_the_old_object(server, target, path, large):
    body = NEW * (1000 if large else 1)
    wrong = digest(body + b"!")
    require_refusal(ask(server, "PUT", target, body, shoso_digest=wrong), 422, "DATA_LOSS", path, wrong)
    trailing = body + bytes.fromhex(wrong)
    require_refusal(
        ask(server, "PUT", target, trailing, shoso_trailer="digest"), 422, "DATA_LOSS", path, wrong
    )
    assert read(server, path).body == OLD


def test_a_flipped_bit_on_the_way_keeps_the_old_object(server, target, path):
    body = bytearray(NEW + bytes.fromhex(digest(NEW)))
    body[17] ^= 4
    require_refusal(ask(server, "PUT", target, bytes(body), shoso_trailer="digest"), 422, "DATA_LOSS", path)
    assert read(server, path).body == OLD


@pytest.mark.parametrize("text", ["", "x", "0" * 63, "g" * 64, "sha256:" + "0" * 64])
def test_what_is_no_digest_is_refused(server, target, path, text):
    answer = ask(server, "PUT", target, NEW, shoso_digest=text)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "shoso-digest", "64 hex digits")
    assert read(server, path).body == OLD


@pytest.mark.parametrize("text", ["", "sha256", "Digest", "digest, digest"])
def test_an_unknown_trailer_is_refused_and_never_stored(server, target, path, text):
    answer = ask(server, "PUT", target, NEW, shoso_trailer=text)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "shoso-trailer", "'digest'")
    assert read(server, path).body == OLD


@pytest.mark.parametrize("size", [0, 1, 31])
def test_a_body_shorter_than_its_digest_is_refused(server, target, path, size):
    answer = ask(server, "PUT", target, b"x" * size, shoso_trailer="digest")
    require_refusal(answer, 400, "BAD_REQUEST")
    assert read(server, path).body == OLD


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 65536, 65537, MIB - 32, MIB, MIB + 1])
def test_a_trailing_digest_is_no_part_of_the_object(server, target, path, size):
    body = os.urandom(size)
    pieces = [body[:7], body[7:], bytes.fromhex(digest(body))[:5], bytes.fromhex(digest(body))[5:]]
    whole = chunked(*[piece for piece in pieces if piece])
    with Wire(server) as wire:
        wire.send(request("PUT", target, None, transfer_encoding="chunked", shoso_trailer="digest") + whole)
        answer = wire.answer()
    assert answer.status == 200, answer
    assert answer.headers["shoso-digest"] == digest(body)
    assert read(server, path).body == body


# -- lengths that lie, and senders that stop ----------------------------------------------------------------


def begun(server, target, announced: int, sent: bytes, **headers: str) -> Wire:
    """A PUT that announces more than it has sent so far."""
    wire = Wire(server)
    wire.send(request("PUT", target, None, content_length=str(announced), **headers) + sent)
    return wire


@pytest.mark.parametrize(
    ("announced", "sent"), [(5001, 5000), (100 * MIB, 3 * MIB), (10**18, 10), (20_000, 0)]
)
def test_a_sender_that_stops_half_way_leaves_the_old_object(server, target, path, announced, sent):
    with begun(server, target, announced, b"x" * sent):
        assert read(server, path).body == OLD
    assert eventually(lambda: not drafts(server.artifacts))
    assert read(server, path).body == OLD


def test_what_cant_fit_is_refused_long_before_it_is_sent(server, target, path):
    """An exabyte: the client learns it from the first megabytes."""
    with begun(server, target, 10**18, b"x" * 5 * MIB) as wire:
        require_refusal(wire.answer(), 507, "RESOURCE_EXHAUSTED", path, "disk is full")
    assert read(server, path).body == OLD


@pytest.mark.parametrize(
    "sent", [b"", b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"100000\r\n" + b"x" * 99_999]
)
def test_chunks_that_stop_half_way_leave_the_old_object(server, target, path, sent):
    with Wire(server) as wire:
        wire.send(request("PUT", target, None, transfer_encoding="chunked") + sent)
        assert read(server, path).body == OLD
    assert eventually(lambda: not drafts(server.artifacts))
    assert read(server, path).body == OLD


def test_a_chunk_that_is_no_chunk_leaves_the_old_object(server, target, path):
    with Wire(server) as wire:
        wire.send(request("PUT", target, None, transfer_encoding="chunked") + b"5\r\nhello\r\nZZ\r\n")
        assert wire.answer().status == 400
        assert wire.is_closed()
    assert read(server, path).body == OLD


def test_bytes_behind_the_announced_length_are_no_part_of_the_object(server, target, path):
    with begun(server, target, 3, b"newer and more") as wire:
        assert wire.answer().status in {200, 400}
        assert eventually(lambda: read(server, path).body == b"new")


def test_a_put_and_a_get_in_one_piece_are_answered_in_order(server, target):
    with Wire(server) as wire:
        wire.send(request("PUT", target, NEW) + request("GET", target) + request("HEAD", target))
        answers = [wire.answer(), wire.answer(), wire.answer("HEAD")]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[1].body == NEW


def test_a_connection_goes_on_after_a_refused_body(server, target):
    with Wire(server) as wire:
        for _ in range(3):
            assert wire.ask("PUT", f"{target}/..", b"x" * 300_000).status == 400
            assert wire.ask("PUT", target, b"x" * 300_000).status == 200


def test_a_sender_that_waits_for_100_continue_is_refused_before_it_sends(server, target, path):
    with Wire(server) as wire:
        wire.send(request("PUT", target, None, content_length="100000", expect="100-continue", if_match="*"))
        require_refusal(wire.answer(), 400, "INVALID_PARAMETER_VALUE")
    with Wire(server) as wire:
        wire.send(request("PUT", target, None, content_length="4", expect="100-continue"))
        assert wire.answer().status == 100
        wire.send(b"new!")
        assert wire.answer().status == 200
    assert read(server, path).body == b"new!"


class TestSilence:
    """`--request-silence 1`."""

    @pytest.fixture(scope="class")
    @classmethod
    def impatient(cls, launch):
        return launch("--request-silence", "1", "--log-format", "json")

    @pytest.fixture
    def server(self, impatient):
        return impatient

    def test_a_sender_that_stalls_is_told_and_leaves_the_old_object(self, server, target, path):
        with begun(server, target, 5 * MIB, b"x" * 3 * MIB) as wire:
            require_refusal(wire.answer(), 400, "BAD_REQUEST", "no byte came for 1 s", "again")
        assert not drafts(server.artifacts)
        assert read(server, path).body == OLD

    def test_a_sender_that_is_slow_but_goes_on_is_waited_for(self, server, target, path):
        body = os.urandom(40_000)
        with begun(server, target, len(body), b"") as wire:
            for start in range(0, len(body), 10_000):
                time.sleep(0.4)
                wire.send(body[start : start + 10_000])
            assert wire.answer().status == 200
        assert read(server, path).body == body

    def test_a_reader_that_stalls_is_given_up(self, server, unique):
        file = self._large_file(server, unique)
        with Wire(server) as wire:
            wire.send(request("GET", f"{ARTIFACTS}/{unique}"))
            assert eventually(lambda: file in open_files(server))
            assert eventually(lambda: file not in open_files(server))
        file.unlink()

    def test_a_reader_that_leaves_is_not_sent_the_rest(self, server, unique):
        file = self._large_file(server, unique)
        with Wire(server) as wire:
            wire.send(request("GET", f"{ARTIFACTS}/{unique}"))
            wire.socket.recv(100)
        assert eventually(lambda: file not in open_files(server), 1.0)
        file.unlink()

    def _large_file(self, server, name):
        """A file of 8 GiB with nothing in it: reading it to the end would take seconds."""
        file = server.artifacts / name
        with file.open("wb") as opened:
            opened.truncate(8 << 30)
        return file


def open_files(server):
    """The files that the server has open."""
    return {type(server.artifacts)(file.path) for file in psutil.Process(server.pid).open_files()}


# -- at once ----------------------------------------------------------------------------------------------


def test_of_sixteen_writers_of_one_path_one_wins_wholly(server, path):
    contents = [bytes([n]) * 8 * MIB for n in range(16)]
    stop, seen = threading.Event(), []

    def look():
        with Wire(server) as wire:
            while not stop.is_set():
                answer = wire.ask("GET", f"{ARTIFACTS}/{path}")
                seen.append((len(answer.body), len(set(answer.body)), answer.status))

    reader = threading.Thread(target=look)
    reader.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda content: put(server, path, content), contents))
    finally:
        stop.set()
        reader.join()
    assert [answer.status for answer in answers] == [200] * 16
    assert read(server, path).body in contents
    assert set(seen) <= {(len(OLD), len(set(OLD)), 200), (8 * MIB, 1, 200)}


def test_a_reader_gets_one_version_while_it_is_replaced(server, path):
    first, second = os.urandom(64 * MIB), os.urandom(MIB)
    put(server, path, first)
    with Wire(server) as wire:
        wire.send(request("GET", f"{ARTIFACTS}/{path}"))
        assert wire.has_begun()
        assert put(server, path, second).status == 200
        assert wire.answer().body == first
    assert read(server, path).body == second


def test_a_reader_gets_one_version_while_it_is_deleted(server, path):
    body = os.urandom(32 * MIB)
    put(server, path, body)
    with Wire(server) as wire:
        wire.send(request("GET", f"{ARTIFACTS}/{path}"))
        assert wire.has_begun()
        assert ask(server, "DELETE", f"{ARTIFACTS}/{path}").status == 200
        assert wire.answer().body == body
    assert read(server, path).status == 404


def test_many_small_uploads_and_deletions_at_once_lose_nothing(server, unique):
    def work(number: int) -> bool:
        mine = f"{unique}/{number % 4}/{number}"
        body = os.urandom(number)
        with Wire(server) as wire:
            for _ in range(5):
                assert wire.ask("PUT", f"{ARTIFACTS}/{mine}", body).status == 200
                assert wire.ask("GET", f"{ARTIFACTS}/{mine}").body == body
                assert wire.ask("DELETE", f"{ARTIFACTS}/{mine}").status == 200
            return wire.ask("PUT", f"{ARTIFACTS}/{mine}", body).status == 200

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(32)))
    assert sum(1 for file in (server.artifacts / unique).rglob("*") if file.is_file()) == 32


# -- files that rot ---------------------------------------------------------------------------------------


def flip_a_bit(file) -> None:
    """What a disk does, and no program: the time of change stays."""
    status = file.stat()
    with file.open("r+b") as opened:
        opened.seek(status.st_size // 2)
        byte = opened.read(1)
        opened.seek(-1, os.SEEK_CUR)
        opened.write(bytes([byte[0] ^ 1]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_small_file_that_has_rotted_is_no_file_but_an_error_that_names_it(server, target, path):
    flip_a_bit(server.artifacts / path)
    require_refusal(ask(server, "GET", target), 422, "DATA_LOSS", path, "digest")
    assert ask(server, "HEAD", target).status == 200
    assert ask(server, "PUT", target, NEW).status == 200
    assert ask(server, "GET", target).body == NEW


@pytest.mark.parametrize("size", [MIB + 1, 5 * MIB, 32 * MIB])
def test_a_large_file_that_has_rotted_is_cut_short(server, target, path, size):
    put(server, path, os.urandom(size))
    flip_a_bit(server.artifacts / path)
    with Wire(server) as wire:
        answer = wire.ask("GET", target)
        assert not answer.is_whole
        assert wire.is_closed()
    assert eventually(lambda: path in server.log())


def test_a_file_that_was_cut_on_disk_is_no_longer_what_was_put(server, target, path):
    """Somebody changed it in place: it is another file then, and served as what it is."""
    body = os.urandom(5 * MIB)
    put(server, path, body)
    etag = etag_of(server, target)
    os.truncate(server.artifacts / path, MIB)
    answer = ask(server, "GET", target)
    assert (answer.status, answer.body) == (200, body[:MIB])
    assert answer.headers["etag"] != etag
    assert "shoso-digest" not in answer.headers
