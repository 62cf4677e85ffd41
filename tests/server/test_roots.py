"""Which roots a server takes, and what it opens below them."""

from __future__ import annotations

import json
import re

import pytest
from tests.e2e.servers import Server, free_port, refusal
from tests.server.sockets import API, ask, get, post, require_refusal

SHARED = "--shared-filesystem"
NOT_WRITTEN = r"--artifacts-destination: the test object 'shoso-probe-\w+/object' couldn't be written: "


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory):
    """A server that may open two folders besides its own."""
    allowed = tmp_path_factory.mktemp("allowed")
    server = launch("--allow-artifact-root", f"{allowed}/a,file://{allowed}/b")
    server.allowed = allowed
    return server


def _run(server: Server, name: str, location: str) -> str:
    fields = {"name": name, "artifact_location": location}
    experiment = post(server, "experiments/create", fields).json["experiment_id"]
    return post(server, "runs/create", {"experiment_id": experiment}).json["run"]["info"]["run_id"]


@pytest.mark.parametrize("location", ["{}/a/mine", "file://{}/a/mine", "{}/b", "file://{}/b/c/d"])
def test_a_location_below_an_allowed_root_is_opened(server, unique, location):
    run = _run(server, unique, location.format(server.allowed))
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=a.txt"
    assert ask(server, "POST", upload, b"mine").status == 200
    assert get(server, f"/get-artifact?run_id={run}&path=a.txt").body == b"mine"


@pytest.mark.parametrize("location", ["{}", "{}/c", "{}/ab", "{}/a/../c"])
def test_a_location_beside_an_allowed_root_is_not(server, unique, location):
    run = _run(server, unique, location.format(server.allowed))
    answer = get(server, f"/get-artifact?run_id={run}&path=a.txt")
    require_refusal(answer, 403, "PERMISSION_DENIED", "--allow-artifact-root")


@pytest.mark.parametrize("scheme", ["sftp", "ftp", "s3"])
def test_a_location_with_a_password_is_refused_and_not_kept(server, unique, scheme):
    location = f"{scheme}://user:hunter2@host/x"
    answer = post(server, "experiments/create", {"name": unique, "artifact_location": location})
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "password", "database")
    assert "hunter2" not in answer.json["message"]
    assert b"hunter2" not in (server.folder / "tracking.db").read_bytes()
    assert "hunter2" not in server.log()


def test_a_location_on_a_host_names_the_setting(server, unique):
    fields = {"name": unique, "artifact_location": "sftp://host/x"}
    answer = post(server, "experiments/create", fields)
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "sftp:", "--allow-artifact-root")


# -- what a server refuses to start with -------------------------------------------------------------------


def test_a_default_root_with_a_password_is_refused(tmp_path):
    said = refusal(tmp_path, "--default-artifact-root", "sftp://user:hunter2@host/x")
    assert "--default-artifact-root" in said
    assert "password" in said
    assert "hunter2" not in said


def test_a_destination_that_cant_be_used_is_named_without_its_password(tmp_path):
    for uri in ("gopher://user:hunter2@host/x", "http://user:hunter2@127.0.0.1:9/x", "file://u:hunter2@h/x"):
        said = refusal(tmp_path, "--artifacts-destination", uri)
        assert "--artifacts-destination" in said
        assert "hunter2" not in said


@pytest.mark.parametrize("flags", [["--default-artifact-root", "/mnt/x"], ["--no-serve-artifacts"]], ids=str)
def test_a_root_of_this_machine_is_refused_where_others_are_served(tmp_path, flags):
    said = refusal(tmp_path, "--host", "0.0.0.0", *flags)
    assert "--default-artifact-root" in said
    assert SHARED in said


def test_a_root_that_every_machine_mounts_is_taken_when_told_so(launch, tmp_path):
    launch("--default-artifact-root", str(tmp_path), SHARED, "--host", "0.0.0.0", "--allowed-hosts", "*")


def test_a_root_inside_the_s3_endpoint_is_refused(tmp_path):
    flags = ("--default-artifact-root", "http://minio:9000/bucket")
    said = refusal(tmp_path, *flags, MLFLOW_S3_ENDPOINT_URL="http://minio:9000")
    assert "MLFLOW_S3_ENDPOINT_URL" in said
    assert "s3://bucket/path" in said


@pytest.mark.parametrize("endpoint", ["http://minio:9000/bucket", "https://bucket.minio:9000/"])
def test_an_s3_endpoint_with_the_bucket_in_it_is_refused(tmp_path, endpoint):
    said = refusal(tmp_path, "--default-artifact-root", "s3://bucket/path", MLFLOW_S3_ENDPOINT_URL=endpoint)
    assert "MLFLOW_S3_ENDPOINT_URL" in said
    assert "--default-artifact-root" in said


def test_an_allowed_root_is_a_storage(tmp_path):
    said = refusal(tmp_path, "--allow-artifact-root", "http://user:hunter2@other:5000")
    assert "--allow-artifact-root" in said
    assert "hunter2" not in said


def test_a_default_root_with_a_token_is_refused(tmp_path):
    for root in ("gs://bucket/x?sig=hunter2", "wasbs://c@a.blob.core.windows.net/x#hunter2"):
        said = refusal(tmp_path, "--default-artifact-root", root)
        assert "--default-artifact-root" in said
        assert "query" in said
        assert "hunter2" not in said


def test_direct_transfers_to_nobody_knows_where_are_refused(tmp_path):
    said = refusal(tmp_path, "--direct-transfers")
    assert "--direct-transfers" in said
    assert "--public-endpoint-url" in said


# -- the destination, tried out ----------------------------------------------------------------------------


def test_a_destination_that_isnt_there_is_told_at_the_start(tmp_path):
    said = refusal(tmp_path, "--artifacts-destination", f"http://127.0.0.1:{free_port()}")
    assert re.search(
        r"--artifacts-destination: the test object 'shoso-probe-\w+/object' couldn't be written: ", said
    )


def test_a_destination_that_takes_nothing_is_told_at_the_start(tmp_path, launch):
    closed = launch("--no-serve-artifacts")
    said = refusal(tmp_path, "--artifacts-destination", closed.uri)
    assert re.search(
        r"--artifacts-destination: the test object 'shoso-probe-\w+/object' couldn't be written: ", said
    )
    assert "--no-serve-artifacts" in said


def test_the_trial_leaves_nothing_behind(launch):
    server = launch()
    assert [path.name for path in server.artifacts.iterdir()] == [".shoso"]
    assert json.loads(get(server, "/api/2.0/mlflow-artifacts/artifacts").body) == {}
    assert get(server, f"{API}/experiments/get?experiment_id=0").status == 200
