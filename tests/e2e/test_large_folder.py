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
    """10,000 files of a few bytes in a folder, and one in each of a hundred folders."""
    for i in range(FILES + 100):
        path = tmp_path / "many" / ("flat" if i < FILES else f"{i}") / f"{i:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(i))
    return tmp_path / "many"


@pytest.mark.usefixtures("_retries")
def test_a_folder_of_10000_files_is_listed_whole_and_comes_back(client, server, run_id, folder, tmp_path):
    shoso.Client(server.uri).log_artifacts(run_id, folder)
    assert [info.path for info in client.list_artifacts(run_id, "flat")] == [
        f"flat/{i:05}.txt" for i in range(FILES)
    ]
    (tmp_path / "out").mkdir()
    got = Path(client.download_artifacts(run_id, "", tmp_path / "out"))
    texts = {path.relative_to(got): path.read_text() for path in got.rglob("*.txt")}
    assert texts == {path.relative_to(folder): path.read_text() for path in folder.rglob("*.txt")}
    assert len(texts) == FILES + 100
