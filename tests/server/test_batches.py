"""Tars in and out of the server: by the byte, by curl and by tar itself."""

from __future__ import annotations

import http.client
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from tests.e2e.memory import Watch, resident
from tests.server.sockets import OBJECTS, Wire, ask, chunked, get, put, read, require_refusal
from tests.server.test_transfers import flip_a_bit
from tests.server.trees import changes, drafts, snapshot

from shoso.core.batches import SMALL
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.wire import tar
from shoso.wire.objects import MOST

OWN = "/api/shoso/1"
TAR = f"{OWN}/tar"
MIB = 1 << 20


def member(key: str, data: bytes, claimed: str | None = None) -> bytes:
    meta = ObjectMeta(Key(key), len(data), 1.0, digest=claimed)
    return tar.head(meta) + data + tar.tail(len(data))


def archive(files: Mapping[str, bytes]) -> bytes:
    return b"".join(member(key, data) for key, data in files.items()) + tar.END


def other(name: str, kind: bytes) -> bytes:
    """A member that is no file."""
    one = tarfile.TarInfo(name)
    one.type, one.linkname = kind, "target"
    return one.tobuf()


def outcomes(answer) -> list[str]:
    """Of each member: its key, or the kind of its failure."""
    assert answer.status == 200, answer
    entries = answer.json["outcomes"]
    return [one["written"]["key"] if "written" in one else one["failure"]["kind"] for one in entries]


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as there:
        return {one.name: there.extractfile(one).read() for one in there}


def fetched(server, target: str, body: bytes | None = None) -> bytes:
    """The body of a reply in chunks. Raises http.client.IncompleteRead where it was cut off."""
    connection = http.client.HTTPConnection(server.host, timeout=60)
    try:
        connection.request(
            "POST" if body else "GET", target, body, {"content-type": "application/json"} if body else {}
        )
        reply = connection.getresponse()
        assert (reply.status, reply.headers["content-type"]) == (200, "application/x-tar"), reply.read()
        return reply.read()
    finally:
        connection.close()


def asked(*keys: str) -> bytes:
    return json.dumps({"keys": keys}).encode()


def curl(*arguments: str, **how) -> subprocess.CompletedProcess:
    return subprocess.run(["curl", "-sS", *arguments], check=False, capture_output=True, timeout=60, **how)


# -- in ---------------------------------------------------------------------------------------------------


def test_each_file_of_a_tar_stands_or_fails_by_itself(server, unique):
    put(server, f"{unique}/there", b"old")
    large = os.urandom(3 * SMALL)
    body = b"".join(
        [
            other("folder/", tarfile.DIRTYPE),
            member("folder/a", b"a", digest(b"a")),
            member("damaged", b"damaged", digest(b"whole")),
            other("link", tarfile.SYMTYPE),
            member("large", large, digest(large)),
            member("large-damaged", large, digest(b"other")),
            member("there/below", b"below"),
            member("there", b"new"),
            tar.END,
        ]
    )
    answer = ask(server, "POST", f"{OBJECTS}?prefix={unique}", body)
    assert outcomes(answer) == [
        f"{unique}/folder/a",
        "corrupt",
        "invalid",
        f"{unique}/large",
        "corrupt",
        "exists",
        f"{unique}/there",
    ]
    assert answer.json["outcomes"][2]["failure"]["key"] == "link"
    written = answer.json["outcomes"][0]["written"]
    assert (written["size"], written["digest"]) == (1, digest(b"a"))
    assert get(server, f"{OBJECTS}/{unique}/folder/a").headers["etag"] == f'"{written["etag"]}"'
    assert read(server, f"{unique}/large").body == large
    assert read(server, f"{unique}/there").body == b"new"
    for absent in ("damaged", "link", "large-damaged"):
        assert read(server, f"{unique}/{absent}").status == 404


HOSTILE = ["../x", "/etc/x", "a/../../x", "a//b", ".shoso/drafts/x", "%2e%2e/x", "..\\x", "new\nline", "."]


def test_hostile_names_are_refused_one_by_one_and_touch_nothing(server, unique):
    before = snapshot(server.folder)
    body = archive(dict.fromkeys([*HOSTILE, unique], b"x"))
    assert outcomes(ask(server, "POST", OBJECTS, body)) == ["invalid_key"] * len(HOSTILE) + [unique]
    answer = ask(server, "PUT", TAR, archive(dict.fromkeys(HOSTILE, b"x")))
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", f"Of {len(HOSTILE)} files {len(HOSTILE)}")
    own = {"server.log", "tracking.db", "tracking.db-shm", "tracking.db-wal"}  # the ledger's, and the log
    came = changes(before, snapshot(server.folder)) - {str(server.folder / name) for name in own}
    assert came == {str(server.artifacts / unique)}
    assert drafts(server.artifacts) == []


@pytest.mark.parametrize("prefix", ["..", "/etc", ".shoso", "a/%2E%2E/b", "%252e%252e"])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_hostile_prefix_is_refused(server, prefix, method):
    path = OBJECTS if method == "POST" else TAR
    body = None if method == "GET" else archive({"x": b"x"})
    answer = ask(server, method, f"{path}?prefix={prefix}", body)
    if method == "POST" and prefix == ".shoso":
        assert outcomes(answer) == ["invalid_key"]
    else:
        require_refusal(answer, 404 if answer.status == 404 else 400, answer.json["error_code"])


def test_a_tar_in_chunks_of_any_size_is_kept(server, unique):
    files = {f"{place}": os.urandom(place * 300) for place in range(12)}
    body = archive(files)
    pieces = [body[place : place + 77] for place in range(0, len(body), 77)]
    with Wire(server) as wire:
        head = f"PUT {TAR}?prefix={unique} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        wire.send(head.encode() + chunked(*pieces))
        assert wire.answer().json == {"objects": 12, "size": sum(map(len, files.values()))}
        assert wire.ask("GET", f"{OBJECTS}/{unique}/11").body == files["11"]  # the connection goes on


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_what_is_no_whole_tar_is_refused(server, unique, method):
    target = f"{OBJECTS if method == 'POST' else TAR}?prefix={unique}"
    whole = archive({"a": b"a" * 5000, "b": os.urandom(2 * SMALL)})
    for body in (b"", whole[:700], whole[:3000], whole[:-SMALL]):
        require_refusal(ask(server, method, target, body), 400, "BAD_REQUEST", "cut short")
    assert read(server, f"{unique}/b").status == 404
    require_refusal(ask(server, method, target, whole[: -len(tar.END)]), 400, "BAD_REQUEST", "cut short")
    for body in (b"x" * 2000, b"\x1f\x8b" + whole, whole[512:]):
        require_refusal(ask(server, method, target, body), 400, "INVALID_PARAMETER_VALUE", "no plain tar")
    assert drafts(server.artifacts) == []


def test_a_sender_who_leaves_in_the_middle_leaves_nothing_half(server, unique):
    body = archive({"a": b"a" * 5000, "large": os.urandom(3 * SMALL)})
    with Wire(server) as wire:
        head = f"PUT {TAR}?prefix={unique} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n"
        wire.send(head.encode() + body[: 2 * SMALL])
    assert ask(server, "PUT", f"{TAR}?prefix={unique}/after", archive({"b": b"b"})).status == 200
    assert read(server, f"{unique}/large").status == 404
    assert drafts(server.artifacts) == []


def test_more_members_than_one_reply_names_go_by_put(server, unique):
    files = {f"{place}": b"" for place in range(MOST + 1)}
    answer = ask(server, "POST", f"{OBJECTS}?prefix={unique}/posted", archive(files))
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "PUT")
    answer = ask(server, "PUT", f"{TAR}?prefix={unique}/put", archive(files))
    assert answer.json == {"objects": MOST + 1, "size": 0}
    assert len(unpacked(fetched(server, f"{TAR}?prefix={unique}/put"))) == MOST + 1


def test_a_folder_that_cant_be_kept_whole_is_an_error_that_says_so(server, unique):
    body = member("a", b"a") + other("link", tarfile.SYMTYPE) + other("hard", tarfile.LNKTYPE) + tar.END
    answer = ask(server, "PUT", f"{TAR}?prefix={unique}", body)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "Of 3 files 2", "'link'", "--dereference")
    assert read(server, f"{unique}/a").body == b"a"


# -- out --------------------------------------------------------------------------------------------------


def test_a_folder_comes_as_a_tar_of_what_lies_below_it(server, unique):
    files = {"a": b"a", "b/c": os.urandom(3 * SMALL), "b/empty": b"", "ü日本 %#?": b"name", "z" * 150: b"z"}
    for key, data in files.items():
        put(server, f"{unique}/folder/{quote(key)}", data)
    put(server, f"{unique}/folder-beside", b"no")
    assert unpacked(fetched(server, f"{TAR}?prefix={unique}/folder")) == files
    below = unpacked(fetched(server, f"{TAR}?prefix={unique}"))
    assert below == {f"folder/{key}": data for key, data in files.items()} | {"folder-beside": b"no"}


def test_a_folder_that_isnt_there_is_not_found(server, unique):
    put(server, f"{unique}/file", b"x")
    for prefix in (f"{unique}/missing", f"{unique}/file"):
        answer = get(server, f"{TAR}?prefix={prefix}")
        require_refusal(answer, 404, "RESOURCE_DOES_NOT_EXIST", prefix)


def test_head_of_a_folder_has_no_body(server, unique):
    put(server, f"{unique}/file", b"x")
    with Wire(server) as wire:
        answer = wire.ask("HEAD", f"{TAR}?prefix={unique}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-tar")
        assert answer.headers["content-disposition"] == f'attachment; filename="{unique}.tar"'
        assert wire.ask("GET", f"{OBJECTS}/{unique}/file").body == b"x"


@pytest.mark.parametrize("size", [100, 3 * SMALL])
def test_a_tar_with_a_rotted_file_is_cut_off(server, unique, size):
    put(server, f"{unique}/a", b"." * 3 * SMALL)
    put(server, f"{unique}/rotted", os.urandom(size))
    flip_a_bit(server.artifacts / unique / "rotted")
    with pytest.raises(http.client.IncompleteRead):
        fetched(server, f"{TAR}?prefix={unique}")


def test_a_tar_whose_first_file_has_rotted_is_an_error(server, unique):
    put(server, f"{unique}/rotted", b"x" * 1000)
    flip_a_bit(server.artifacts / unique / "rotted")
    answer = get(server, f"{TAR}?prefix={unique}")
    require_refusal(answer, 422, "DATA_LOSS", f"{unique}/rotted")


def test_many_are_read_in_the_order_of_the_keys(server, unique):
    files = {f"{unique}/{place}": os.urandom(place * 20) for place in range(100)}
    ask(server, "PUT", TAR, archive(files))
    wanted = [*files][::-1]
    there = unpacked(fetched(server, f"{OWN}/read", asked(*wanted)))
    assert [*there] == wanted
    assert there == files


def test_what_cant_be_read_says_so_in_its_place(server, unique):
    put(server, f"{unique}/a", b"a")
    put(server, f"{unique}/large", b"." * (SMALL + 1))
    put(server, f"{unique}/rotted", b"x" * 1000)
    flip_a_bit(server.artifacts / unique / "rotted")
    names = [f"{unique}/{name}" for name in ("missing", "a", "large", "rotted")]
    with tarfile.open(fileobj=io.BytesIO(fetched(server, f"{OWN}/read", asked(*names)))) as there:
        members = there.getmembers()
    assert [one.name for one in members] == names
    kinds = [one.pax_headers.get("SHOSO.error") for one in members]
    assert kinds == ["not_found", None, "too_large", "corrupt"]
    assert [one.type for one in members] == [b"E", b"0", b"E", b"E"]
    assert names[0] in members[0].pax_headers["SHOSO.message"]


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/etc/passwd", "a//b"])
def test_a_hostile_key_is_refused(server, key):
    answer = ask(server, "POST", f"{OWN}/read", asked("fine", key), content_type="application/json")
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE")


def test_too_many_keys_are_refused(server):
    body = asked(*["a"] * (MOST + 1))
    answer = ask(server, "POST", f"{OWN}/read", body, content_type="application/json")
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", str(MOST))


# -- by hand ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "folder"
    for name, size in {"a": 10, "deep/er/b": 5000, "deep/c": 0, "large": 2 * SMALL, "ü/ä": 1}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(size))
    return root


def files(root) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_tar_and_curl_send_a_folder_and_fetch_it(server, unique, folder, tmp_path):
    packed = subprocess.run(["tar", "-c", "."], cwd=folder, check=True, capture_output=True).stdout
    target = f"{server.uri}{TAR}?prefix={unique}"
    sent = curl("-f", "-T", "-", target, input=packed)
    assert (sent.returncode, json.loads(sent.stdout)["objects"]) == (0, 5), sent.stderr
    back = tmp_path / "back"
    back.mkdir()
    done = subprocess.run(
        f"curl -sSf '{target}' | tar -x", shell=True, cwd=back, check=True, capture_output=True, timeout=60
    )
    assert done.stderr == b""
    assert files(back) == files(folder)


def test_curl_is_told_of_a_link(server, unique, folder):
    (folder / "link").symlink_to("a")
    packed = subprocess.run(["tar", "-c", "."], cwd=folder, check=True, capture_output=True).stdout
    sent = curl("--fail-with-body", "-T", "-", f"{server.uri}{TAR}?prefix={unique}", input=packed)
    assert sent.returncode == 22
    assert b"'link' is a symbolic link" in sent.stdout


def test_a_folder_of_any_size_takes_little_memory(server, unique):
    """Of many small files and of large ones, in and out."""
    small = b"".join(member(f"s/{place}", b"." * 100_000) for place in range(600))
    large = member("large", b"." * 64 * MIB)
    put(server, f"{unique}/warm", b"." * MIB)
    before = resident(server)
    with Watch(server) as watch:
        assert ask(server, "PUT", f"{TAR}?prefix={unique}", small + large + tar.END).status == 200
        assert len(fetched(server, f"{TAR}?prefix={unique}")) > 120 * MIB
    assert watch.peak - before < 48 * MIB
