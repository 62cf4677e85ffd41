"""Artifacts by plain HTTP: every byte of the path, every header, ranges, conditions, and what is refused."""

from __future__ import annotations

import json
import re
import socket
import uuid
from email.message import Message
from urllib.parse import unquote, urlsplit

import pytest
from tests.e2e.raw import Wire
from tests.e2e.servers import REFERENCE

HELLO = b"hello world"


@pytest.fixture
def folder():
    """A folder nobody else uses, at the root of the store."""
    return f"raw-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def hello(wire, folder):
    """A path with the bytes of HELLO."""
    path = f"{folder}/hello.txt"
    assert wire.put(path, HELLO).status == 200
    return path


def names(reply) -> list[str]:
    """The names in a listing."""
    assert reply.status == 200, reply
    return [info["path"] for info in json.loads(reply.body).get("files", [])]


def error_code(reply) -> str:
    return json.loads(reply.body)["error_code"]


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


@pytest.mark.usefixtures("folder")
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


# -- names and paths --------------------------------------------------------------------------------------

KEPT = [
    "a%3Fb",
    "a%25",
    "a+b",
    "a%2Bb",
    "a%26b%3Dc",
    "a;b",
    "%20x%20",
    "%E2%80%8B",
    "....",
]
KEPT_BY_SHOSO = ["a%23b", "%2523", "a%252eb", "a%252Fb", "a%2520b", "a%2500b"]


@pytest.mark.parametrize(
    "path", [*KEPT, *[pytest.param(path, marks=pytest.mark.shoso_only) for path in KEPT_BY_SHOSO]]
)
def test_a_percent_encoded_name_is_kept_to_the_byte(wire, folder, path):
    assert wire.put(f"{folder}/{path}", path.encode()).status == 200
    assert names(wire.list(folder)) == [unquote(path)]
    assert wire.get(f"{folder}/{path}").body == path.encode()
    assert wire.delete(f"{folder}/{path}").status == 200
    assert names(wire.list(folder)) == []


TRICKS = [
    "../x",
    "%2e%2e/x",
    "%2e%2e%2fx",
    "..%2fx",
    "a/../x",
    "a/../../x",
    "a/%2e%2e/%2e%2e/x",
    "..",
    "a/..",
    "/etc/passwd",
    "%2fetc%2fpasswd",
]
TRICKS_OF_SHOSO = [".", "%2e", "a/.", "a/./b", "a//b", "a%00b"]
MAYBE_KEPT = [
    "a%5cb",
    # A real MLflow server deletes the whole folder.
    pytest.param("%25252e", marks=pytest.mark.shoso_only),
    "%252e%252e%252fx",
    "%252e%252e/x",
    "..%5cx",
    "..%00/x",
    "%c0%ae%c0%ae/x",
    "file:///etc/passwd",
    "C:%5cx",
]


@pytest.fixture
def inside(wire, folder):
    """A file in a folder, to see that the call touches nothing beside what it names."""
    wire.put(f"{folder}/deep/inside", b"safe")
    yield f"{folder}/deep"
    assert wire.get(f"{folder}/deep/inside").body == b"safe"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_that_leads_elsewhere_is_refused(wire, inside, method, trick):
    target = trick if trick.startswith(("/", "%2f")) else f"{inside}/{trick}"
    reply = wire.send(method, f"{wire.root}/artifacts/{target}", b"x" if method == "PUT" else None)
    assert 300 < reply.status < 500
    if method != "HEAD" and reply.status == 400:
        assert b"root:" not in reply.body


@pytest.mark.shoso_only
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("trick", TRICKS_OF_SHOSO)
def test_a_path_with_an_empty_or_dot_segment_is_refused(wire, inside, method, trick):
    for target in (f"{inside}/{trick}", trick):
        reply = wire.send(method, f"{wire.root}/artifacts/{target}", b"x" if method == "PUT" else None)
        assert 400 <= reply.status < 500, (target, reply)


@pytest.mark.shoso_only
@pytest.mark.parametrize("path", [".", "", "%2e", "./", "//"])
@pytest.mark.usefixtures("inside")
def test_delete_of_the_root_is_refused(wire, path):
    assert 400 <= wire.delete(path).status < 500
    assert 400 <= wire.send("DELETE", f"{wire.root}/artifacts").status < 500


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("trick", MAYBE_KEPT)
def test_a_path_that_looks_like_a_trick_stays_inside(wire, inside, method, trick):
    reply = wire.send(method, f"{wire.root}/artifacts/{inside}/{trick}")
    assert reply.status in {200, 400, 404}
    assert b"root:" not in reply.body


@pytest.mark.parametrize("trick", MAYBE_KEPT)
def test_a_name_that_looks_like_a_trick_is_refused_or_kept_and_listed(wire, inside, trick):
    before = names(wire.list(inside))
    status = wire.put(f"{inside}/{trick}", b"x").status
    if status == 200:
        assert wire.get(f"{inside}/{trick}").body == b"x"
        assert len(names(wire.list(inside))) == len(before) + 1
    else:
        assert status in {400, 404} or REFERENCE
        assert names(wire.list(inside)) == before


@pytest.mark.parametrize("path", ["../x", "%252e%252e/x", "/etc", "a/../../x"])
def test_list_of_a_path_that_leads_elsewhere_is_refused(wire, path):
    reply = wire.send("GET", f"{wire.root}/artifacts?path={path}")
    assert (reply.status, error_code(reply)) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.shoso_only
@pytest.mark.parametrize("path", ["hello.txt/below", "sub"])
def test_a_put_where_a_file_or_folder_is_in_the_way_is_a_4xx(wire, folder, hello, path):
    wire.put(f"{folder}/sub/a", b"x")
    assert 400 <= wire.put(f"{folder}/{path}", b"x").status < 500
    assert wire.get(hello).body == HELLO


@pytest.mark.shoso_only
@pytest.mark.parametrize(
    "name", ["x" * 256, "/".join(["x" * 200] * 6)], ids=["256 characters", "1205 characters"]
)
def test_a_name_that_is_too_long_is_a_4xx(wire, folder, name):
    reply = wire.put(f"{folder}/{name}", b"x")
    assert 400 <= reply.status < 500


def test_a_name_of_255_characters_is_kept(wire, folder):
    assert wire.put(f"{folder}/{'x' * 255}", b"x").status == 200
    assert names(wire.list(folder)) == ["x" * 255]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_wrong_method_is_405(wire, hello, method):
    assert wire.send(method, f"{wire.root}/artifacts/{hello}", b"x").status == 405


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


# -- by run: get-artifact, upload-artifact, artifacts/list ------------------------------------------------

UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact"
LIMIT = 10 * 1024 * 1024


def upload(wire, run_id, path, body):
    return wire.send("POST", f"{UPLOAD}?run_uuid={run_id}&path={path}", body)


def test_upload_artifact_then_get_artifact(wire, run_id):
    assert upload(wire, run_id, "d/up.txt", b"data").status == 200
    for word in ("run_id", "run_uuid"):
        reply = wire.send("GET", f"/get-artifact?{word}={run_id}&path=d/up.txt")
        assert (reply.status, reply.body) == (200, b"data")
        assert reply.headers["content-disposition"].startswith("attachment")
        assert reply.headers["content-type"].startswith("text/plain")


def test_upload_artifact_is_seen_by_the_client(wire, client, run_id):
    upload(wire, run_id, "a%20b.txt", b"data")
    assert [info.path for info in client.list_artifacts(run_id)] == ["a b.txt"]


@pytest.mark.shoso_only
def test_upload_artifact_follows_the_location_of_the_experiment(wire, api, unique):
    experiment = api.create_experiment(unique, artifact_location=f"mlflow-artifacts:/elsewhere/{unique}")
    run_id = api.run_id(experiment)
    assert upload(wire, run_id, "a", b"data").status == 200
    assert wire.get(f"elsewhere/{unique}/{run_id}/artifacts/a").body == b"data"


def test_upload_artifact_takes_10_mib_and_no_more(wire, run_id):
    assert upload(wire, run_id, "most", b"x" * LIMIT).status == 200
    assert 400 <= upload(wire, run_id, "more", b"x" * (LIMIT + 1)).status < 500
    assert wire.send("GET", f"/get-artifact?run_id={run_id}&path=more").status == 404


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("run_uuid={run}", b"x", 400),
        ("path=x", b"x", 400),
        ("run_uuid={run}&path=../x", b"x", 400),
        ("run_uuid={run}&path=/etc/x", b"x", 400),
        ("run_uuid=00000000000000000000000000000000&path=x", b"x", 404),
        ("run_uuid={run}&path=empty", b"", 400),
    ],
)
def test_upload_artifact_refuses(wire, run_id, query, body, status):
    assert wire.send("POST", f"{UPLOAD}?{query.format(run=run_id)}", body).status == status


def test_get_artifact_takes_ranges(wire, run_id):
    upload(wire, run_id, "a", b"data")
    reply = wire.send("GET", f"/get-artifact?run_id={run_id}&path=a", headers={"Range": "bytes=1-2"})
    assert (reply.status, reply.body) == (206, b"at")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("run_id={run}&path=nothing", 404),
        ("run_id={run}&path=d", 400),
        ("run_id={run}&path=../x", 400),
        ("run_id={run}&path=%252e%252e/x", 400),
        ("run_id={run}", 400),
        ("", 400),
        ("run_id=00000000000000000000000000000000&path=x", 404),
    ],
)
def test_get_artifact_refuses(wire, run_id, query, status):
    upload(wire, run_id, "d/up.txt", b"data")
    assert wire.send("GET", f"/get-artifact?{query.format(run=run_id)}").status == status


def test_artifacts_list_names_paths_from_the_root_of_the_run(wire, api, run_id):
    for path in ("d/e/f", "d/a%20b", "z"):
        upload(wire, run_id, path, b"data")
    top = api.ok("GET", "artifacts/list", run_id=run_id)
    assert top["files"] == [
        {"path": "d", "is_dir": True},
        {"path": "z", "is_dir": False, "file_size": 4},
    ]
    below = api.ok("GET", "artifacts/list", run_uuid=run_id, path="d")
    assert below["files"] == [
        {"path": "d/a b", "is_dir": False, "file_size": 4},
        {"path": "d/e", "is_dir": True},
    ]
    assert below["root_uri"] == top["root_uri"]


def test_artifacts_list_of_a_file_is_empty(wire, api, run_id):
    upload(wire, run_id, "a", b"data")
    assert "files" not in api.ok("GET", "artifacts/list", run_id=run_id, path="a")


def test_files_of_a_logged_model(wire, api, experiment):
    model = api.ok("POST", "logged-models", {"experiment_id": experiment})["model"]["info"]
    root = model["artifact_uri"].removeprefix("mlflow-artifacts:/")
    wire.put(f"{root}/d/a.txt", b"data")
    call = f"logged-models/{model['model_id']}/artifacts"
    assert api.ok("GET", f"{call}/directories")["files"] == [{"path": "d", "is_dir": True}]
    listed = api.ok("GET", f"{call}/directories", artifact_directory_path="d")
    assert listed["files"] == [{"path": "d/a.txt", "is_dir": False, "file_size": 4}]
    reply = wire.send("GET", f"/ajax-api/2.0/mlflow/{call}/files?artifact_file_path=d/a.txt")
    assert (reply.status, reply.body) == (200, b"data")
