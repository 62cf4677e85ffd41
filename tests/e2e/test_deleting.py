"""Deleting and restoring: what is deleted stays readable and comes back; single artifacts go, and only they.

Through the server to a folder, and straight to S3: MLflow's client, Shoso's own, and the command line.
"""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from tests.e2e.storages import fresh

import shoso
from shoso.cli import main
from shoso.errors import Kind, ShosoError

pytestmark = [pytest.mark.shoso_only, pytest.mark.since_3]

FILES = {"a.txt": b"a", "sub/b.bin": b"b" * 5000, "sub/deep/c.txt": b"c", "sub.txt": b"", "subway/d": b"d"}


@pytest.fixture(scope="module", params=["served", "direct"])
def way(request):
    """Flags and variables of a server, and of those who go around it."""
    if request.param == "served":
        return (), {}
    target = fresh("s3")
    return ("--no-serve-artifacts", "--default-artifact-root", target.uri), dict(target.environment)


@pytest.fixture(scope="module")
def server(launch, way):
    return launch(*way[0], env=way[1])


@pytest.fixture(autouse=True)
def _credentials(way, monkeypatch, tmp_path):
    for name, value in way[1].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHOSO_STATE", str(tmp_path / "state"))


@pytest.fixture
def folder(tmp_path):
    for path, data in FILES.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_bytes(data)
    return tmp_path / "in"


@pytest.fixture
def ours(server):
    return shoso.Client(server.uri)


def tree(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def line(*arguments, code=0) -> str:
    """`shoso …`."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output


def seen(run_id, client, folder) -> list[dict[str, bytes]]:
    """What each client fetches of a run, once it has listed it."""
    assert {info.path for info in client.list_artifacts(run_id)} == {"a.txt", "sub", "sub.txt", "subway"}
    fetched = []
    for name in ("theirs", "ours", "line"):
        (folder / name).mkdir(parents=True)
        if name == "theirs":
            client.download_artifacts(run_id, "", str(folder / name))
        elif name == "ours":
            shoso.artifacts.download_artifacts(run_id=run_id, dst_path=folder / name)
        else:
            line("artifacts", "get", f"runs:/{run_id}", folder / name)
        fetched.append(tree(folder / name))
    return fetched


def test_what_is_deleted_stays_readable_and_is_restored_with_its_artifacts(
    client, ours, experiment, folder, tmp_path
):
    run_id = client.create_run(experiment).info.run_id
    client.log_artifacts(run_id, str(folder))
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert seen(run_id, client, tmp_path / "run") == [FILES] * 3
    client.restore_run(run_id)
    assert seen(run_id, client, tmp_path / "restored") == [FILES] * 3
    client.delete_experiment(experiment)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    assert seen(run_id, client, tmp_path / "experiment") == [FILES] * 3
    client.restore_experiment(experiment)
    assert client.get_run(run_id).info.lifecycle_stage == "active"
    assert tree(ours.download_artifacts(run_id, "sub")) == {"b.bin": b"b" * 5000, "deep/c.txt": b"c"}


def test_a_deleted_model_is_found_read_and_restored(client, ours, experiment, folder, tmp_path, server):
    model = client.create_logged_model(experiment, "m").model_id
    client.log_model_artifacts(model, str(folder))
    line("models", "delete", model)
    with pytest.raises(mlflow.MlflowException, match="not found"):
        client.get_logged_model(model)
    assert tree(shoso.artifacts.download_artifacts(f"models:/{model}", tracking_uri=server.uri)) == FILES
    assert model in line("models", "list", "-x", experiment, "-v", "deleted_only")
    assert model not in line("models", "list", "-x", experiment)
    ours.restore_logged_model(model)
    assert client.get_logged_model(model).name == "m"
    client.delete_experiment(experiment)
    client.delete_logged_model(model)
    assert f"shoso experiments restore {experiment}" in line("models", "restore", model)
    assert client.get_logged_model(model).model_id == model


def test_single_artifacts_and_folders_go_and_nothing_else(client, ours, experiment, folder, tmp_path):
    run_id, other = (client.create_run(experiment).info.run_id for _ in range(2))
    model = client.create_logged_model(experiment, "m").model_id
    for each in (run_id, other):
        client.log_artifacts(each, str(folder))
    client.log_model_artifacts(model, str(folder))
    left = dict(FILES)

    def gone(*paths):
        for path in paths:
            del left[path]
        fetched = shoso.artifacts.download_artifacts(run_id=run_id, dst_path=tmp_path / str(len(left)))
        assert tree(fetched) == left

    assert ours.delete_artifacts(run_id, "sub") == 2
    gone("sub/b.bin", "sub/deep/c.txt")
    assert ours.delete_artifacts(run_id, "a.txt") == 1
    gone("a.txt")
    assert "Deleted 1 artifact" in line("artifacts", "rm", f"runs:/{run_id}/sub.txt")
    gone("sub.txt")
    assert ours.delete_logged_model_artifacts(model, "subway") == 1
    assert "subway/d" not in tree(shoso.artifacts.download_artifacts(f"models:/{model}"))
    for kind, path in ((Kind.NOT_FOUND, "sub"), (Kind.NOT_FOUND, "su"), (Kind.INVALID, "")):
        with pytest.raises(ShosoError) as raised:
            ours.delete_artifacts(run_id, path)
        assert raised.value.kind is kind
    gone()
    assert tree(ours.download_artifacts(other, "")) == FILES
