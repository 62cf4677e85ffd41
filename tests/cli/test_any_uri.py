"""A copy goes from any URI to any URI: this machine, a run on a server, a bucket."""

from __future__ import annotations

import random

import pytest
from tests.cli.trees import files, tree
from tests.servers import radosgw

TREE = {"a/large.bin": random.Random(5).randbytes(9_000_000), "a/b/small.txt": b"small", "top.txt": b""}
PLACES = ["local", "run", "bucket"]


@pytest.fixture
def shoso(shoso):
    """With the credentials of the bucket, as a user has them."""
    shoso.environment |= radosgw.environment()
    return shoso


@pytest.fixture
def places(run_id, tmp_path):
    """A folder's URI in each of the places, by the word for it."""
    bucket = radosgw.bucket()

    def place(kind: str, name: str) -> str:
        return {
            "local": str(tmp_path / name),
            "run": f"runs:/{run_id}/{name}",
            "bucket": f"s3://{bucket}/some/{name}",
        }[kind]

    return place


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("destination", PLACES)
def test_a_folder_arrives_to_the_byte(shoso, places, tmp_path, source, destination):
    origin = tree(tmp_path / "origin", TREE)
    here, there = places(source, "from"), places(destination, "to")
    shoso("artifacts", "cp", "-r", origin, here)
    assert shoso.json("artifacts", "cp", "-r", here, there)["copied"] == 3
    assert set(shoso("artifacts", "ls", "-r", there).split()) == set(TREE)
    assert shoso.json("artifacts", "verify", there, "--against", origin)["verified"] == 3
    again = shoso.json("artifacts", "cp", "-r", here, there)
    assert (again["copied"], again["skipped"]) == (0, 3)
    shoso("artifacts", "rm", "-r", there)
    assert "nothing at" in shoso.error("artifacts", "ls", there)


def test_an_artifact_of_a_bucket_is_read_by_its_owners_credentials(shoso, places, tmp_path):
    uri = places("bucket", "x")
    shoso("artifacts", "put", tree(tmp_path / "data", TREE), uri)
    assert shoso("artifacts", "cat", f"{uri}/a/b/small.txt") == "small"
    shoso("artifacts", "get", f"{uri}/a", tmp_path / "back")
    assert files(tmp_path / "back") == {"large.bin": TREE["a/large.bin"], "b/small.txt": b"small"}
    del shoso.environment["AWS_SECRET_ACCESS_KEY"]
    said = shoso.error("artifacts", "cat", f"{uri}/a/b/small.txt")
    assert radosgw.SECRET_KEY not in said


def test_a_bucket_is_a_root(shoso, places):
    bucket = places("bucket", "x").split("/some/")[0]
    assert shoso("artifacts", "ls", bucket) == ""
    assert "root" in shoso.error("artifacts", "rm", "-r", bucket)


def test_a_storage_without_a_server_needs_none(shoso, places, tmp_path):
    del shoso.environment["MLFLOW_TRACKING_URI"]
    uri = places("bucket", "x")
    shoso("artifacts", "put", tree(tmp_path / "data", TREE), uri)
    assert shoso.json("artifacts", "cp", "-r", uri, tmp_path / "back")["copied"] == 3
    assert "MLFLOW_TRACKING_URI" in shoso.error("artifacts", "ls", "runs:/some/where")


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("zip:///x/y", "zip:"),
        ("run:/x/y", "runs:"),
        ("s3:///x", "s3:"),
        ("runs:/", "runs:/"),
        ("models:/", "models:/"),
    ],
)
def test_a_uri_that_names_no_place_is_one_sentence(shoso, uri, word):
    assert word in shoso.error("artifacts", "ls", uri)


@pytest.mark.parametrize("command", [["ls"], ["cp", "-r", "."], ["verify"], ["rm", "--yes"]])
def test_a_password_in_a_uri_is_shown_nowhere(shoso, command):
    done = shoso.result("artifacts", *command, "ftp://somebody:hunter2@127.0.0.1:9/x/y", code=1)
    assert "127.0.0.1" in done.stderr
    assert "hunter2" not in done.output
