"""Values at the edge of what a database or an interpreter takes: refused or answered, never a 5xx."""

from __future__ import annotations

import json

import pytest
from tests.server.sockets import API, ask, get, post

DIGITS = "9" * 5000
DATASETS = [{"dataset_name": f"d{number}", "dataset_digest": "1"} for number in range(1100)]
MEASURED = "metrics.a > 1"
MANY = [str(number) for number in range(9999)]

EXTREMES = [
    ("runs/update", {"run_id": "{run}", "status": DIGITS}, 400),
    ("logged-models/search", {"experiment_ids": ["0"], "filter": f"status = {DIGITS}"}, 400),
    ("logged-models/search", {"experiment_ids": ["0"], "datasets": DATASETS}, 400),
    ("logged-models/search", {"experiment_ids": ["0"], "datasets": DATASETS[:100], "filter": MEASURED}, 200),
    ("runs/search", {"experiment_ids": MANY}, 200),
    ("runs/search", {"experiment_ids": MANY, "filter": "dataset.name = 'a'"}, 200),
    ("runs/search", {"experiment_ids": MANY, "filter": " AND ".join(["dataset.name = 'a'"] * 30)}, 200),
    ("runs/search", {"experiment_ids": ["0"], "max_results": 2**63 - 1}, 400),
]  # fmt: skip


@pytest.fixture(scope="module")
def server(launch):
    return launch()


@pytest.fixture(scope="module")
def run(server):
    return post(server, "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"]


@pytest.mark.parametrize(("call", "fields", "status"), EXTREMES, ids=range(len(EXTREMES)))
def test_an_extreme_value_is_answered_or_refused(server, run, call, fields, status):
    fields = {name: run if value == "{run}" else value for name, value in fields.items()}
    answer = post(server, call, fields)
    assert answer.status == status, answer.body[:300]


def test_a_history_in_pages_of_any_size_is_answered(server, run):
    point = {"run_id": run, "key": "m", "value": 1, "timestamp": 1}
    assert post(server, "runs/log-metric", point).status == 200
    target = f"{API}/metrics/get-history?run_id={run}&metric_key=m&max_results={2**63 - 1}"
    assert len(get(server, target).json["metrics"]) == 1


@pytest.mark.parametrize("odd", ['{"runId": "a"}', '{"run_id": null}', '{"metrics": [{"value": NaN}]}'])
def test_a_large_body_that_is_no_plain_json_is_refused_at_once(server, odd):
    body = json.dumps({"x": [[]] * 500_000, "y": "#"}).replace('"#"', odd).encode()
    answer = ask(server, "POST", f"{API}/runs/log-batch", body, content_type="application/json")
    assert answer.status == 400
