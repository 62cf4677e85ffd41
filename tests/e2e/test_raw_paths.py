"""Artifact paths by plain HTTP: what is kept to the byte, and what leads elsewhere and is refused."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from tests.e2e.raw import HELLO, error_code, names
from tests.e2e.servers import REFERENCE

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
