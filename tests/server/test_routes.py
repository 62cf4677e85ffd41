"""The route table: whatever path comes, it names one route, is refused, or is no route; nothing else."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoso.core import keys
from shoso.errors import Kind, ShosoError
from shoso.server import openapi
from shoso.server.app import calls
from shoso.server.routes import Router

CALLS = calls()
TABLE = [*CALLS, *openapi.routes(CALLS)]
ROUTER = Router(TABLE)
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "TRACE"]

PIECES = [
    "..",
    ".",
    "/",
    "//",
    "%2e",
    "%2E%2E",
    "%2f",
    "%5c",
    "\\",
    "%00",
    "%25",
    "%252e",
    "%c0%ae",
    "%ff",
    "a",
]
PIECES += [
    ".shoso",
    "%",
    "%%",
    "%zz",
    "é",
    "\x7f",
    "~",
    ":",
    "C:",
    "%e2%80%ae",
    "%0d%0a",
    "+",
    ";",
    "?",
    "&",
    "=",
]
RAW_PATHS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=12).map("".join)


def found_or_refused(method: str, raw: str):
    """The route and its parameters, or why there is none; uvicorn hands over the decoded path, too."""
    try:
        return ROUTER.find(method, unquote(raw), raw)
    except ShosoError as error:
        return error


def key_or_refused(raw: str):
    """The key that a GET of this path names, or why it names none."""
    found = found_or_refused("GET", raw)
    try:
        return found if isinstance(found, ShosoError) else keys.parse(found[1]["path"])
    except ShosoError as error:
        return error


@given(st.sampled_from(METHODS), st.sampled_from([ARTIFACTS + "/", "/", "/api/shoso/1/", ""]), RAW_PATHS)
@example("DELETE", ARTIFACTS + "/", ".")
@example("DELETE", ARTIFACTS + "/", "%2e%2e%2f%2e%2e")
@example("PUT", "/api/shoso/1/uploads/", "%2e%2e/9")
def test_any_path_finds_a_route_or_is_refused(method, root, tail):
    found = found_or_refused(method, root + tail)
    if isinstance(found, ShosoError):
        assert found.kind in {Kind.NO_ROUTE, Kind.WRONG_METHOD, Kind.INVALID}
        return
    route, params = found
    assert route.method == method or (route.method, method) == ("GET", "HEAD")
    assert route in TABLE
    assert set(params) == set(re.findall(r"\{(\w+)", route.path))


@given(RAW_PATHS)
@example("..")
@example("%2e%2e%2fx")
@example("%252e%252e")
@example("a/..%5c..")
def test_an_artifact_path_becomes_a_key_inside_the_root_or_nothing(tail):
    key = key_or_refused(f"{ARTIFACTS}/{tail}")
    if isinstance(key, ShosoError):
        assert key.kind in {Kind.INVALID, Kind.INVALID_KEY, Kind.NO_ROUTE}
        return
    assert key == unquote(tail, errors="strict")
    assert not {"", ".", ".."} & set(key.split("/")) or not key
    assert "\0" not in key
    assert not key.startswith(("/", "\\"))


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4).map("/".join))
def test_a_key_that_is_quoted_once_comes_back_as_it_was(text):
    try:
        key = keys.parse(text)
    except ShosoError:
        return
    raw = f"{ARTIFACTS}/{quote(key, safe='/')}"
    route, params = ROUTER.find("PUT", unquote(raw), raw)
    assert (route.path, params["path"]) == (ARTIFACTS + "/{path:path}", key)


def test_every_route_is_found_by_its_own_path():
    for route in TABLE:
        path = re.sub(r"\{\w+(:path)?\}", "x", route.path)
        found, _ = ROUTER.find(route.method, path, path)
        assert found is route, (route.path, found.path)


def test_every_call_of_mlflows_has_its_alias_for_pages():
    paths = {(route.method, route.path) for route in TABLE}
    alone = {path for _, path in paths if path.startswith("/api/") and not path.startswith("/api/shoso")}
    for method, path in paths:
        if path in alone:
            assert (method, "/ajax-api/" + path.removeprefix("/api/")) in paths


def test_every_route_says_what_it_does():
    assert [route.path for route in TABLE if not re.fullmatch(r"[A-Z].*\.", route.summary)] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_nobody_answers_is_no_route(method):
    with pytest.raises(ShosoError) as caught:
        ROUTER.find(method, "/api/2.0/mlflow/nothing", "/api/2.0/mlflow/nothing")
    assert caught.value.kind is Kind.NO_ROUTE


def test_a_method_nobody_answers_names_those_that_are():
    with pytest.raises(ShosoError) as caught:
        ROUTER.find("POST", f"{ARTIFACTS}/a", f"{ARTIFACTS}/a")
    assert caught.value.kind is Kind.WRONG_METHOD
    assert "DELETE, GET, PUT" in str(caught.value)
