"""What the fluent API logs as artifacts, and reads back: dictionaries, text, figures, tables, images."""

from __future__ import annotations

import io
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts, load_dict, load_image, load_text
from PIL import Image


@pytest.fixture
def run(experiment):
    with mlflow.start_run(experiment_id=experiment) as run:
        yield run


@pytest.fixture
def root(run):
    return run.info.artifact_uri


def paths(client, run, folder="") -> list[str]:
    return [info.path for info in client.list_artifacts(run.info.run_id, folder)]


def test_log_text(root):
    mlflow.log_text("正倉院\r\né\u0301", "notes/a.txt")
    assert load_text(f"{root}/notes/a.txt") == "正倉院\r\né\u0301".replace("\r\n", "\n")


def test_log_dict_as_json_and_yaml(root):
    value = {"a": [1, 2.5, None], "名": {"b": True}}
    mlflow.log_dict(value, "a.json")
    mlflow.log_dict(value, "deep/er/a.yml")
    assert load_dict(f"{root}/a.json") == value
    assert mlflow.artifacts.load_text(f"{root}/deep/er/a.yml").startswith("a:")


def test_log_figure(root):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    mlflow.log_figure(figure, "plots/a.png")
    assert load_image(f"{root}/plots/a.png").format == "PNG"


def test_log_image(root):
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    mlflow.log_image(pixels, "images/a.png")
    assert (np.asarray(load_image(f"{root}/images/a.png")) == pixels).all()


def test_log_image_by_key_and_step(client, run):
    for step in (1, 2):
        mlflow.log_image(Image.new("RGB", (4, 4), "red"), key="dog", step=step)
    mlflow.flush_artifact_async_logging()
    names = paths(client, run, "images")
    assert sum(name.endswith(".png") for name in names) == 2
    assert sum(name.endswith(".webp") for name in names) == 2
    assert client.get_run(run.info.run_id).data.tags["mlflow.loggedImages"] == "True"


def test_log_table_appends_and_is_found(client, run):
    mlflow.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.json")
    mlflow.log_table(pd.DataFrame({"x": [3], "y": ["正"]}), "t.json")
    frame = mlflow.load_table("t.json", run_ids=[run.info.run_id])
    assert frame.to_dict("list") == {"x": [1, 2, 3], "y": ["a", "b", "正"]}
    tag = client.get_run(run.info.run_id).data.tags["mlflow.loggedArtifacts"]
    assert json.loads(tag) == [{"path": "t.json", "type": "table"}]


def test_load_table_of_an_experiment(run):
    mlflow.log_table({"x": [1]}, "t.json")
    frame = mlflow.load_table("t.json", extra_columns=["run_id"])
    assert frame.to_dict("list") == {"x": [1], "run_id": [run.info.run_id]}


@pytest.mark.since_3
def test_log_stream(root):
    mlflow.log_stream(io.BytesIO(b"\x00\xff" * 1000), "raw/a.bin")
    assert Path(download_artifacts(f"{root}/raw/a.bin")).read_bytes() == b"\x00\xff" * 1000


def test_get_artifact_uri_names_the_file(run):
    mlflow.log_text("x", "a.txt")
    uri = mlflow.get_artifact_uri("a.txt")
    assert uri == f"{run.info.artifact_uri}/a.txt"
    assert load_text(uri) == "x"
