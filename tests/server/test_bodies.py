"""Bodies and queries that are wrong: a 4xx that names the field, never a 5xx, and nothing is done."""

from __future__ import annotations

import json
import re
import time

import pytest
from tests.server import shapes
from tests.server.sockets import API, Wire, ask, get, post, require_refusal

from shoso.server import artifacts, batches, models, objects, registry, tracking

ROUTES = [
    route
    for route in (
        *tracking.routes(),
        *models.routes(),
        *registry.routes(),
        *artifacts.routes(),
        *objects.routes(),
        *batches.routes(),
    )
    if route.request is not None and not route.path.startswith("/ajax-api")
]
WITH_BODY = [route for route in ROUTES if route.method in {"POST", "PATCH"}]
WITH_QUERY = [route for route in ROUTES if route.method == "GET"]
JSON = "application/json"


def name_of(route) -> str:
    return f"{route.method} {route.path}"


def send(server, route, body, **headers: str):
    """The route's answer to a body, its path filled in."""
    path = re.sub(r"\{\w+\}", "x", route.path)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(server, route.method, path, raw, **{"content_type": JSON, **headers})


def in_path(route) -> set[str]:
    return set(re.findall(r"\{(\w+)", route.path))


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_field_of_another_type_is_refused_by_its_name(server, route):
    cases = [body for body in shapes.wrong(route.request) if body.name not in in_path(route)]
    assert cases or not route.request.__struct_fields__
    for body in cases:
        answer = send(server, route, body.fields)
        require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", f"'{body.name}'")


@pytest.mark.parametrize("route", WITH_BODY, ids=name_of)
def test_a_field_that_is_missing_is_refused_by_its_name(server, route):
    for body in shapes.lacking(route.request):
        if body.name not in in_path(route):
            answer = send(server, route, body.fields)
            require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", f"parameter '{body.name}'")


@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_a_query_that_lacks_a_field_is_refused_by_its_name(server, route):
    for body in shapes.lacking(route.request):
        if body.name in in_path(route):
            continue
        fields = {**body.fields, "something": "else"}
        query = "&".join(f"{name}={value}" for name, value in fields.items() if value is not None)
        answer = get(server, re.sub(r"\{\w+\}", "x", route.path) + "?" + query)
        require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", f"parameter '{body.name}'")


NO_JSON = {
    "nothing JSON knows": b"nothing",
    "half an object": b'{"run_id": ',
    "single quotes": b"{'run_id': 'r'}",
    "a comma too many": b'{"run_id": "r",}',
    "two objects": b"{}{}",
    "a NUL": b"\x00",
    "a form": b"run_id=r&key=k",
    "a gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00C\xbf\xa6\xa3\x02\x00\x00\x00",
    "100,000 lists": b"[" * 100_000,
    "100,000 lists in a field": b'{"run_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a text that isn't JSON": b'"{"',
}
NO_OBJECT = [b"[]", b"null", b"1", b"true", b'"\\"x\\""', b"[{}]", b"1.5e3", b"NaN", b"-Infinity"]


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused_by_every_call(server, body):
    for route in WITH_BODY:
        require_refusal(send(server, route, body), 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("body", [b'{"ignored": "\xff"}', b'{"ignored": ' + b"9" * 5000 + b"}"])
def test_what_is_ignored_may_be_anything_that_ends(server, body):
    for route in WITH_BODY:
        assert send(server, route, body).status < 500


NO_TEXT = [b'"\xff"', b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"a\\udc00\\ud800"']


@pytest.mark.parametrize("text", NO_TEXT)
def test_what_is_no_unicode_is_refused_by_every_call(server, text):
    for route in WITH_BODY:
        needed = shapes.lacking(route.request)
        if name := next((body.name for body in needed if body.name not in in_path(route)), None):
            body = json.dumps(shapes.right(route.request) | {name: "HERE"}).encode().replace(b'"HERE"', text)
            require_refusal(send(server, route, body), 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("body", NO_OBJECT)
def test_what_is_no_object_is_refused_by_every_call(server, body):
    for route in WITH_BODY:
        require_refusal(send(server, route, body), 400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "json", "application/jsonx"]
)
def test_another_content_type_is_refused_by_every_post(server, kind):
    for route in WITH_BODY:
        if route.method == "POST":
            answer = send(server, route, shapes.right(route.request), content_type=kind)
            require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "Content-Type", JSON)


@pytest.mark.parametrize("body", [b"", b"{}", b"{}   ", b"\n{}"])
def test_an_empty_body_lacks_what_is_required(server, body):
    answer = post(server, "experiments/create", body)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "'name'")


def test_a_body_over_64_mib_is_refused_before_it_is_read(server):
    size = 65 << 20
    with Wire(server) as wire:
        head = f"POST {API}/runs/log-batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\n"
        wire.send(f"{head}content-length: {size}\r\n\r\n".encode())
        require_refusal(wire.answer(), 413, "INVALID_PARAMETER_VALUE", "64 MiB")


def test_a_body_over_64_mib_in_chunks_is_refused_when_it_gets_there(server):
    with Wire(server) as wire:
        head = f"POST {API}/runs/log-batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\n"
        wire.send(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        piece = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        for _ in range(65):
            wire.send(piece)
        require_refusal(wire.answer(), 413, "INVALID_PARAMETER_VALUE", "64 MiB")


def test_a_large_body_that_is_allowed_is_taken(server, run):
    params = [{"key": f"k{number}", "value": "v" * 6000} for number in range(100)]
    fields = {"run_id": run["run_id"], "params": params, "ignored": "x" * (8 << 20)}
    started = time.monotonic()
    assert post(server, "runs/log-batch", fields).status == 200
    assert time.monotonic() - started < 10


# -- more than a call takes -------------------------------------------------------------------------------


def metrics(count: int, key: str = "m"):
    return [{"key": f"{key}{number}", "value": 1.0, "timestamp": 1, "step": 0} for number in range(count)]


def pairs(count: int, key: str = "k"):
    return [{"key": f"{key}{number}", "value": "v"} for number in range(count)]


TOO_MUCH = {
    "1001 metrics": {"metrics": metrics(1001)},
    "101 params": {"params": pairs(101)},
    "101 tags": {"tags": pairs(101)},
    "1001 in all": {"metrics": metrics(900), "params": pairs(51), "tags": pairs(50, "t")},
    "a metric key of 251": {"metrics": metrics(1) + metrics(1, "m" * 251)},
    "a param key of 251": {"params": pairs(1) + pairs(1, "k" * 251)},
    "a tag key of 251": {"tags": pairs(1) + pairs(1, "t" * 251)},
    "a param twice": {"params": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}]},
    "a key with a quote": {"metrics": metrics(1), "params": pairs(1, "a'b")},
    "a key that climbs": {"metrics": metrics(1), "tags": pairs(1, "../")},
    "a negative time": {
        "params": pairs(1),
        "metrics": [{"key": "m", "value": 1, "timestamp": -1, "step": 0}],
    },
}


@pytest.mark.parametrize("fields", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_batch_that_is_too_much_is_refused_as_a_whole(server, run, fields):
    answer = post(server, "runs/log-batch", {"run_id": run["run_id"], **fields})
    assert answer.status == 400, answer
    assert answer.json["error_code"] == "INVALID_PARAMETER_VALUE"
    data = get(server, f"{API}/runs/get?run_id={run['run_id']}").json["run"]["data"]
    assert not data.get("metrics")
    assert not data.get("params")
    assert [tag["key"] for tag in data.get("tags", []) if not tag["key"].startswith("mlflow.")] == []


LONG = {
    "an experiment's name": ("experiments/create", {"name": "x" * 501}),
    "a location": ("experiments/create", {"name": "x", "artifact_location": "/x" * 1025}),
    "an experiment's tag": ("experiments/create", {"name": "x", "tags": [{"key": "k" * 251, "value": "v"}]}),
    "a tag's value": ("experiments/create", {"name": "x", "tags": [{"key": "k", "value": "v" * 20_001}]}),
    "a megabyte of name": ("experiments/create", {"name": "x" * 1_000_000}),
    "a user": ("runs/create", {"experiment_id": "0", "user_id": "u" * 1_000_000}),
    "a run's name": ("runs/create", {"experiment_id": "0", "run_name": "n" * 1_000_000}),
    "an id": ("runs/delete", {"run_id": "r" * 1_000_000}),
    "a filter": (
        "runs/search",
        {"experiment_ids": ["0"], "filter": "params.a = 'b' AND " * 50_000 + "params.a = 'b'"},
    ),
    "an order": ("runs/search", {"experiment_ids": ["0"], "order_by": ["metrics.m"] * 5000}),
    "a page token": ("runs/search", {"experiment_ids": ["0"], "page_token": "A" * 1_000_000}),
    "experiments": ("runs/search", {"experiment_ids": [str(number) for number in range(100_000)]}),
}


@pytest.mark.parametrize(("call", "fields"), LONG.values(), ids=LONG)
def test_what_is_far_too_long_is_no_5xx_and_takes_no_time(server, call, fields):
    started = time.monotonic()
    answer = post(server, call, fields)
    assert answer.status < 500, answer
    assert time.monotonic() - started < 10


# -- queries ----------------------------------------------------------------------------------------------

BAD_QUERIES = [
    "%ff",
    "a=%ff",
    "a=%c0%ae",
    "a=%ed%a0%80",
    "&".join(f"a{n}=1" for n in range(5000)),
    "=",
    "&&&",
    "a" * 9000,
]


@pytest.mark.parametrize("query", BAD_QUERIES)
@pytest.mark.parametrize("route", WITH_QUERY, ids=name_of)
def test_any_query_is_no_5xx(server, route, query):
    answer = get(server, re.sub(r"\{\w+\}", "x", route.path) + "?" + query)
    assert answer.status < 500, answer
    assert answer.status == 200 or answer.json["message"]


def test_a_query_with_too_many_fields_is_refused(server):
    answer = get(server, f"{API}/experiments/get?" + "&".join(f"{n}=" for n in range(10_001)))
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "10000 fields")


@pytest.mark.parametrize("name", ["max_results", "page_token", "view_type"])
@pytest.mark.parametrize(
    "value", ["x", "-1", "0", "99999999999999999999", "1e3", "NaN", "9" * 5000, "%00", "[]"]
)
def test_a_number_of_a_query_that_is_none_is_no_5xx(server, name, value):
    query = f"max_results=5&{name}={value}" if name != "max_results" else f"max_results={value}"
    assert get(server, f"{API}/experiments/search?{query}").status in {200, 400}


@pytest.mark.parametrize("call", ["experiments/get?experiment_id=0", "experiments/search?max_results=1"])
def test_head_is_get_without_the_body(server, call):
    with Wire(server) as wire:
        head, whole = wire.ask("HEAD", f"{API}/{call}"), wire.ask("GET", f"{API}/{call}")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


def test_a_get_may_have_its_fields_in_the_body(server):
    answer = ask(server, "GET", f"{API}/experiments/get", b'{"experiment_id": "0"}')
    assert answer.json["experiment"]["name"] == "Default"


def test_the_query_of_a_get_wins_over_its_body(server):
    answer = ask(server, "GET", f"{API}/experiments/get?experiment_id=0", b'{"experiment_id": "99999"}')
    assert answer.status == 200
