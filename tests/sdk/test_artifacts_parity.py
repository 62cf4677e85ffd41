"""`shoso.artifacts` and MLflow's, asked for the same: the same files at the same places, the same errors."""

from __future__ import annotations

import io
import warnings

import pytest
from PIL import Image

import shoso
from shoso.errors import ShosoError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    from mlflow.exceptions import MlflowException


@pytest.fixture(scope="module")
def run(shoso_server):
    """A run with artifacts of several kinds."""
    client = shoso.Client(shoso_server.uri)
    run = client.create_run("0")
    run_id = run.info.run_id
    for name in ("a.txt", "x/y/b.txt"):
        client.log_text(run_id, f"text of {name}", name)
    client.log_dict(run_id, {"a": [1, None]}, "x/c.json")
    client.log_text(run_id, "[1, NaN]", "list.json")
    client.log_text(run_id, "{", "bad.json")
    client.log_image(run_id, Image.new("RGB", (2, 3), (1, 2, 3)), "i.png")
    client.log_stream(run_id, io.BytesIO(b"\xff\xfe"), "bytes.bin")
    return run


@pytest.fixture(autouse=True)
def _both(shoso_server, monkeypatch):
    monkeypatch.setenv("SHOSO_MLFLOW_PLUGIN", "off")  # MLflow as it is without us
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    shoso.set_tracking_uri(shoso_server.uri)
    mlflow.set_tracking_uri(shoso_server.uri)
    yield
    mlflow.set_tracking_uri(None)


def outcome(library, function: str, arguments: dict[str, str], run, folder):
    """What a call returns, less the folder, and the files that are there then; or the error's code."""
    folder.mkdir()
    words = {"id": run.info.run_id, "run": f"runs:/{run.info.run_id}", "to": str(folder)}
    given = {name: value.format(**words) for name, value in arguments.items()}
    try:
        returned = getattr(library.artifacts, function)(**given)
    except (ShosoError, MlflowException) as error:
        return error.error_code
    if function == "download_artifacts":
        returned = returned.replace(str(folder), "<to>")
    if function == "load_image":
        returned = type(returned), returned.mode, returned.tobytes()
    return repr(returned), {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}


DOWNLOADS = (
    {"artifact_uri": "{run}/a.txt", "dst_path": "{to}"},
    {"artifact_uri": "{run}/x/y/b.txt", "dst_path": "{to}"},
    {"artifact_uri": "{run}/x", "dst_path": "{to}"},
    {"artifact_uri": "{run}/x/", "dst_path": "{to}"},
    {"artifact_uri": "{run}/", "dst_path": "{to}"},
    {"artifact_uri": "{run}/a.txt", "dst_path": "{to}/new/er"},
    {"run_id": "{id}", "dst_path": "{to}"},
    {"run_id": "{id}", "artifact_path": "x/y/b.txt", "dst_path": "{to}"},
    {"run_id": "{id}", "artifact_path": "x/", "dst_path": "{to}"},
    {"artifact_uri": "{run}/nothing", "dst_path": "{to}"},
    {"run_id": "f" * 32, "dst_path": "{to}"},
    {"artifact_uri": "{run}/a.txt", "run_id": "{id}"},
    {"artifact_uri": "{run}/x", "artifact_path": "a.txt"},
    {"artifact_path": "a.txt"},
    {},
)
LOADS = {"load_text": "a.txt", "load_dict": "x/c.json", "load_image": "i.png"}
CALLS = [
    *(("download_artifacts", each) for each in DOWNLOADS),
    *((name, {"artifact_uri": f"{{run}}/{path}"}) for name, path in LOADS.items()),
    *((name, {"artifact_uri": "{run}/nothing"}) for name in LOADS),
    ("load_dict", {"artifact_uri": "{run}/list.json"}),
]


@pytest.mark.parametrize(("function", "arguments"), CALLS)
def test_the_outcome_is_the_same(run, tmp_path, function, arguments):
    theirs = outcome(mlflow, function, arguments, run, tmp_path / "mlflow")
    assert outcome(shoso, function, arguments, run, tmp_path / "shoso") == theirs


@pytest.mark.parametrize("name", ["load_text", "load_dict", "load_image"])
def test_what_is_no_such_thing_is_refused(run, tmp_path, name):
    """MLflow calls it a BAD_REQUEST; ours is the code of every other argument that doesn't fit."""
    bad = {"load_text": "bytes.bin", "load_dict": "bad.json", "load_image": "a.txt"}[name]
    given = name, {"artifact_uri": f"{{run}}/{bad}"}, run
    assert outcome(mlflow, *given, tmp_path / "mlflow") == "BAD_REQUEST"
    assert outcome(shoso, *given, tmp_path / "shoso") == "INVALID_PARAMETER_VALUE"


def test_an_error_says_what_was_asked_for(run):
    with pytest.raises(FileNotFoundError, match=rf"no artifact at 'runs:/{run.info.run_id}/no/thing'"):
        shoso.artifacts.load_text(f"runs:/{run.info.run_id}/no/thing")
    with pytest.raises(FileNotFoundError, match=rf"no artifact at 'runs:/{run.info.run_id}/nothing'"):
        shoso.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="nothing")


def test_a_text_has_the_line_ends_that_it_was_logged_with(run, shoso_server):
    shoso.Client().log_text(run.info.run_id, "one\r\ntwo", "lines.txt")
    assert shoso.artifacts.load_text(f"runs:/{run.info.run_id}/lines.txt") == "one\r\ntwo"
    assert mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/lines.txt") == "one\ntwo"
