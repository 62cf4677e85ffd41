"""Artifact locations that point elsewhere: recorded as they are, and never opened by the server."""

from __future__ import annotations

import os

import pytest
from tests.server.sockets import API, ask, get, post, put, require_refusal
from tests.server.trees import changes, snapshot


@pytest.fixture(scope="module")
def server(launch, tmp_path_factory):
    """A server with a default root outside its destination, and a canary beside both."""
    root = tmp_path_factory.mktemp("roots") / "root"
    server = launch("--default-artifact-root", str(root))
    server.root = root
    server.canary = server.folder / "canary"
    server.canary.mkdir()
    (server.canary / "secret").write_text("secret")
    return server


class Of:
    """A run and a logged model of an experiment at a location."""

    def __init__(self, server, name: str, location: str) -> None:
        self.server = server
        fields = {"name": name, "artifact_location": location}
        self.experiment = post(server, "experiments/create", fields).json["experiment_id"]
        run = post(server, "runs/create", {"experiment_id": self.experiment}).json["run"]["info"]
        model = post(server, "logged-models", {"experiment_id": self.experiment, "name": "m"}).json["model"][
            "info"
        ]
        self.run, self.uri = run["run_id"], run["artifact_uri"]
        self.model, self.model_uri = model["model_id"], model["artifact_uri"]

    def ask_all(self, path: str):
        """The answer of every route that opens a location."""
        models = f"/ajax-api/2.0/mlflow/logged-models/{self.model}/artifacts"
        yield get(self.server, f"{API}/artifacts/list?run_id={self.run}&path={path}")
        yield get(self.server, f"/get-artifact?run_id={self.run}&path={path}")
        yield ask(self.server, "HEAD", f"/get-artifact?run_id={self.run}&path={path}")
        upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={self.run}&path={path}"
        yield ask(self.server, "POST", upload, b"evil")
        yield get(self.server, f"{models}/directories?artifact_directory_path={path}")
        yield get(self.server, f"{models}/files?artifact_file_path={path}")


ELSEWHERE = {
    "the whole disk": "file:///",
    "another folder, as a URI": "file:///etc",
    "another folder, as a path": "/etc",
    "the canary": "{canary}",
    "the canary, through the root": "{root}/../../{folder}/canary",
    "the canary, as a URI through the destination": "file://{artifacts}/../canary",
    "the canary, by encodings": "file://{artifacts}/%2e%2e/canary",
    "a name that starts like the root": "{root}-other",
    "the folder above": "{folder}",
    "a bucket": "s3://bucket/x",
    "another bucket": "gs://bucket/x",
    "a blob": "wasbs://c@a.blob.core.windows.net/x",
    "no scheme anybody knows": "gopher://host/x",
    "a database": "dbfs:/x",
    "a path of Windows": "C:\\x",
    "a host's folder": "file://host/etc",
}


@pytest.mark.parametrize("location", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_location_elsewhere_is_recorded_and_never_opened(server, unique, location):
    depth = {"canary": server.canary, "root": server.root, "folder": server.folder.relative_to("/")}
    location = location.format(artifacts=server.artifacts, **depth)
    before = snapshot(server.canary, server.root, server.artifacts)
    of = Of(server, unique, location)
    assert get(server, f"{API}/experiments/get?experiment_id={of.experiment}").json["experiment"][
        "artifact_location"
    ] in {location, f"{server.folder}/{location}"}
    for answer in of.ask_all("secret"):
        assert answer.status == 403, answer
        if answer.body:
            require_refusal(answer, 403, "PERMISSION_DENIED", "--artifacts-destination", "client")
            assert "secret" not in answer.json["message"]
    assert not changes(before, snapshot(server.canary, server.root, server.artifacts))


INSIDE = [
    "{root}/mine",
    "file://{root}/mine",
    "{artifacts}/mine",
    "mlflow-artifacts:/mine",
    "{root}/a/../mine",
]
INSIDE += ["file://{root}/m%69ne", "file:{root}/mine", "{root}//mine/"]


@pytest.mark.parametrize("location", INSIDE)
def test_a_location_below_a_root_is_served(server, unique, location):
    of = Of(server, unique, location.format(root=server.root, artifacts=server.artifacts))
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={of.run}&path=a/b.txt"
    assert ask(server, "POST", upload, b"mine").status == 200
    assert get(server, f"/get-artifact?run_id={of.run}&path=a/b.txt").body == b"mine"
    listed = get(server, f"{API}/artifacts/list?run_id={of.run}&path=a").json["files"]
    assert listed == [{"path": "a/b.txt", "is_dir": False, "file_size": 4}]
    folder = server.artifacts if "artifacts" in location else server.root
    [file] = folder.rglob(f"mine/{of.run}/artifacts/a/b.txt")
    assert file.read_bytes() == b"mine"


def test_a_run_without_a_location_lives_below_the_default_root(server, unique):
    experiment = post(server, "experiments/create", {"name": unique}).json["experiment_id"]
    run = post(server, "runs/create", {"experiment_id": experiment}).json["run"]["info"]
    assert run["artifact_uri"] == f"{server.root}/{experiment}/{run['run_id']}/artifacts"


@pytest.mark.parametrize("location", ["mine", "./mine/too", "../canary", "file:mine"])
def test_a_relative_location_is_made_absolute_on_the_server(server, unique, location):
    of = Of(server, unique, location)
    recorded = get(server, f"{API}/experiments/get?experiment_id={of.experiment}").json["experiment"]
    path = recorded["artifact_location"].removeprefix("file://")
    assert os.path.normpath(path) == os.path.normpath(server.folder / location.removeprefix("file:"))
    for answer in of.ask_all("secret"):
        assert answer.status == 403


REFUSED = [
    "http://host/x",
    "https://host/x",
    "HTTP://host/x",
    " http://host/x",
    "ht\ntp://host/x",
    "ftp://host/x",
    "sftp://user:password@host/x",
    "hdfs://host/x",
    "viewfs://host/x",
    "abfss://c@host/x",
    "r2://host/x",
    "b2://host/x",
    "mlflow-artifacts://host:5000/x",
    "mlflow-artifacts://evil.example/x",
    "runs:/0123/x",
    "s3://bucket/x#fragment",
    "s3://bucket/x;parameter",
    "s3://bucket/x?a=../b",
    "s3://bucket/x?..",
    "http://[::1",
    "s3://[x",
]


@pytest.mark.parametrize("location", REFUSED)
def test_a_location_that_names_a_host_or_climbs_is_refused(server, unique, location):
    answer = post(server, "experiments/create", {"name": unique, "artifact_location": location})
    require_refusal(answer, 400, "INVALID_PARAMETER_VALUE", "artifact_location")
    assert get(server, f"{API}/experiments/get-by-name?experiment_name={unique}").status == 404


def test_a_location_that_tricks_the_proxy_stays_in_the_destination(server, unique):
    for number, trick in enumerate(["mlflow-artifacts:/../canary", "mlflow-artifacts:/a/../../canary"]):
        of = Of(server, f"{unique}-{number}", trick)
        for answer in of.ask_all("secret"):
            assert 400 <= answer.status < 500


def test_an_encoded_location_is_decoded_as_the_clients_request_is(server, unique):
    of = Of(server, unique, f"mlflow-artifacts:/{unique}%20b")
    assert put(server, f"{unique}%20b/{of.run}/artifacts/a", b"x").status == 200
    assert get(server, f"/get-artifact?run_id={of.run}&path=a").body == b"x"


def test_what_is_uploaded_to_a_run_is_where_the_proxy_shows_it(server, unique):
    of = Of(server, unique, f"mlflow-artifacts:/{unique}")
    assert put(server, f"{unique}/{of.run}/artifacts/a", b"x").status == 200
    assert get(server, f"/get-artifact?run_id={of.run}&path=a").body == b"x"
