"""The table of failures: outcome → the calls that have it. Names in braces are filled in by the tests.

Rows marked shoso_only are calls that MLflow answers with a 5xx, or takes though it can't use them.
"""

from __future__ import annotations

from typing import Any

import pytest

INVALID = (400, "INVALID_PARAMETER_VALUE")
TAKEN = (400, "RESOURCE_ALREADY_EXISTS")
ABSENT = (404, "RESOURCE_DOES_NOT_EXIST")
CLASH = (400, "BAD_REQUEST")


def metric(**fields: Any) -> dict[str, Any]:
    return {"key": "m", "value": 1.0, "timestamp": 1, **fields}


def many(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"key": f"k{i}", **fields} for i in range(count)]


def dataset(**fields: Any) -> dict[str, Any]:
    return {"dataset": {"name": "d", "digest": "1", "source_type": "x", "source": "y", **fields}}


def on(run: str, **fields: Any) -> dict[str, Any]:
    return {"run_id": run, **fields}


only = pytest.mark.shoso_only

EXPERIMENTS = {
    INVALID: [
        ("POST experiments/create", {}),
        ("POST experiments/create", {"name": ""}),
        ("POST experiments/create", {"name": 5}),
        ("POST experiments/create", {"name": "x" * 501}),
        ("POST experiments/create", {"name": "{fresh}", "artifact_location": "runs:/x/y"}),
        ("POST experiments/create", {"name": "{fresh}", "artifact_location": "s3://bucket/path#fragment"}),
        ("POST experiments/create", {"name": "{fresh}", "artifact_location": "s3://bucket/path?a=.."}),
        ("POST experiments/create", {"name": "{fresh}", "artifact_location": "s3://b/" + "x" * 2048}),
        *[
            (
                "POST experiments/create",
                {"name": "{fresh}", "artifact_location": f"{scheme}://elsewhere/path"},
            )
            for scheme in ("ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts")
        ],
        ("GET experiments/get", {}),
        ("GET experiments/get", {"experiment_id": ""}),
        ("GET experiments/get", {"experiment_id": "abc"}),
        ("GET experiments/get-by-name", {}),
        ("POST experiments/delete", {}),
        ("POST experiments/delete", {"experiment_id": "abc"}),
        ("POST experiments/restore", {}),
        ("POST experiments/update", {"experiment_id": "{exp}"}),
        ("POST experiments/update", {"experiment_id": "{exp}", "new_name": ""}),
        ("POST experiments/update", {"new_name": "{fresh}"}),
        ("POST experiments/update", {"experiment_id": "{dead}", "new_name": "{fresh}"}, only),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{dead}", "key": "a", "value": "b"}),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{exp}", "value": "b"}),
        ("POST experiments/set-experiment-tag", {"key": "a", "value": "b"}),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{exp}", "key": "a/../b", "value": "b"}),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{exp}", "key": "k" * 251, "value": "b"}),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{exp}", "key": "k", "value": "b" * 20001}),
        ("POST experiments/delete-experiment-tag", {"experiment_id": "{dead}", "key": "a"}),
        ("POST experiments/delete-experiment-tag", {"experiment_id": "{exp}"}),
        ("POST experiments/search", {}),
        ("GET experiments/search", {}),
        ("POST experiments/search", {"max_results": 0}),
        ("POST experiments/search", {"max_results": -1}),
        ("POST experiments/search", {"max_results": 50001}),
        ("POST experiments/search", {"max_results": "many"}),
        ("POST experiments/search", {"max_results": 5, "filter": "nonsense = 'x'"}),
        ("POST experiments/search", {"max_results": 5, "filter": "name = 'a' OR name = 'b'"}),
        ("POST experiments/search", {"max_results": 5, "filter": "name = bare"}),
        ("POST experiments/search", {"max_results": 5, "filter": "name LIKE 5"}),
        ("POST experiments/search", {"max_results": 5, "filter": "name"}),
        ("POST experiments/search", {"max_results": 5, "filter": "creation_time > 'x'"}),
        ("POST experiments/search", {"max_results": 5, "filter": "creation_time > 1.5"}),
        ("POST experiments/search", {"max_results": 5, "order_by": ["nonsense"]}),
        ("POST experiments/search", {"max_results": 5, "order_by": ["name SIDEWAYS"]}),
        ("POST experiments/search", {"max_results": 5, "page_token": "?"}),
        ("POST experiments/search", {"max_results": 5, "page_token": "eyJ4IjogMX0="}),
        ("POST experiments/search", {"max_results": 5, "view_type": "NONSENSE"}, only),
    ],
    TAKEN: [
        ("POST experiments/create", {"name": "{name}"}),
        ("POST experiments/create", {"name": "{deadname}"}),
        ("POST experiments/create", {"name": "Default"}),
    ],
    ABSENT: [
        ("GET experiments/get", {"experiment_id": "{absentexp}"}),
        ("GET experiments/get-by-name", {"experiment_name": "{fresh}"}),
        ("POST experiments/delete", {"experiment_id": "{absentexp}"}),
        ("POST experiments/delete", {"experiment_id": "{dead}"}),
        ("POST experiments/restore", {"experiment_id": "{absentexp}"}),
        ("POST experiments/restore", {"experiment_id": "{exp}"}),
        ("POST experiments/update", {"experiment_id": "{absentexp}", "new_name": "{fresh}"}),
        ("POST experiments/set-experiment-tag", {"experiment_id": "{absentexp}", "key": "a", "value": "b"}),
        ("POST experiments/delete-experiment-tag", {"experiment_id": "{absentexp}", "key": "a"}),
        ("POST experiments/delete-experiment-tag", {"experiment_id": "{exp}", "key": "nothing"}),
    ],
}

RUNS = {
    INVALID: [
        ("POST runs/create", {"experiment_id": "{dead}"}),
        ("POST runs/create", {"experiment_id": "abc"}),
        ("POST runs/create", {"experiment_id": "{exp}", "start_time": "soon"}),
        (
            "POST runs/create",
            {"experiment_id": "{exp}", "run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]},
        ),
        ("POST runs/create", {"experiment_id": "{exp}", "tags": "x"}, only),
        ("POST runs/create", {"experiment_id": "{exp}", "tags": [{"value": "v"}]}, only),
        ("POST runs/create", {"experiment_id": "{exp}", "start_time": 2**63}, only),
        ("GET runs/get", {}),
        ("POST runs/update", {"status": "FINISHED"}),
        ("POST runs/update", on("{gone}", status="FINISHED")),
        ("POST runs/update", on("{run}", status=99)),
        ("POST runs/update", on("{run}", end_time="x")),
        ("POST runs/update", on("{run}", status="NONSENSE"), only),
        ("POST runs/delete", {}),
        ("POST runs/restore", {}),
        ("POST runs/log-metric", metric()),
        ("POST runs/log-metric", on("{gone}", **metric())),
        ("POST runs/log-metric", on("{run}", value=1, timestamp=1)),
        ("POST runs/log-metric", on("{run}", key="m", timestamp=1)),
        ("POST runs/log-metric", on("{run}", key="m", value=1)),
        ("POST runs/log-metric", on("{run}", **metric(value="x"))),
        ("POST runs/log-metric", on("{run}", **metric(value=None))),
        ("POST runs/log-metric", on("{run}", **metric(timestamp=-1))),
        ("POST runs/log-metric", on("{run}", **metric(step="x"))),
        ("POST runs/log-metric", on("{run}", **metric(key=""))),
        ("POST runs/log-metric", on("{run}", **metric(key="k" * 251))),
        ("POST runs/log-metric", on("{run}", **metric(dataset_name="d"))),
        *[
            ("POST runs/log-metric", on("{run}", **metric(key=key)))
            for key in ("a//b", "../b", "/b", "a/./b", "a$b", ".")
        ],
        ("POST runs/log-parameter", {"key": "p", "value": "1"}),
        ("POST runs/log-parameter", on("{gone}", key="p", value="1")),
        ("POST runs/log-parameter", on("{run}", value="1")),
        ("POST runs/log-parameter", on("{run}", key="p", value="2")),
        ("POST runs/log-parameter", on("{run}", key="k" * 251, value="1")),
        ("POST runs/log-parameter", on("{run}", key="a$", value="1")),
        ("POST runs/log-parameter", on("{run}", key="n", value=5)),
        ("POST runs/log-parameter", on("{run}", key="n", value={"a": 1})),
        ("POST runs/set-tag", {"key": "t", "value": "1"}),
        ("POST runs/set-tag", on("{gone}", key="t", value="1")),
        ("POST runs/set-tag", on("{run}", value="1")),
        ("POST runs/set-tag", on("{run}", key="k" * 251, value="1")),
        ("POST runs/set-tag", on("{run}", key="../a", value="1")),
        ("POST runs/delete-tag", {"key": "t"}),
        ("POST runs/delete-tag", on("{gone}", key="t")),
        ("POST runs/delete-tag", on("{run}")),
        ("GET metrics/get-history", {"run_id": "{run}"}),
        ("GET metrics/get-history", {"metric_key": "m"}),
        ("GET metrics/get-history", {"run_id": "{run}", "metric_key": "m", "max_results": 0}),
        ("GET metrics/get-history", {"run_id": "{run}", "metric_key": "m", "max_results": -1}),
        ("GET metrics/get-history", {"run_id": "{run}", "metric_key": "m", "page_token": "?"}),
        ("GET metrics/get-history", {"run_id": "{run}", "metric_key": "m", "max_results": "x"}, only),
        ("GET artifacts/list", {}),
        *[
            ("GET artifacts/list", {"run_id": "{run}", "path": path})
            for path in ("../x", "%2e%2e/x", "%252e%252e/x", "/etc", "a/../../x")
        ],
    ],
    ABSENT: [
        ("POST runs/create", {"experiment_id": "{absentexp}"}),
        ("GET runs/get", {"run_id": "{absent}"}),
        ("POST runs/update", on("{absent}", status="FINISHED")),
        ("POST runs/delete", on("{absent}")),
        ("POST runs/restore", on("{absent}")),
        ("POST runs/log-metric", on("{absent}", **metric())),
        ("POST runs/log-parameter", on("{absent}", key="p", value="1")),
        ("POST runs/set-tag", on("{absent}", key="t", value="1")),
        ("POST runs/delete-tag", on("{absent}", key="t")),
        ("POST runs/delete-tag", on("{run}", key="nothing")),
        ("POST runs/log-batch", on("{absent}", params=[{"key": "a", "value": "1"}])),
        ("POST runs/log-inputs", on("{absent}", datasets=[dataset()])),
        ("POST runs/outputs", on("{absent}", models=[{"model_id": "{model}", "step": 0}])),
        ("GET artifacts/list", {"run_id": "{absent}"}),
    ],
    CLASH: [
        ("POST experiments/update", {"experiment_id": "{exp}", "new_name": "Default"}),
        ("POST runs/create", {}),
        ("POST runs/log-metric", on("{run}", **metric(model_id="m-nothing"))),
        ("POST runs/log-batch", on("{run}", metrics=[metric(step=0, model_id="m-nothing")])),
    ],
}

BATCHES = {
    INVALID: [
        ("POST runs/log-batch", {"params": [{"key": "a", "value": "1"}]}),
        ("POST runs/log-batch", on("!!no id")),
        ("POST runs/log-batch", on("{gone}", params=[{"key": "a", "value": "1"}])),
        ("POST runs/log-batch", on("{run}", metrics=many(1001, value=1, timestamp=1, step=0))),
        ("POST runs/log-batch", on("{run}", metrics=[metric(step=0, dataset_digest="1")])),
        ("POST runs/log-batch", on("{run}", params=many(101, value="1"))),
        ("POST runs/log-batch", on("{run}", tags=many(101, value="1"))),
        (
            "POST runs/log-batch",
            on("{run}", metrics=many(950, value=1, timestamp=1), params=many(51, value="1")),
        ),
        ("POST runs/log-batch", on("{run}", params=[{"key": "z", "value": "1"}] * 2)),
        ("POST runs/log-batch", on("{run}", params=[{"key": "p", "value": "2"}])),
        ("POST runs/log-batch", on("{run}", params=[{"key": "k" * 251, "value": "2"}])),
        ("POST runs/log-batch", on("{run}", tags=[{"key": "k" * 251, "value": "2"}])),
        ("POST runs/log-batch", on("{run}", metrics=[{"value": 1, "timestamp": 1}])),
        ("POST runs/log-batch", on("{run}", metrics=[{"key": "m", "timestamp": 1}])),
        ("POST runs/log-batch", on("{run}", metrics=[{"key": "m", "value": 1}])),
        ("POST runs/log-batch", on("{run}", metrics=[metric(key="a$")])),
        ("POST runs/log-batch", on("{run}", metrics=[metric(timestamp=-1)])),
        ("POST runs/log-batch", on("{run}", metrics={"key": "m"})),
        ("POST runs/log-batch", on("{run}", metrics=[metric(value="x")]), only),
        ("POST runs/log-inputs", {"datasets": [dataset()]}),
        ("POST runs/log-inputs", on("{gone}", datasets=[dataset()])),
        ("POST runs/log-inputs", on("{run}", datasets=[dataset(name="n" * 501)])),
        ("POST runs/log-inputs", on("{run}", datasets=[dataset(digest="d" * 37)])),
        ("POST runs/log-inputs", on("{run}", datasets=[dataset(source="s" * 65536)])),
        ("POST runs/log-inputs", on("{run}", datasets=[dataset(schema="s" * 1048576)])),
        (
            "POST runs/log-inputs",
            on("{run}", datasets=[{**dataset(), "tags": [{"key": "k" * 256, "value": "v"}]}]),
        ),
        (
            "POST runs/log-inputs",
            on("{run}", datasets=[{**dataset(), "tags": [{"key": "k", "value": "v" * 501}]}]),
        ),
        ("POST runs/log-inputs", on("{run}", datasets=[{"dataset": {"digest": "1"}}]), only),
        ("POST runs/outputs", {"models": [{"model_id": "{model}", "step": 0}]}),
        ("POST runs/outputs", on("{run}")),
        ("POST runs/outputs", on("{gone}", models=[{"model_id": "{model}", "step": 0}])),
    ],
}

SEARCHES = {
    INVALID: [
        ("POST runs/search", {"experiment_ids": ["{exp}"], "max_results": number})
        for number in (0, -1, 50001, "many")
    ]
    + [
        ("POST runs/search", {"experiment_ids": ["{exp}"], "filter": text})
        for text in (
            "nonsense.x = 1",
            "metrics.a > 1 OR metrics.b > 1",
            "metrics.a = 'x'",
            "metrics.a LIKE 'x'",
            "params.a > 1",
            "params.a = 1",
            "params.a",
            "status IN ('FINISHED')",
            "run_id IN ()",
            "nonsense = 'x'",
            "tags.a ILIKE 5",
            "start_time > 'x'",
            5,
        )
    ]
    + [
        ("POST runs/search", {"experiment_ids": ["{exp}"], "order_by": [text]})
        for text in ("nonsense", "metrics.a UP")
    ]
    + [
        ("POST runs/search", {"experiment_ids": "1"}),
        ("POST runs/search", {"experiment_ids": ["abc"]}),
        ("POST runs/search", {"experiment_ids": ["{exp}"], "page_token": "?"}),
        ("POST runs/search", {"experiment_ids": ["{exp}"], "order_by": ["metrics.a", "metrics.a"]}, only),
        ("POST runs/search", {"experiment_ids": ["{exp}"], "run_view_type": "NONSENSE"}, only),
    ],
}

MODELS = {
    INVALID: [
        ("POST logged-models", {}),
        ("POST logged-models", {"experiment_id": "abc"}),
        ("POST logged-models", {"experiment_id": "{dead}"}),
        *[
            ("POST logged-models", {"experiment_id": "{exp}", "name": f"a{letter}b"})
            for letter in ("/", ":", ".", "%", "'", '"')
        ],
        ("POST logged-models", {"experiment_id": "{exp}", "params": "x"}),
        ("PATCH logged-models/{model}", {"model_id": "{model}"}),
        ("PATCH logged-models/{model}", {"model_id": "{model}", "status": "NONSENSE"}, only),
        ("GET logged-models/{model}/artifacts/directories", {"artifact_directory_path": "../x"}),
        ("POST logged-models/search", {}),
        ("POST logged-models/search", {"experiment_ids": ["abc"]}),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "datasets": [{}]}),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "order_by": [{}]}),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "order_by": [{"field_name": "x"}]}),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "order_by": ["name"]}),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "page_token": "?"}, only),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "max_results": -1}, only),
        *[
            ("POST logged-models/search", {"experiment_ids": ["{exp}"], "filter": text})
            for text in ("name", "metric.a > 1", "params.a > 1", "name = 'a' OR name = 'b'")
        ],
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "filter": "nonsense = 'x'"}, only),
        ("POST logged-models/search", {"experiment_ids": ["{exp}"], "filter": "metrics.a = 'x'"}, only),
    ],
    ABSENT: [
        ("POST logged-models", {"experiment_id": "{absentexp}"}),
        ("GET logged-models/m-nothing", {}),
        ("PATCH logged-models/m-nothing", {"model_id": "m-nothing", "status": 2}),
        ("DELETE logged-models/m-nothing", {}),
        ("PATCH logged-models/m-nothing/tags", {"tags": [{"key": "a", "value": "b"}]}),
        ("DELETE logged-models/{model}/tags/nothing", {}),
        ("DELETE logged-models/m-nothing/tags/a", {}),
        ("GET logged-models/m-nothing/artifacts/directories", {}),
        (
            "POST logged-models/m-nothing/params",
            {"model_id": "m-nothing", "params": [{"key": "a", "value": "1"}]},
        ),
    ],
    CLASH: [
        (
            "POST logged-models/{model}/params",
            {"model_id": "{model}", "params": [{"key": "p", "value": "2"}]},
        ),
        (
            "POST logged-models/{model}/params",
            {"model_id": "{model}", "params": [{"key": "p", "value": "1"}]},
        ),
        ("POST logged-models", {"experiment_id": "{exp}", "params": [{"key": "p", "value": "2"}] * 2}),
    ],
}


ACCEPTED = [
    ("POST runs/delete", on("{gone}")),
    ("POST runs/search", {}),
    ("POST runs/search", {"experiment_ids": []}),
    ("POST runs/search", {"experiment_ids": ["{absentexp}"]}),
    ("POST runs/search", {"experiment_ids": ["{exp}"], "max_results": 50000}),
    ("GET metrics/get-history", {"run_id": "{absent}", "metric_key": "m"}),
    ("POST runs/log-parameter", on("{run}", key="p", value="1")),
    ("POST runs/log-parameter", on("{run}", key="without value")),
    ("POST runs/log-metric", on("{run}", **metric(value="NaN"))),
    ("POST runs/log-metric", on("{run}", **metric(value="1.5", timestamp="1", step="2"))),
    ("POST runs/log-metric", {"run_uuid": "{run}", **metric()}),
    ("POST runs/log-metric", on("{run}", run_uuid="{run}", **metric())),
    ("POST runs/log-batch", on("{run}")),
    ("POST runs/log-batch", on("{run}", metrics=[metric()])),
    ("POST runs/log-batch", on("{run}", metrics=many(1000, value=1, timestamp=1, step=0))),
    ("POST runs/update", on("{run}")),
    ("POST runs/update", on("{run}", status=3)),
    ("POST runs/log-inputs", on("{run}")),
    ("POST experiments/set-experiment-tag", {"experiment_id": "{exp}", "key": "without value"}),
    ("POST experiments/update", {"experiment_id": "{exp}", "new_name": "{name}"}),
    ("POST experiments/search", {"max_results": 1, "order_by": ["name", "name"]}),
    ("GET experiments/get", {"experiment_id": "{dead}"}),
    ("GET experiments/get-by-name", {"experiment_name": "{deadname}"}),
    ("GET experiments/search", {"max_results": "1", "view_type": "ALL"}),
    ("POST logged-models/search", {"experiment_ids": ["{absentexp}"]}),
]
