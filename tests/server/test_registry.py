"""What a server's settings, and its roots, say about the sources of model versions."""

from __future__ import annotations

import json

import pytest
from tests.server.sockets import ask, post, require_refusal


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory):
    """A server with a pattern for sources, and a root of its own on this machine."""
    root = tmp_path_factory.mktemp("root")
    server = launch("--model-version-source", "^(s3://ours/|/)", "--default-artifact-root", str(root))
    post(server, "registered-models/create", {"name": "m"})
    return server


def made(server, source: str, **fields: str):
    return post(server, "model-versions/create", {"name": "m", "source": source, **fields})


def test_only_sources_that_match_are_taken(server):
    assert made(server, "s3://ours/model").status == 200
    for source in ("s3://theirs/model", "x/s3://ours/model"):
        require_refusal(made(server, source), 400, "INVALID_PARAMETER_VALUE", "--model-version-source")


def test_an_import_brings_only_sources_that_match(server):
    versions = [
        {"version": 7, "source": "s3://ours/model"},
        {"version": 8, "current_stage": "Deleted_Internal"},
    ]
    ours = {"name": "ours", "versions": versions}
    theirs = {"name": "theirs", "versions": [{"version": 1, "source": "s3://theirs/model"}]}
    body = json.dumps({"registered_models": [ours, theirs]}).encode()
    reply = ask(server, "POST", "/api/shoso/1/imports", body, content_type="application/json").json
    assert reply["versions"] == 2
    [refused] = reply["refused"]
    assert refused["what"] == "registered model theirs"
    assert "--model-version-source" in refused["message"]


def test_a_path_is_taken_below_the_artifacts_of_its_run_only(server, run):
    root, mine = run["artifact_uri"], {"run_id": run["run_id"]}
    assert root.startswith("/")
    assert made(server, f"{root}/model", **mine).status == 200
    assert made(server, f"{root}/a/../model", **mine).status == 200
    for source in (f"{root}/../x", f"{root}s/model", root.rpartition("/")[0], "/", "/etc/passwd"):
        require_refusal(made(server, source, **mine), 400, "INVALID_PARAMETER_VALUE", "run_id")
    require_refusal(made(server, f"{root}/model"), 400, "INVALID_PARAMETER_VALUE", "run_id")
