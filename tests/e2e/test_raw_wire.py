"""The protocol below the calls, by plain HTTP: bodies, content types, names of fields, aliases, latency."""

from __future__ import annotations

import json
import statistics
import time

import pytest
from tests.e2e.raw import ask, connect

JSON = {"Content-Type": "application/json"}
CREATE = "/api/2.0/mlflow/experiments/create"
SEARCH = "/api/2.0/mlflow/experiments/search"


def post(wire, target, body, headers=JSON):
    return wire.send("POST", target, body, headers)


def is_a_bad_request(reply) -> bool:
    return reply.status == 400 and json.loads(reply.body)["error_code"] == "INVALID_PARAMETER_VALUE"


# -- bodies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"{", b"\xff\xfe", b'{"name": NaN}', b'{"nom": "x"}', b"{'name': 'x'}"]
)
def test_a_body_without_the_required_field_is_a_bad_request(wire, body):
    assert is_a_bad_request(post(wire, CREATE, body))


@pytest.mark.shoso_only
@pytest.mark.parametrize("body", [b"[]", b"5", b'"abc"', b"[" * 100_000, b'[{"name": "x"}]'], ids=range(5))
def test_a_body_that_is_no_object_is_a_bad_request(wire, body):
    assert is_a_bad_request(post(wire, CREATE, body))


def test_a_body_may_be_a_json_text_that_holds_json(wire):
    reply = post(wire, SEARCH, json.dumps(json.dumps({"max_results": 1})))
    assert reply.status == 200


def test_unknown_fields_are_ignored(wire, unique):
    assert post(wire, CREATE, json.dumps({"name": unique, "from": {"the": "future"}})).status == 200


def test_names_may_be_camel_case(wire):
    body = {"maxResults": 1, "orderBy": ["name"], "viewType": "ALL"}
    reply = post(wire, SEARCH, json.dumps(body))
    assert len(json.loads(reply.body)["experiments"]) == 1


def test_a_field_named_in_both_ways_is_a_bad_request(wire):
    assert is_a_bad_request(post(wire, SEARCH, json.dumps({"max_results": 1, "maxResults": 2})))


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/json;x"]
)
def test_content_type_json_is_taken(wire, kind):
    assert post(wire, SEARCH, b'{"max_results": 1}', {"Content-Type": kind}).status == 200


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_any_other_content_type_is_a_bad_request(wire, kind):
    headers = {"Content-Type": kind} if kind else {}
    assert is_a_bad_request(post(wire, SEARCH, b'{"max_results": 1}', headers))


# -- replies ----------------------------------------------------------------------------------------------


def test_replies_are_json_and_not_to_be_sniffed(wire):
    reply = post(wire, SEARCH, b'{"max_results": 1}')
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["x-frame-options"] == "SAMEORIGIN"


def test_an_empty_list_is_left_out(api, experiment):
    assert api.ok("POST", "runs/search", {"experiment_ids": [experiment]}) == {}


def test_64_bit_integers_are_numbers(api, run_id):
    point = {"key": "m", "value": 1, "timestamp": 2**53 + 1, "step": 2**62}
    api.ok("POST", "runs/log-metric", {"run_id": run_id, **point})
    [metric] = api.ok("GET", "metrics/get-history", run_id=run_id, metric_key="m")["metrics"]
    assert (metric["timestamp"], metric["step"]) == (2**53 + 1, 2**62)


def test_what_is_no_number_is_text(api, run_id):
    api.ok("POST", "runs/log-metric", {"run_id": run_id, "key": "m", "value": "NaN", "timestamp": 1})
    [metric] = api.ok("GET", "runs/get", run_id=run_id)["run"]["data"]["metrics"]
    assert metric["value"] == "NaN"


def test_a_run_is_shown_with_both_names_of_its_id(api, run_id):
    info = api.ok("GET", "runs/get", run_id=run_id)["run"]["info"]
    assert info["run_id"] == info["run_uuid"] == run_id
    assert (info["status"], info["lifecycle_stage"]) == ("RUNNING", "active")
    assert "end_time" not in info


def test_metric_history_comes_in_pages_when_asked_to(api, run_id):
    points = [{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(5)]
    api.ok("POST", "runs/log-batch", {"run_id": run_id, "metrics": points})
    query = {"run_id": run_id, "metric_key": "m", "max_results": 3}
    first = api.ok("GET", "metrics/get-history", **query)
    second = api.ok("GET", "metrics/get-history", **query, page_token=first["next_page_token"])
    assert [m["step"] for m in first["metrics"] + second["metrics"]] == [0, 1, 2, 3, 4]
    assert not second.get("next_page_token")


def test_lists_in_a_query_are_repeated_keys(api):
    query = {
        "max_results": 2,
        "order_by": ["experiment_id ASC", "name DESC"],
        "filter": "experiment_id = '0'",
    }
    [default] = api.ok("GET", "experiments/search", **query)["experiments"]
    assert default["name"] == "Default"


# -- routes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["api/2.0/mlflow", "ajax-api/2.0/mlflow"])
def test_every_call_has_its_ajax_alias(api, unique, root):
    created = api.ok("POST", "experiments/create", {"name": unique}, root=root)
    found = api.ok("GET", "experiments/get-by-name", experiment_name=unique, root=root)
    assert found["experiment"]["experiment_id"] == created["experiment_id"]
    run = api.ok("POST", "runs/create", {"experiment_id": created["experiment_id"]}, root=root)["run"]
    files = api.ok("GET", "artifacts/list", run_id=run["info"]["run_id"], root=root)
    assert files == {"root_uri": run["info"]["artifact_uri"]}


def test_health(wire):
    reply = wire.send("GET", "/health")
    assert (reply.status, reply.body) == (200, b"OK")


def test_version_is_mlflows(wire):
    reply = wire.send("GET", "/version")
    assert (reply.status, reply.body) == (200, b"3.17.2")


@pytest.mark.parametrize("root", ["api", "ajax-api"])
def test_server_info_promises_no_multipart(wire, root):
    info = json.loads(wire.send("GET", f"/{root}/3.0/mlflow/server-info").body)
    assert info["store_type"] == "SqlStore"
    assert not info["workspaces_enabled"]
    assert not info["multipart_uploads_enabled"]
    assert not info["multipart_downloads_enabled"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/2.0/mlflow/nothing", "/api/2.0/mlflow/experiments/nothing"]
)
def test_an_unknown_path_is_404(wire, path):
    assert wire.send("GET", path).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CREATE), ("PUT", CREATE), ("DELETE", SEARCH), ("POST", "/api/2.0/mlflow/runs/get")],
)
def test_a_wrong_method_is_405(wire, method, path):
    assert wire.send(method, path, b"{}", JSON).status == 405


# -- latency ----------------------------------------------------------------------------------------------

CALLS = {
    "health": ("GET", "/health", None),
    "get": ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", None),
    "error": ("GET", "/api/2.0/mlflow/experiments/get?experiment_id=99999999", None),
    "search": ("POST", SEARCH, b'{"max_results": 1, "filter": "experiment_id = \'0\'"}'),
    "list": ("GET", "/api/2.0/mlflow-artifacts/artifacts?path=nothing", None),
}


def median_seconds(uri, call, count=50) -> float:
    """The median time of a call on one keep-alive connection."""
    connection = connect(uri)
    times = []
    for _ in range(count):
        started = time.perf_counter()
        ask(connection, *CALLS[call], headers=JSON)
        times.append(time.perf_counter() - started)
    connection.close()
    return statistics.median(times)


def is_prompt(uri, call) -> bool:
    """Whether the median is below 20 ms, in one of three tries: a stall is in all, a busy machine isn't."""
    return any(median_seconds(uri, call) < 0.02 for _ in range(3))


@pytest.mark.parametrize("call", CALLS)
def test_a_call_on_an_open_connection_never_waits_for_a_delayed_ack(server, call):
    assert is_prompt(server.uri, call)
