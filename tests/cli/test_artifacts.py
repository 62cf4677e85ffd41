"""`shoso artifacts`: what it says it did is what is there."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest
from tests.cli.trees import damage, files, tree

from shoso.cli.shapes import SHAPES
from shoso.core.digest import digest

TREE = {"weights.bin": random.Random(1).randbytes(400_000), "logs/a.log": b"a\n", "logs/deep/b.txt": b"b"}


@pytest.fixture
def folder(tmp_path):
    """A folder of this machine with TREE in it."""
    return tree(tmp_path / "data", TREE)


@pytest.fixture
def stored(shoso, run_id, folder):
    """The URI of a run's folder with TREE in it."""
    uri = f"runs:/{run_id}/data"
    shoso("artifacts", "put", folder, uri)
    return uri


# -- put, get, cp -----------------------------------------------------------------------------------------


def test_a_folder_goes_there_and_back(shoso, stored, tmp_path):
    assert "Copied 3 artifacts" in shoso("artifacts", "get", stored, tmp_path / "back")
    assert files(tmp_path / "back") == TREE


def test_what_is_there_isnt_sent_again(shoso, stored, folder):
    again = shoso.json("artifacts", "put", folder, stored)
    assert (again["copied"], again["skipped"], again["bytes"]) == (0, 3, 0)
    (folder / "logs" / "a.log").write_text("other\n")
    again = shoso.json("artifacts", "put", folder, stored)
    assert (again["copied"], again["skipped"], again["bytes"]) == (1, 2, 6)
    assert shoso("artifacts", "cat", f"{stored}/logs/a.log") == "other\n"


def test_what_is_there_is_sent_again_by_force(shoso, stored, server, run_id, tmp_path):
    """A byte has changed in the copy, unseen: as far as a copy knows, there is nothing to send."""
    other = stored.replace("/data", "/other")
    command = ("cp", "-r", stored, other)
    shoso("artifacts", *command)
    damage(server.artifacts, run_id, "other", "weights.bin")
    assert shoso.json("artifacts", *command)["skipped"] == 3
    assert set(shoso("artifacts", *command, "--force", "--dry-run").split()) >= set(TREE)
    assert "1 wrong" in shoso("artifacts", "verify", other, "--against", stored, code=1)
    assert shoso.json("artifacts", *command, "--force")["copied"] == 3
    assert "3 artifacts verified" in shoso("artifacts", "verify", other, "--against", stored)


def test_what_has_changed_on_this_machine_is_fetched_again_and_all_of_it_by_force(shoso, stored, tmp_path):
    """The file system tells when a file was changed, also where its time was set back."""
    command = ("get", stored, tmp_path / "back")
    shoso("artifacts", *command)
    damage(tmp_path, "back", "weights.bin")
    assert shoso.json("artifacts", *command)["copied"] == 1
    assert files(tmp_path / "back") == TREE
    assert shoso.json("artifacts", *command, "--force")["copied"] == 3


@pytest.mark.parametrize(
    ("end", "path"),
    [("", "weights.bin"), ("/models/", "models/weights.bin"), ("/model.bin", "model.bin")],
)
def test_a_file_becomes_what_the_uri_names_or_goes_into_it(shoso, run_id, folder, end, path):
    shoso("artifacts", "put", folder / "weights.bin", f"runs:/{run_id}{end}")
    assert shoso("artifacts", "ls", "-r", f"runs:/{run_id}").split() == [path]


def test_a_file_goes_into_a_folder_that_is_there(shoso, stored, tmp_path):
    (tmp_path / "new.txt").write_text("new")
    shoso("artifacts", "put", tmp_path / "new.txt", f"{stored}/logs")
    assert shoso("artifacts", "cat", f"{stored}/logs/new.txt") == "new"
    (tmp_path / "here").mkdir()
    shoso("artifacts", "get", f"{stored}/logs/new.txt", tmp_path / "here")
    assert files(tmp_path / "here") == {"new.txt": b"new"}


def test_put_takes_the_run_as_mlflow_does(shoso, run_id, folder):
    shoso("artifacts", "put", folder / "logs" / "a.log", "--run-id", run_id, "--artifact-path", "notes")
    shoso("artifacts", "put", folder / "logs", "--run-id", run_id)
    assert set(shoso("artifacts", "ls", "-r", f"runs:/{run_id}").split()) == {
        "notes/a.log",
        "a.log",
        "deep/b.txt",
    }


def test_get_without_a_path_keeps_the_name(shoso, stored, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shoso("artifacts", "get", f"{stored}/weights.bin")
    shoso("artifacts", "get", f"{stored}/logs/")
    assert (tmp_path / "weights.bin").read_bytes() == TREE["weights.bin"]
    assert files(tmp_path / "logs") == {"a.log": b"a\n", "deep/b.txt": b"b"}


def test_a_path_is_a_path_whatever_is_in_its_name(shoso, run_id, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "s3:not a uri#1%20.txt"
    Path(name).write_text("x")
    shoso("artifacts", "put", name, f"runs:/{run_id}/odd/")
    shoso("artifacts", "get", f"runs:/{run_id}/odd/{name}", "gs:here")
    assert Path("gs:here").read_text() == "x"


def test_copying_a_folder_takes_r(shoso, stored, run_id):
    assert "-r" in shoso.error("artifacts", "cp", stored, f"runs:/{run_id}/other")
    shoso("artifacts", "cp", "-r", stored, f"runs:/{run_id}/other")
    assert shoso("artifacts", "ls", "-r", f"runs:/{run_id}/other") == shoso("artifacts", "ls", "-r", stored)


def test_only_what_is_selected_is_copied(shoso, stored, tmp_path):
    shoso("artifacts", "get", stored, tmp_path / "a", "--include", "*.log", "--include", "*.txt")
    shoso("artifacts", "get", stored, tmp_path / "b", "--exclude", "logs/deep")
    assert set(files(tmp_path / "a")) == {"logs/a.log", "logs/deep/b.txt"}
    assert set(files(tmp_path / "b")) == {"weights.bin", "logs/a.log"}


def test_what_fails_is_named_and_the_rest_arrives(shoso, run_id, folder):
    (folder / "nowhere").symlink_to("absent")
    done = shoso.result("artifacts", "put", folder, f"runs:/{run_id}/x", "--json", code=1)
    assert "nowhere" in done.stderr
    report = json.loads(done.stdout)
    assert (report["copied"], report["failed"]) == (3, 1)
    assert [(failure["path"], failure["kind"]) for failure in report["failures"]] == [
        ("nowhere", "not_found")
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("put {file}", "--run-id"),
        ("put {file} runs:/x --run-id x", "--run-id"),
        ("put {file} runs:/x/y --artifact-path z", "--artifact-path"),
        ("get runs:/", "Say where to"),
    ],
)
def test_what_cant_be_meant_is_a_usage_error(shoso, folder, arguments, words):
    said = shoso.error("artifacts", *arguments.format(file=folder / "weights.bin").split(), code=2)
    assert words in said


@pytest.mark.parametrize("command", ["get", "ls", "cat", "rm", "verify"])
def test_nothing_at_a_uri_is_said_by_its_name(shoso, stored, command):
    assert f"{stored}/absent" in shoso.error("artifacts", command, f"{stored}/absent")


def test_a_run_that_isnt_there_is_named(shoso, folder):
    assert "absent" in shoso.error("artifacts", "put", folder, "runs:/absent/x")
    assert "absent" in shoso.error("artifacts", "ls", "runs:/absent")


# -- ls, cat ----------------------------------------------------------------------------------------------


def test_a_folder_is_listed(shoso, stored, run_id):
    assert set(shoso("artifacts", "ls", stored).split()) == {"logs/", "weights.bin"}
    assert set(shoso("artifacts", "ls", "-r", stored).split()) == set(TREE)
    assert shoso("artifacts", "ls", "-r", stored, "--include", "*.txt").split() == ["logs/deep/b.txt"]
    assert shoso("artifacts", "ls", f"{stored}/weights.bin").split() == ["weights.bin"]
    [line] = [line for line in shoso("artifacts", "ls", "-l", stored).splitlines() if "weights" in line]
    assert line.split()[:2] == ["391", "KiB"]


def test_the_json_of_a_listing_has_size_and_digest(shoso, stored):
    found = {entry["path"]: entry for entry in shoso.json("artifacts", "ls", "-r", stored)}
    assert {path: entry["size"] for path, entry in found.items()} == {
        p: len(data) for p, data in TREE.items()
    }
    entry = found["weights.bin"]
    assert entry["type"] == "file"
    assert entry["digest"] in {None, digest(TREE["weights.bin"])}
    assert entry["modified"].endswith("Z")


def test_a_run_without_artifacts_has_an_empty_listing(shoso, run_id):
    assert shoso("artifacts", "ls", f"runs:/{run_id}") == ""
    assert shoso.json("artifacts", "ls", f"runs:/{run_id}") == []


def test_artifacts_are_written_to_standard_output_to_the_byte(shoso, stored):
    done = shoso.result("artifacts", "cat", f"{stored}/weights.bin", f"{stored}/logs/a.log")
    assert done.stdout_bytes == TREE["weights.bin"] + TREE["logs/a.log"]


# -- rm ---------------------------------------------------------------------------------------------------


def test_an_artifact_and_a_folder_are_deleted(shoso, stored, run_id):
    shoso("artifacts", "rm", f"{stored}/weights.bin")
    assert set(shoso("artifacts", "ls", "-r", stored).split()) == set(TREE) - {"weights.bin"}
    assert "-r" in shoso.error("artifacts", "rm", stored)
    assert "Deleted 2 artifacts" in shoso("artifacts", "rm", "-r", stored)
    assert shoso("artifacts", "ls", f"runs:/{run_id}") == ""


@pytest.mark.parametrize("uri", ["runs:/{}", "runs:/{}/", "mlflow-artifacts:/"])
def test_a_root_isnt_deleted(shoso, stored, run_id, uri):
    assert "root" in shoso.error("artifacts", "rm", "-r", uri.format(run_id))
    assert set(shoso("artifacts", "ls", "-r", stored).split()) == set(TREE)


def test_what_is_in_a_root_is_deleted_when_it_is_named(shoso, stored, run_id):
    shoso("artifacts", "rm", "-r", f"runs:/{run_id}", "--include", "*.log")
    assert set(shoso("artifacts", "ls", "-r", stored).split()) == set(TREE) - {"logs/a.log"}


# -- verify -----------------------------------------------------------------------------------------------


def test_what_is_right_is_verified(shoso, stored, folder):
    assert "3 artifacts verified" in shoso("artifacts", "verify", stored)
    assert "3 artifacts verified" in shoso("artifacts", "verify", stored, "--against", folder)
    assert shoso.json("artifacts", "verify", f"{stored}/weights.bin")["verified"] == 1


def test_a_byte_that_changed_on_the_servers_disk_is_found(shoso, server, stored, run_id, folder):
    damage(server.artifacts, run_id, "weights.bin")
    found = shoso.result("artifacts", "verify", stored, "--json", code=1)
    report = json.loads(found.stdout)
    assert (report["verified"], report["failed"]) == (2, 1)
    assert [(each["path"], each["kind"]) for each in report["failures"]] == [("weights.bin", "corrupt")]
    assert "1 of 3" in found.stderr
    assert "1 wrong" in shoso("artifacts", "verify", stored, "--against", folder, code=1)
    assert shoso.result("artifacts", "cat", f"{stored}/weights.bin", code=1).stderr.startswith("Error: ")


def test_a_folder_that_differs_is_told_apart(shoso, stored, folder):
    (folder / "weights.bin").write_bytes(b"other")
    (folder / "more.txt").write_bytes(b"more")
    (folder / "logs" / "a.log").unlink()
    report = shoso.json("artifacts", "verify", stored, "--against", folder, code=1)
    assert {each["path"]: each["kind"] for each in report["failures"]} == {
        "weights.bin": "corrupt",
        "more.txt": "not_found",
        "logs/a.log": "not_found",
    }
    assert report["verified"] == 1


def test_a_file_is_compared_with_a_file_or_with_the_one_in_a_folder(shoso, stored, folder):
    for copy in (folder / "weights.bin", folder):
        assert shoso.json("artifacts", "verify", f"{stored}/weights.bin", "--against", copy)["verified"] == 1


def test_where_no_digest_is_kept_nothing_is_verified(shoso, folder):
    assert "--against" in shoso.result("artifacts", "verify", folder, code=1).stderr
    assert "3 without a digest" in shoso("artifacts", "verify", folder, "--allow-unrecorded")


# -- a dry run --------------------------------------------------------------------------------------------


def test_a_dry_run_says_what_it_would_do_and_does_nothing(shoso, server, stored, folder, tmp_path):
    (folder / "more.txt").write_text("more")
    before = snapshot(server.artifacts), snapshot(tmp_path)
    said = shoso("artifacts", "put", folder, stored, "--dry-run")
    assert "more.txt (4 B)" in said
    assert "weights.bin" not in said
    assert "Would copy 1 artifact" in said
    assert set(shoso("artifacts", "get", stored, tmp_path / "new", "--dry-run").split()) >= set(TREE)
    assert set(shoso("artifacts", "rm", "-r", stored, "--dry-run").split()) >= set(TREE)
    report = shoso.json("artifacts", "rm", "-r", f"{stored}/logs", "--dry-run")
    assert report["objects"] == [{"path": "a.log", "size": 2}, {"path": "deep/b.txt", "size": 1}]
    assert (snapshot(server.artifacts), snapshot(tmp_path)) == before


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder; a journal isn't of interest."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if "state" not in path.parts
    }


# -- json -------------------------------------------------------------------------------------------------


def test_the_json_is_of_the_documented_shape(shoso, stored, folder, tmp_path):
    def shaped(command: str, *arguments: object) -> None:
        found = shoso.json("artifacts", command, *arguments)
        shape = SHAPES["artifacts", command]
        assert msgspec.to_builtins(msgspec.convert(found, shape)) == found

    shaped("put", folder, stored)
    shaped("get", stored, tmp_path / "back")
    shaped("cp", "-r", stored, f"{stored}-2")
    shaped("ls", "-r", stored)
    shaped("verify", stored)
    shaped("rm", "-r", stored)


def test_a_name_that_would_steer_a_terminal_is_shown_without_that(shoso, run_id, tmp_path):
    name, uri = "\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe", f"runs:/{run_id}/data"
    folder = tree(tmp_path / "data", {name: b"."})
    assert shoso("artifacts", "put", folder, uri, "--dry-run").startswith(
        "\N{REPLACEMENT CHARACTER}gnp.exe ("
    )
    shoso("artifacts", "put", folder, uri)
    assert shoso("artifacts", "ls", uri) == "\N{REPLACEMENT CHARACTER}gnp.exe\n"
    assert [entry["path"] for entry in shoso.json("artifacts", "ls", uri)] == [name]
    assert "\N{REPLACEMENT CHARACTER}" in shoso.result("artifacts", "cat", f"{uri}/{name}x", code=1).stderr
