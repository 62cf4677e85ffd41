"""Artifacts through the server by MLflow's client: what went in comes out, whatever it is called."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path

import mlflow
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

NAMES = [
    "two words.txt",
    "正倉院.parquet",
    unicodedata.normalize("NFC", "é.txt"),
    unicodedata.normalize("NFD", "é.txt"),
    "😀.bin",
    "100% sure",
    "a+b",
    "a&b=c",
    "it's.txt",
    '"quoted".txt',
    ".hidden",
    "..two dots",
    "-rf",
    "--help",
    "~tilde",
    "semi;colon:at@x,y!$*()[]{}|^`<>",
    "x" * 255,
    "no_extension",
    "a.tar.gz",
    "CON",
]

# MLflow's client refuses "..two dots" as a folder, and puts "it's" unescaped into a search.
FOLDERS = [name for name in NAMES if name not in {"..two dots", "it's.txt"}]


def tree(folder: Path) -> dict[str, bytes]:
    """Relative path → bytes of every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def listed(client, run_id, path=None) -> list[tuple[str, bool, int | None]]:
    found = client.list_artifacts(run_id, path)
    return [(info.path, info.is_dir, None if info.is_dir else info.file_size or 0) for info in found]


@pytest.fixture
def store(client, run_id):
    """The artifact repository of the run, as the client makes it."""
    return get_artifact_repository(client.get_run(run_id).info.artifact_uri)


@pytest.fixture
def out(tmp_path):
    """An empty local folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def write(tmp_path):
    """Make a local file; its path."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_of_any_name_comes_back(client, run_id, write, out, name):
    content = name.encode() * 3
    client.log_artifact(run_id, write(name, content))
    assert listed(client, run_id) == [(name, False, len(content))]
    got = client.download_artifacts(run_id, name, out)
    assert Path(got).read_bytes() == content


@pytest.mark.parametrize("name", FOLDERS, ids=ascii)
def test_a_folder_of_any_name_comes_back(client, run_id, write, out, name):
    client.log_artifact(run_id, write("file", b"x"), artifact_path=name)
    assert listed(client, run_id) == [(name, True, None)]
    assert listed(client, run_id, name) == [(f"{name}/file", False, 1)]
    assert tree(Path(client.download_artifacts(run_id, "", out))) == {f"{name}/file": b"x"}


def test_names_that_differ_only_in_unicode_form_are_two(client, run_id, write, out):
    for form in ("NFC", "NFD"):
        client.log_artifact(run_id, write(unicodedata.normalize(form, "é"), form.encode()))
    assert tree(Path(client.download_artifacts(run_id, "", out))) == {
        unicodedata.normalize("NFC", "é"): b"NFC",
        unicodedata.normalize("NFD", "é"): b"NFD",
    }


def test_names_that_differ_only_in_case_are_two(client, run_id, write):
    client.log_artifact(run_id, write("upper/A", b"A"))
    client.log_artifact(run_id, write("lower/a", b"a"))
    assert [path for path, *_ in listed(client, run_id)] == ["A", "a"]


def test_an_empty_file_comes_back(client, run_id, write, out):
    client.log_artifact(run_id, write("empty", b""))
    assert listed(client, run_id) == [("empty", False, 0)]
    assert Path(client.download_artifacts(run_id, "empty", out)).read_bytes() == b""


def test_a_file_of_many_parts_comes_back(client, run_id, write, out):
    content = os.urandom(1 << 20) * 24 + b"end"
    client.log_artifact(run_id, write("24 MiB", content))
    got = Path(client.download_artifacts(run_id, "24 MiB", out)).read_bytes()
    assert hashlib.sha256(got).digest() == hashlib.sha256(content).digest()


@pytest.fixture
def nested(write) -> Path:
    """A local folder with files on four levels."""
    for name in ("a.txt", "b/a.txt", "b/b b/c.bin", "b/c/d/e/正.txt", ".hidden/x", "empty.txt"):
        root = write(f"tree/{name}", b"" if name == "empty.txt" else name.encode())
    return next(parent for parent in root.parents if parent.name == "tree")


def test_a_nested_folder_comes_back(client, run_id, nested, out):
    client.log_artifacts(run_id, nested, "models/v 1")
    got = client.download_artifacts(run_id, "models/v 1", out)
    assert tree(Path(got)) == tree(nested)


def test_a_nested_folder_at_the_root_comes_back(client, run_id, nested):
    client.log_artifacts(run_id, nested)
    got = download_artifacts(run_id=run_id, artifact_path="")
    assert tree(Path(got)) == tree(nested)


def test_part_of_a_folder_comes_back(client, run_id, nested):
    client.log_artifacts(run_id, nested)
    got = download_artifacts(run_id=run_id, artifact_path="b/c")
    assert tree(Path(got)) == {"d/e/正.txt": "b/c/d/e/正.txt".encode()}


def test_a_list_is_one_level_sorted_with_sizes(client, run_id, nested):
    client.log_artifacts(run_id, nested)
    expected = [(".hidden", True, None), ("a.txt", False, 5), ("b", True, None), ("empty.txt", False, 0)]
    assert listed(client, run_id) == expected
    assert listed(client, run_id, "b") == [("b/a.txt", False, 7), ("b/b b", True, None), ("b/c", True, None)]


@pytest.mark.parametrize("path", ["nothing", "a.txt/nothing", "a.txt"])
def test_a_list_of_what_is_no_folder_is_empty(client, run_id, write, path):
    client.log_artifact(run_id, write("a.txt", b"x"))
    assert listed(client, run_id, path) == []


def test_a_run_without_artifacts_lists_none(client, run_id):
    assert listed(client, run_id) == []


def test_a_second_upload_replaces_the_first(client, run_id, write, out):
    client.log_artifact(run_id, write("a", b"a long first one"))
    client.log_artifact(run_id, write("a", b"second"))
    assert listed(client, run_id) == [("a", False, 6)]
    assert Path(client.download_artifacts(run_id, "a", out)).read_bytes() == b"second"


def test_every_form_of_uri_finds_the_file(client, run_id, write):
    client.log_artifact(run_id, write("f/a.txt", b"x"), "f")
    root = client.get_run(run_id).info.artifact_uri
    for uri in (f"runs:/{run_id}/f/a.txt", f"{root}/f/a.txt"):
        assert Path(download_artifacts(uri)).read_bytes() == b"x"
    names = [info.path for info in mlflow.artifacts.list_artifacts(f"runs:/{run_id}/f")]
    assert names == ["f/a.txt"]


def test_a_file_that_is_not_there_fails_at_once(client, run_id, monkeypatch):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    with pytest.raises((MlflowException, OSError)):
        client.download_artifacts(run_id, "nothing/here.txt")


def test_artifacts_of_a_deleted_run_are_still_there(client, run_id, write):
    client.log_artifact(run_id, write("a", b"x"))
    client.delete_run(run_id)
    assert listed(client, run_id) == [("a", False, 1)]


def test_delete_takes_one_file(client, run_id, write, store):
    for name in ("a", "ab"):
        client.log_artifact(run_id, write(name, b"x"))
    store.delete_artifacts("a")
    assert listed(client, run_id) == [("ab", False, 1)]


def test_delete_takes_a_folder_and_nothing_beside_it(client, run_id, nested, store):
    client.log_artifacts(run_id, nested)
    store.delete_artifacts("b/c")
    assert [path for path, *_ in listed(client, run_id, "b")] == ["b/a.txt", "b/b b"]
    store.delete_artifacts("b")
    assert [path for path, *_ in listed(client, run_id)] == [".hidden", "a.txt", "empty.txt"]


def test_delete_of_all_artifacts_of_a_run_leaves_other_runs_alone(client, run_id, experiment, write, store):
    other = client.create_run(experiment).info.run_id
    for one in (run_id, other):
        client.log_artifact(one, write("a", b"x"))
    store.delete_artifacts()
    assert listed(client, run_id) == []
    assert listed(client, other) == [("a", False, 1)]


def test_delete_of_nothing_is_fine(store):
    store.delete_artifacts("nothing")
