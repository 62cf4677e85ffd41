"""Copies of a client heed MLflow's variables of sizes, by their direction."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoso.client.policy import policy
from shoso.client.settings import client_settings
from shoso.stores.folder import open_folder
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy

SIZES = {
    "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "11",
    "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": "7",
    "MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE": "13",
    "MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE": "5",
}


@pytest.fixture
async def folder(tmp_path):
    store = open_folder(tmp_path)
    yield store
    await store.close()


async def test_an_upload_and_a_download_have_their_own_sizes(folder):
    settings = client_settings(SIZES)
    upload, download = policy(settings, folder), policy(settings, MemoryStore())
    assert (upload.parts_from, upload.part_size) == (11, 7)
    assert (download.parts_from, download.part_size) == (13, 5)


async def test_without_them_they_are_those_of_the_engine(folder):
    chosen = policy(client_settings({"SHOSO_STATE": "/some/where"}), folder, dry_run=True)
    assert (chosen.parts_from, chosen.part_size) == (Policy().parts_from, Policy().part_size)
    assert (chosen.journal, chosen.dry_run) == (Path("/some/where"), True)
