"""Artifacts by plain HTTP: every verb, every header, ranges, conditions, types."""

from __future__ import annotations

import json
import re
import socket
from email.message import Message
from urllib.parse import unquote, urlsplit

import pytest
from tests.e2e.raw import HELLO, Wire, error_code, names
from tests.e2e.servers import REFERENCE

# -- put, get, head, list, delete -------------------------------------------------------------------------


def test_put_then_get(wire, hello):
    reply = wire.get(hello)
    assert (reply.status, reply.body) == (200, HELLO)
    assert reply.headers["content-length"] == "11"
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["etag"].startswith('"')
    assert reply.headers["last-modified"].endswith("GMT")


def test_head_is_get_without_the_body(wire, hello):
    head, get = wire.head(hello), wire.get(hello)
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "content-disposition", "accept-ranges", "last-modified"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.shoso_only
def test_head_and_get_name_the_same_etag(wire, hello):
    assert wire.head(hello).headers["etag"] == wire.get(hello).headers["etag"]


def test_what_is_not_there_is_404(wire, folder):
    reply = wire.get(f"{folder}/nothing")
    assert (reply.status, error_code(reply)) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert wire.head(f"{folder}/nothing").status == 404


def test_a_folder_is_no_file(wire, hello):
    assert wire.get(hello.removesuffix("/hello.txt")).status == 400


@pytest.mark.usefixtures("hello")
def test_list_names_the_children_with_sizes(wire, folder):
    wire.put(f"{folder}/sub/a", b"x")
    wire.put(f"{folder}/empty", b"")
    files = json.loads(wire.list(folder).body)["files"]
    assert [(info["path"], info["is_dir"]) for info in files] == [
        ("empty", False),
        ("hello.txt", False),
        ("sub", True),
    ]
    assert [info.get("file_size", 0) for info in files] == [0, 11, 0]


@pytest.mark.parametrize("path", ["/nothing", "/hello.txt", "/hello.txt/below"])
@pytest.mark.usefixtures("hello")
def test_list_of_what_is_no_folder_is_empty(wire, folder, path):
    reply = wire.list(folder + path)
    assert (reply.status, json.loads(reply.body)) == (200, {})


@pytest.mark.usefixtures("hello")
def test_list_of_the_root(wire, folder):
    assert folder in names(wire.list(""))
    assert folder in names(wire.send("GET", f"{wire.root}/artifacts"))


def test_delete_takes_a_file_and_can_be_repeated(wire, folder, hello):
    wire.put(f"{folder}/hello.txt.more", b"x")
    for _ in range(2):
        reply = wire.delete(hello)
        assert (reply.status, json.loads(reply.body)) == (200, {})
    assert names(wire.list(folder)) == ["hello.txt.more"]


@pytest.mark.usefixtures("hello")
def test_delete_takes_a_folder(wire, folder):
    wire.put(f"{folder}/sub/a/b", b"x")
    assert wire.delete(f"{folder}/sub").status == 200
    assert names(wire.list(folder)) == ["hello.txt"]


def test_the_ajax_alias_is_the_same_store(server, wire, folder, hello):
    alias = Wire(server.uri, "ajax-api/2.0/mlflow-artifacts")
    assert alias.get(hello).body == HELLO
    assert alias.put(f"{folder}/b", b"b").status == 200
    assert names(alias.list(folder)) == names(wire.list(folder)) == ["b", "hello.txt"]
    assert alias.delete(f"{folder}/b").status == 200
    assert names(wire.list(folder)) == ["hello.txt"]


def test_delete_takes_a_folder_named_with_a_slash_as_mlflows_client_does(wire, folder, hello):
    wire.put(f"{folder}/sub/a", b"x")
    assert wire.delete(f"{folder}/sub/").status == 200
    assert names(wire.list(folder)) == ["hello.txt"]


def test_put_to_a_folder_is_refused(wire, folder):
    assert wire.put(f"{folder}/sub/", b"x").status == 400
    assert wire.put("", b"x").status == 400


def test_put_replaces(wire, hello):
    etag = wire.get(hello).headers["etag"]
    assert wire.put(hello, b"other").status == 200
    after = wire.get(hello)
    assert after.body == b"other"
    assert after.headers["etag"] != etag


def test_an_empty_body_is_an_empty_file(wire, folder):
    assert wire.put(f"{folder}/empty", b"").status == 200
    reply = wire.get(f"{folder}/empty")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")


def test_a_put_in_chunks_without_length(wire, folder):
    parts = [bytes([i]) * (1000 * i) for i in range(1, 40)]
    assert wire.put(f"{folder}/chunks", iter(parts)).status == 200
    assert wire.get(f"{folder}/chunks").body == b"".join(parts)


def test_a_put_that_expects_100_continue(server, wire, folder):
    target = f"{wire.root}/artifacts/{folder}/expect"
    with socket.create_connection(_address(server), timeout=20) as connection:
        connection.sendall(
            f"PUT {target} HTTP/1.1\r\nHost: {urlsplit(server.uri).netloc}\r\nContent-Length: 4\r\n"
            "Expect: 100-continue\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"data")
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert wire.get(f"{folder}/expect").body == b"data"


def _address(server) -> tuple[str, int]:
    parts = urlsplit(server.uri)
    return parts.hostname, parts.port


# -- ranges and conditions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "content", "body"),
    [
        ("0-4", "0-4", b"hello"),
        ("6-", "6-10", b"world"),
        ("-5", "6-10", b"world"),
        ("10-10", "10-10", b"d"),
        ("4-999", "4-10", b"o world"),
        ("-999", "0-10", HELLO),
    ],
)
def test_a_range_is_206(wire, hello, wanted, content, body):
    reply = wire.get(hello, Range=f"bytes={wanted}")
    assert (reply.status, reply.body) == (206, body)
    assert reply.headers["content-range"] == f"bytes {content}/11"
    assert reply.headers["content-length"] == str(len(body))


def test_several_ranges_are_multipart_or_the_whole(wire, hello):
    """MLflow sends multipart; RFC 9110 lets a server ignore the header."""
    reply = wire.get(hello, Range="bytes=0-0,6-10")
    if reply.status == 200 and not REFERENCE:
        assert reply.body == HELLO
        return
    assert reply.status == 206
    kind, _, boundary = reply.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    parts = reply.body.replace(b"\r\n", b"\n").split(f"--{boundary}".encode())
    assert [part.strip().rpartition(b"\n\n")[2] for part in parts[1:-1]] == [b"h", b"world"]
    assert b"bytes 0-0/11" in parts[1].lower()
    assert b"bytes 6-10/11" in parts[2].lower()


@pytest.mark.parametrize("wanted", ["11-", "100-200", "-0"])
def test_a_range_outside_the_file_is_416(wire, hello, wanted):
    reply = wire.get(hello, Range=f"bytes={wanted}")
    assert reply.status == 416
    assert reply.headers["content-range"] == "bytes */11"


def test_any_range_of_an_empty_file_is_416(wire, folder):
    wire.put(f"{folder}/empty", b"")
    assert wire.get(f"{folder}/empty", Range="bytes=0-").status == 416


@pytest.mark.parametrize("wanted", ["bytes=abc", "bytes=5-2", "items=0-1", "0-1"])
def test_a_range_that_is_none_never_gives_part_of_the_file(wire, hello, wanted):
    """RFC 9110 lets a server ignore it; MLflow's answers 400 or 416."""
    reply = wire.get(hello, Range=wanted)
    assert reply.status in {200, 400, 416}
    assert reply.status != 200 or reply.body == HELLO


def test_if_range_guards_a_range(wire, hello):
    etag = wire.get(hello).headers["etag"]
    assert wire.get(hello, Range="bytes=0-4", If_Range=etag).status == 206
    stale = wire.get(hello, Range="bytes=0-4", If_Range='"stale"')
    assert (stale.status, stale.body) == (200, HELLO)


@pytest.mark.shoso_only
def test_if_none_match_is_304(wire, hello):
    etag = wire.get(hello).headers["etag"]
    for tags in (etag, f'"other", {etag}', "*", f"W/{etag}"):
        reply = wire.get(hello, If_None_Match=tags)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == etag
    assert wire.head(hello, If_None_Match=etag).status == 304


def test_if_none_match_of_another_version_is_200(wire, hello):
    reply = wire.get(hello, If_None_Match='"another"')
    assert (reply.status, reply.body) == (200, HELLO)


# -- content types and dispositions -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain"),
        ("a.json", "text/plain"),
        ("a.csv", "text/plain"),
        ("a.yaml", "text/plain"),
        ("a.py", "text/plain"),
        ("a.md", "text/plain"),
        ("a.js", "text/plain"),
        ("a.xml", "text/plain"),
        ("a.log", "text/plain"),
        ("MLmodel", "text/plain"),
        ("a.html", "text/html"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.pkl", "application/octet-stream"),
        ("a.bin", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_the_content_type_comes_from_the_name(wire, folder, name, kind):
    wire.put(f"{folder}/{name}", b"x")
    assert wire.get(f"{folder}/{name}").headers["content-type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.txt", "a.txt"),
        ("two%20words.txt", "two words.txt"),
        ("%E6%AD%A3%E5%80%89.txt", "正倉.txt"),
        ("q%22uo%5Cte", 'q"uo\\te'),
        ("a%3Bb", "a;b"),
    ],
)
def test_every_file_is_an_attachment_with_its_name(wire, folder, path, name):
    wire.put(f"{folder}/{path}", b"x")
    assert _filename(wire.get(f"{folder}/{path}").headers["content-disposition"]) == name


def _filename(disposition: str) -> str:
    """The name in a Content-Disposition; RFC 6266 prefers `filename*` to `filename`."""
    if encoded := re.search(r"filename\*=UTF-8''([^;]*)", disposition, re.IGNORECASE):
        return unquote(encoded.group(1))
    message = Message()
    message["content-disposition"] = disposition
    assert message.get_content_disposition() == "attachment"
    return message.get_filename()


# -- multipart and presigned URLs: not for a local store --------------------------------------------------


@pytest.mark.parametrize("step", ["create", "complete", "abort"])
def test_multipart_upload_is_not_supported(wire, folder, step):
    body = json.dumps({"path": "f", "num_parts": 2, "upload_id": "x", "parts": []})
    headers = {"Content-Type": "application/json"}
    reply = wire.send("POST", f"{wire.root}/mpu/{step}/{folder}", body, headers)
    assert (reply.status, error_code(reply)) == (501, "NOT_IMPLEMENTED")
    message = json.loads(reply.body)["message"]
    assert message.startswith("Multipart upload is not supported for the current artifact repository")


def test_presigned_download_is_not_supported(wire, hello):
    reply = wire.send("GET", f"{wire.root}/presigned/{hello}")
    assert (reply.status, error_code(reply)) == (501, "NOT_IMPLEMENTED")
