"""Artifacts of a run or a model by plain HTTP: get-artifact, upload-artifact, artifacts/list."""

from __future__ import annotations

import pytest

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


# -- of a version -----------------------------------------------------------------------------------------


@pytest.fixture
def version(wire, api, run_id, unique):
    """A function: the name of a registered model with one version of that source, `{root}` its run's."""
    upload(wire, run_id, "m/MLmodel", b"flavors:")

    def make(source):
        root = api.ok("GET", "runs/get", run_id=run_id)["run"]["info"]["artifact_uri"]
        fields = {"name": unique, "run_id": run_id, "source": source.format(root=root, run=run_id)}
        api.ok("POST", "registered-models/create", {"name": unique})
        api.ok("POST", "model-versions/create", fields)
        return unique

    return make


@pytest.mark.parametrize("source", ["{root}/m", pytest.param("runs:/{run}/m", marks=pytest.mark.shoso_only)])
def test_a_file_of_a_version(wire, version, source):
    name = version(source)
    at = f"/model-versions/get-artifact?name={name}&version=1&path="
    reply = wire.send("GET", at + "MLmodel")
    assert (reply.status, reply.body) == (200, b"flavors:")
    assert reply.headers["content-disposition"].startswith("attachment")
    assert wire.send("GET", at + "MLmodel", headers={"Range": "bytes=1-2"}).body == b"la"
    assert wire.send("GET", at + "absent").status == 404
    assert wire.send("GET", at + "../x").status == 400
    assert wire.send("GET", at.replace("version=1", "version=2") + "MLmodel").status == 404
    assert wire.send("GET", at).status == 400


@pytest.mark.shoso_only
def test_a_version_whose_source_lies_elsewhere_has_no_file_here(wire, version):
    at = f"/model-versions/get-artifact?name={version('s3://bucket/m')}&version=1&path=x"
    assert wire.send("GET", at).status == 403


def test_a_file_of_a_version_needs_its_name(wire):
    assert wire.send("GET", "/model-versions/get-artifact?version=1&path=x").status == 400
