"""A folder of 10,000 files, for MLflow's client; it goes there by Shoso's, which is quicker."""

from __future__ import annotations

from pathlib import Path

import pytest

import shoso

pytestmark = [pytest.mark.large, pytest.mark.timeout(900)]

FILES = 10_000


@pytest.fixture
def _retries(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def folder(tmp_path) -> Path:
    """10,000 files of a few bytes in a folder; beside it a tree of 1,100 in two hundred."""
    for name in [f"flat/{i:05}" for i in range(FILES)] + [f"tree/{i % 200}/{i:05}" for i in range(1_100)]:
        path = tmp_path / "many" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "many"


@pytest.mark.usefixtures("_retries")
def test_a_folder_of_10000_files_is_listed_whole_and_comes_back(client, server, run_id, folder, tmp_path):
    """A tree of 1,100 by MLflow's client, who asks for each; all by Shoso's."""
    ours = shoso.Client(server.uri)
    ours.log_artifacts(run_id, folder)
    assert [info.path for info in client.list_artifacts(run_id, "flat")] == [
        f"flat/{i:05}.txt" for i in range(FILES)
    ]
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    theirs = client.download_artifacts(run_id, "tree", str(tmp_path / "theirs"))
    assert texts(Path(theirs)) == texts(folder / "tree")
    got = texts(Path(ours.download_artifacts(run_id, "", str(tmp_path / "ours"))))
    assert got == texts(folder)
    assert len(got) == FILES + 1_100


def texts(folder: Path) -> dict[Path, str]:
    """What is in it, by its path there."""
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.txt")}
