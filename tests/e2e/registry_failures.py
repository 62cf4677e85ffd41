"""The table of the registry's failures, like that of `failures`: outcome → the calls that have it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e.failures import ABSENT, INVALID, TAKEN, only

ODD_NAMES = ("", " ", "a/b", "a:b", "/", "..", ".", "../a")


def version(**fields: Any) -> dict[str, Any]:
    return {"name": "{reg}", "version": "1", **fields}


def source(uri: str, *marks: pytest.MarkDecorator, **fields: Any) -> tuple[Any, ...]:
    """The call that makes a version of it."""
    return ("POST model-versions/create", {"name": "{reg}", "source": uri, **fields}, *marks)


REGISTERED = {
    INVALID: [
        ("POST registered-models/create", {}),
        *[("POST registered-models/create", {"name": name}) for name in ODD_NAMES],
        ("POST registered-models/create", {"name": 5}),
        ("POST registered-models/create", {"name": ["a"]}),
        ("POST registered-models/create", {"name": "{free}", "tags": "x"}),
        ("POST registered-models/create", {"name": "{free}", "tags": [{"value": "v"}]}),
        ("POST registered-models/create", {"name": "{free}", "tags": [{"key": "a$", "value": "v"}]}),
        ("POST registered-models/create", {"name": "{free}", "tags": [{"key": "k" * 251, "value": "v"}]}),
        ("POST registered-models/create", {"name": "{free}", "description": 5}),
        ("POST registered-models/create", {"name": "n" * 257}, only),
        ("GET registered-models/get", {}),
        ("GET registered-models/get", {"name": "a/b"}),
        ("PATCH registered-models/update", {"description": "x"}),
        ("POST registered-models/rename", {"name": "{reg}"}),
        ("POST registered-models/rename", {"new_name": "{free}"}),
        *[("POST registered-models/rename", {"name": "{reg}", "new_name": name}) for name in ODD_NAMES],
        ("POST registered-models/rename", {"name": "{reg}", "new_name": "n" * 257}, only),
        ("DELETE registered-models/delete", {}),
        ("POST registered-models/set-tag", {"name": "{reg}", "value": "v"}),
        ("POST registered-models/set-tag", {"name": "{reg}", "key": "a/../b", "value": "v"}),
        ("POST registered-models/set-tag", {"name": "{reg}", "key": "k", "value": "v" * 100_001}),
        ("POST registered-models/set-tag", {"name": "{reg}", "key": "k", "value": 5}),
        ("DELETE registered-models/delete-tag", {"name": "{reg}"}),
        ("DELETE registered-models/delete-tag", {"name": "{reg}", "key": "a$"}),
        ("GET registered-models/get-latest-versions", {}),
        ("POST registered-models/get-latest-versions", {"name": "{reg}", "stages": ["Nonsense"]}),
        ("POST registered-models/get-latest-versions", {"name": "{reg}", "stages": "None"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "it"}),
        ("POST registered-models/alias", {"name": "{reg}", "version": "1"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "latest", "version": "1"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "v1", "version": "1"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "a b", "version": "1"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "it", "version": "one"}),
        ("GET registered-models/alias", {"name": "{reg}", "alias": "nothing"}),
        ("GET registered-models/alias", {"name": "{reg}", "alias": "a b"}),
        ("DELETE registered-models/alias", {"name": "{reg}"}),
    ],
    TAKEN: [
        ("POST registered-models/create", {"name": "{reg}"}),
        ("POST registered-models/create", {"name": "{prompt}"}),
        (
            "POST registered-models/create",
            {"name": "{reg}", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]},
        ),
        ("POST registered-models/rename", {"name": "{reg}", "new_name": "{prompt}"}),
    ],
    ABSENT: [
        ("GET registered-models/get", {"name": "{free}"}),
        ("PATCH registered-models/update", {"name": "{free}"}),
        ("POST registered-models/rename", {"name": "{free}", "new_name": "{free}2"}),
        ("DELETE registered-models/delete", {"name": "{free}"}),
        ("POST registered-models/set-tag", {"name": "{free}", "key": "k", "value": "v"}),
        ("DELETE registered-models/delete-tag", {"name": "{free}", "key": "k"}),
        ("POST registered-models/get-latest-versions", {"name": "{free}"}),
        ("POST registered-models/alias", {"name": "{free}", "alias": "it", "version": "1"}),
        ("POST registered-models/alias", {"name": "{reg}", "alias": "it", "version": "7777"}),
        ("GET registered-models/alias", {"name": "{free}", "alias": "it"}),
        ("GET registered-models/alias", {"name": "{empty}", "alias": "latest"}),
        ("DELETE registered-models/alias", {"name": "{free}", "alias": "it"}),
    ],
}

VERSIONS = {
    INVALID: [
        ("POST model-versions/create", {"name": "{reg}"}),
        ("POST model-versions/create", {"source": "s3://bucket/model"}),
        source("s3://bucket/model", tags=[{"key": "a$", "value": "v"}]),
        source("s3://bucket/model", tags=[{"key": "k", "value": "v" * 100_001}]),
        source("s3://bucket/model", run_id=5),
        source("s3://bucket/" + "x" * 500, only, run_id=""),
        ("GET model-versions/get", {"name": "{reg}"}),
        ("GET model-versions/get", version(version="one")),
        ("GET model-versions/get", version(version="9" * 30), only),
        ("PATCH model-versions/update", version(version="1.5")),
        ("DELETE model-versions/delete", version(version="one")),
        ("GET model-versions/get-download-uri", {"name": "{reg}"}),
        ("POST model-versions/transition-stage", version()),
        ("POST model-versions/transition-stage", version(stage="Nonsense")),
        ("POST model-versions/transition-stage", version(stage="Staging", archive_existing_versions="x")),
        (
            "POST model-versions/transition-stage",
            version(stage="Archived", archive_existing_versions=True),
            only,
        ),
        ("POST model-versions/set-tag", version(value="v")),
        ("POST model-versions/set-tag", version(key="a$", value="v")),
        ("POST model-versions/set-tag", version(version="one", key="k", value="v")),
        ("DELETE model-versions/delete-tag", version()),
        ("POST model-versions/create", {"name": "a/b", "source": "s3://bucket/model"}),
    ],
    ABSENT: [
        ("POST model-versions/create", {"name": "{free}", "source": "s3://bucket/model"}),
        source("s3://bucket/model", model_id="m-nothing"),
        ("GET model-versions/get", version(version="7777")),
        ("GET model-versions/get", version(version="-1")),
        ("GET model-versions/get", version(version="{deleted}")),
        ("GET model-versions/get", {"name": "{free}", "version": "1"}),
        ("PATCH model-versions/update", version(version="7777")),
        ("DELETE model-versions/delete", version(version="7777")),
        ("GET model-versions/get-download-uri", version(version="{deleted}")),
        ("POST model-versions/transition-stage", version(version="7777", stage="Staging")),
        ("POST model-versions/set-tag", version(version="7777", key="k", value="v")),
        ("DELETE model-versions/delete-tag", version(version="{deleted}", key="k")),
        source("models:/{free}/1"),
        source("models:/{reg}/7777"),
        source("models:/{empty}@latest"),
        source("models:/m-nothing", only, model_id="m-nothing"),
        source("models:/{empty}/latest", only),
    ],
}

SOURCES = {
    INVALID: [
        *[
            source(uri)
            for uri in (
                "/etc/passwd",
                "file:///etc/passwd",
                "relative/path",
                "{run_root}/model",
                "mlflow-artifacts:/",
                "mlflow-artifacts:/9/9/artifacts/model",
                "runs:/{run}/model",
                "models:/{model}",
                "models:/{reg}/1/MLmodel",
                "models:/{prompt}/1",
                "models://host/{reg}/1",
                "models:/",
                "s3://bucket",
                "s3://bucket/a/../b",
                "s3://bucket/a/%2e%2e/b",
                "s3://bucket/a/%252e%252e/b",
                "s3://bucket/a/./b",
                "s3://bucket/a%00",
                "mlflow-artifacts:/../x",
                *(f"{scheme}://elsewhere/x" for scheme in ("ftp", "sftp", "hdfs", "http", "https")),
                "mlflow-artifacts://elsewhere/x",
                "http://elsewhere/api/2.0/mlflow-artifacts/artifacts/1",
            )
        ],
        source("/etc/passwd", run_id="{run}"),
        source("/etc/passwd", model_id="{model}"),
        source("{run_root}/model", run_id="{absent}"),
        source("{run_root}/../../other", run_id="{run}"),
        source("{run_root}/%2e%2e/x", run_id="{run}"),
        source("{run_root}s/model", run_id="{run}"),
        source("{run_root}/model", model_id="{model}"),
        source("runs:/{run}/model", run_id="{absent}"),
        source("runs:/{run}/model", model_id="{model}"),
        source("models:/{model}", model_id="m-nothing"),
        source("models:/{reg}/1", run_id="{run}"),
        source("models:/{reg}/1", model_id="{model}"),
        source("s3://user:password@bucket/x", only),
        source("s3://bucket/x", tags=[{"key": "mlflow.prompt.is_prompt", "value": "true"}]),
    ],
}

SEARCHED = {
    INVALID: [
        (f"GET {what}/search", body, *marks)
        for what in ("registered-models", "model-versions")
        for body, *marks in (
            ({"max_results": 200_001},),
            ({"max_results": "many"},),
            ({"max_results": 0}, only),
            ({"max_results": -1}, only),
            ({"filter": "name"},),
            ({"filter": "name = 'a' OR name = 'b'"},),
            ({"filter": "name > 'a'"},),
            ({"filter": "tags.a IN ('b')"},),
            ({"filter": "nonsense = 'a'"},),
            ({"order_by": "nonsense"},),
            ({"order_by": "name SIDEWAYS"},),
            ({"page_token": "?"},),
        )
    ]
    + [("GET registered-models/search", {"max_results": 1001})],
}

ACCEPTED = [
    source("s3://bucket/model"),
    source("s3://bucket/a b/50%/x", run_id="{absent}"),
    source("dbfs:/model"),
    source("{run_root}/model", run_id="{run}"),
    source("{run_root}", run_id="{run}"),
    source("{model_root}", model_id="{model}"),
    source("{model_root}/x", model_id="{model}", run_id="{run}"),
    source("runs:/{run}/model", run_id="{run}"),
    source("models:/{model}", model_id="{model}"),
    source("models:/{reg}/1"),
    source("models:/{reg}/1", run_id=""),
    source("models:/{reg}/None"),
    source("models:/{reg}/latest"),
    source("models:/{reg}@first"),
    source("s3://bucket/model", nonsense={"a": [1]}),
    ("POST registered-models/set-tag", {"name": "{reg}", "key": "without value"}),
    ("DELETE registered-models/delete-tag", {"name": "{reg}", "key": "nothing"}),
    ("DELETE registered-models/alias", {"name": "{reg}", "alias": "nothing"}),
    ("DELETE model-versions/delete-tag", version(key="nothing")),
    ("PATCH registered-models/update", {"name": "{reg}"}),
    ("PATCH model-versions/update", version()),
    ("GET registered-models/search", {"max_results": 1000, "filter": "name = '{reg}'"}),
    ("GET model-versions/search", {"max_results": 200_000, "filter": "name = '{reg}'"}),
    ("GET model-versions/search", {"order_by": ["name", "version_number DESC"], "filter": "name = '{reg}'"}),
    ("GET registered-models/get-latest-versions", {"name": "{empty}"}),
    ("POST model-versions/transition-stage", version(stage="none")),
]
