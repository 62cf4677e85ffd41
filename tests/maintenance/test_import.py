"""`shoso import`: what MLflow wrote to a file store is what MLflow's client reads from Shoso."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.e2e.servers import free_port
from tests.maintenance.conftest import INSTALLED, WRITER, written
from tests.maintenance.filestore_writer import seen
from tests.servers import mlflowd, radosgw, warm

from shoso.cli import main
from shoso.client.places import Places
from shoso.client.settings import client_settings
from shoso.maintenance.artifacts import Artifacts, Source

pytestmark = pytest.mark.timeout(600)  # the first run installs old versions of MLflow

PARTS = ("experiments", "runs", "registered", "versions", "champion", "models")


def read(uri):
    """What the installed MLflow's client sees at a server, as JSON has it."""
    from mlflow.tracking import MlflowClient

    return json.loads(json.dumps(seen(MlflowClient(uri))))


def without_default(found):
    """The Default experiment is the target's own: its place and times are not the store's."""
    return {number: one for number, one in found["experiments"].items() if number != "0"}


def same(there, store):
    """The client sees there what the MLflow that wrote the store saw.

    But for one thing: MLflow's reader passes over the step of a point that names a dataset, which is kept.
    """
    store = json.loads(json.dumps(store).replace('{"acc": [[10, 0, ', '{"acc": [[10, 1, '))
    for part in store:
        if part == "experiments":
            assert without_default(there) == without_default(store)
        else:
            assert there[part] == store[part], part
    assert set(store) >= {"experiments", "runs"}


@pytest.mark.parametrize("version", [INSTALLED, "2.9.2", "1.30.1"])
def test_what_a_real_mlflow_wrote_is_read_from_the_server(tmp_path, launch, bring, version):
    store = written(version, tmp_path / "mlruns")
    server = launch()
    done = bring(store.folder, server.uri)
    assert (done.code, done.out["problems"]) == (0, [])
    same(read(server.uri), store.seen)
    assert done.out["counts"]["runs"] == len(store.seen["runs"]) >= 6


def stays(uri):
    """How many runs and models have their artifacts where they were, as gc is told."""
    query = "SELECT kind, count(*) FROM shoso_imported GROUP BY kind"
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as database:
        return dict(database.execute(query).fetchall())


def test_a_database_gets_the_same(template, launch, bring, tmp_path):
    uri = f"sqlite:///{tmp_path}/made.db"
    done = bring(template.folder, uri)
    assert (done.code, done.out["problems"]) == (0, [])
    server = launch("--backend-store-uri", uri)
    same(read(server.uri), template.seen)
    assert set(template.seen) == set(PARTS)
    assert stays(uri) == {"run": len(template.seen["runs"]), "model": done.out["counts"]["models"]}


def test_mlflow_itself_reads_the_database(template, bring, tmp_path):
    """Every row is as MLflow keeps it: its own store opens the database, and sees the same."""
    bring(template.folder, f"sqlite:///{tmp_path}/made.db")
    said = warm.printed(str(WRITER), f"sqlite:///{tmp_path}/made.db")
    same(json.loads(said.splitlines()[-1]), template.seen)


TABLES = [
    *("experiments", "experiment_tags", "runs", "params", "tags", "metrics", "latest_metrics", "datasets"),
    *("logged_models", "logged_model_metrics", "logged_model_params", "logged_model_tags"),
    *("registered_models", "registered_model_tags", "registered_model_aliases"),
    *("model_versions", "model_version_tags"),
]


def rows(path):
    """All rows of the tables that an import fills, without ids that are made up."""
    made_up = {"input_uuid", "dataset_uuid", "last_update_time"}
    with sqlite3.connect(path) as conn:
        found = {}
        for table in TABLES:
            names = [row[1] for row in conn.execute(f"PRAGMA table_info({table})")]
            kept = ", ".join(f'"{name}"' for name in names if name not in made_up)
            found[table] = Counter(conn.execute(f"SELECT {kept} FROM {table}"))
        edges = conn.execute("SELECT source_type, destination_type, step FROM inputs")
        found["inputs"] = Counter(edges)
    return found


def test_the_rows_are_those_of_mlflows_own_migration(mlruns, bring, tmp_path):
    """Of a store without points that are there twice, on which MLflow's ends; Default is the target's own."""
    ours, theirs = tmp_path / "ours.db", tmp_path / "theirs.db"
    [twice] = [path for path in mlruns.glob("*/*/metrics/one") if path.is_file()]
    twice.write_text("".join(dict.fromkeys(twice.read_text().splitlines(keepends=True))))
    bring(mlruns, f"sqlite:///{ours}")
    warm.printed(
        "-m", "mlflow", "migrate-filestore", "--source", str(mlruns), "--target", f"sqlite:///{theirs}"
    )
    mine, other = rows(ours), rows(theirs)
    for table in mine:
        if table != "experiments":
            assert mine[table] == other[table], table


@pytest.mark.parametrize("artifacts", ["stay", "copy"])
def test_importing_again_changes_nothing(template, launch, bring, artifacts):
    server = launch()
    first = bring(template.folder, server.uri, "--artifacts", artifacts)
    database = server.folder / "tracking.db"
    before = rows(database)
    again = bring(template.folder, server.uri, "--artifacts", artifacts)
    assert rows(database) == before
    assert first.code == again.code == 0
    counts = again.out["counts"]
    assert counts["there"] == first.out["counts"]["runs"] + first.out["counts"]["models"]
    assert {name: value for name, value in counts.items() if value and name != "there"} == {}


def test_a_dry_run_writes_nothing_and_counts_the_same(template, launch, bring, tmp_path):
    server = launch()
    before = rows(server.folder / "tracking.db")
    told = bring(template.folder, server.uri, "--dry-run").out
    assert rows(server.folder / "tracking.db") == before
    bare = bring(template.folder, f"sqlite:///{tmp_path}/none.db", "--dry-run").out
    assert not (tmp_path / "none.db").exists()
    done = bring(template.folder, server.uri).out
    assert told["counts"] | {"experiments": 0} == done["counts"] | {"experiments": 0}
    assert bare["counts"] == told["counts"]
    assert bring(template.folder, server.uri, "--dry-run").out["counts"]["runs"] == 0


def test_a_store_of_many_is_brought_whole_though_it_was_killed_on_the_way(tmp_path, launch, bring):
    """Killed at any moment, the same command goes on, and nothing is there twice."""
    mlruns, server = tmp_path / "many", launch()
    many(mlruns, 600)
    command = [str(Path(sys.executable).with_name("shoso")), "import", str(mlruns), "--to", server.uri]
    for seconds in (0.7, 0.9, 1.1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = bring(mlruns, server.uri)
    assert done.code == 0, done.out
    found = rows(server.folder / "tracking.db")
    assert sum(found["runs"].values()) == 600
    assert sum(found["metrics"].values()) == 600 * 50
    assert max(found["metrics"].values()) == 1
    assert not [tag for tag in found["tags"] if "shoso.importing" in tag]


def many(mlruns, count, points=50):
    """A file store as MLflow would write it, faster."""
    folder = mlruns / "1"
    folder.mkdir(parents=True)
    (folder / "meta.yaml").write_text(
        f"artifact_location: file://{folder}\nexperiment_id: '1'\nlifecycle_stage: active\nname: many\n"
    )
    for number in range(count):
        run = folder / f"{number:032x}"
        (run / "metrics").mkdir(parents=True)
        (run / "tags").mkdir()
        (run / "meta.yaml").write_text(
            f"artifact_uri: file://{run}/artifacts\nend_time: null\nexperiment_id: '1'\n"
            "lifecycle_stage: active\n"
            f"run_id: {run.name!r}\nrun_name: r\nstart_time: 5\nstatus: 3\nuser_id: me\n"
        )
        lines = "".join(f"{step} {step * number / 7} {step}\n" for step in range(points))
        (run / "metrics" / "m").write_text(lines)


def test_a_history_of_any_length_comes_in_parts(tmp_path, launch, bring):
    mlruns, server = tmp_path / "long", launch()
    many(mlruns, 1, 70_001)
    done = bring(mlruns, server.uri)
    assert (done.code, done.out["counts"]["runs"], done.out["counts"]["points"]) == (0, 1, 70_001)
    with sqlite3.connect(server.folder / "tracking.db") as conn:
        assert conn.execute("SELECT count(*) FROM metrics").fetchone() == (70_001,)
        assert conn.execute("SELECT step FROM latest_metrics").fetchone() == (70_000,)
        assert conn.execute("SELECT count(*) FROM tags WHERE key = 'shoso.importing'").fetchone() == (0,)


def test_a_run_of_more_than_a_request_may_hold_comes_whole_in_several(tmp_path, launch, bring):
    """Its tags alone are 72 MB; a request holds 64 MiB. One that no request can hold is named, and left."""
    mlruns, server = tmp_path / "huge", launch()
    many(mlruns, 3, 2)
    huge, other, beyond = (mlruns / "1" / f"{number:032x}" for number in range(3))
    for number in range(6):
        (huge / "tags" / f"t{number}").write_text(f"{number}" * 12_000_000)
    (beyond / "tags" / "escaped").write_text("\1" * 12_000_000)
    done = bring(mlruns, server.uri)
    assert (done.code, done.out["counts"]["runs"]) == (1, 2)
    assert [(one["path"], "64 MiB" in one["message"]) for one in done.out["problems"]] == [
        (f"run {beyond.name}", True)
    ]
    with sqlite3.connect(server.folder / "tracking.db") as conn:
        kept = conn.execute("SELECT key, length(value), substr(value, 1, 1) FROM tags WHERE key LIKE 't_'")
        assert sorted(kept) == [(f"t{number}", 12_000_000, str(number)) for number in range(6)]
        assert {run_id for (run_id,) in conn.execute("SELECT run_uuid FROM runs")} == {huge.name, other.name}
        assert conn.execute("SELECT count(*) FROM tags WHERE key = 'shoso.importing'").fetchone() == (0,)


# -- what is there already --------------------------------------------------------------------------------


def test_an_experiment_goes_where_its_name_is_and_a_taken_id_to_a_new_one(tmp_path, launch, bring):
    mlruns, server = tmp_path / "mlruns", launch()
    many(mlruns, 3)
    from mlflow.tracking import MlflowClient

    client = MlflowClient(server.uri)
    assert client.create_experiment("somebody's") == "1"
    done = bring(mlruns, server.uri)
    number = client.get_experiment_by_name("many").experiment_id
    assert number != "1"
    assert done.out["moved"] == [{"name": "many", "experiment_id": 1, "new_id": int(number)}]
    assert len(client.search_runs([number])) == 3
    assert client.search_runs(["1"]) == []
    shutil.rmtree(mlruns / "1" / f"{0:032x}")
    many(tmp_path / "more", 4)
    assert bring(tmp_path / "more", server.uri).out["counts"]["runs"] == 1
    assert len(client.search_runs([number])) == 4


def test_a_run_that_went_on_since_gets_what_it_lacks(tmp_path, launch, bring):
    """Points, params, tags, artifacts and its end; what the target has of it stays."""
    from mlflow.tracking import MlflowClient

    mlruns, server = tmp_path / "mlruns", launch()
    many(mlruns, 2)
    run = mlruns / "1" / f"{0:032x}"
    meta = (run / "meta.yaml").read_text()
    (run / "meta.yaml").write_text(meta.replace("status: 3", "status: 1"))
    (run / "tags" / "note").write_text("of the store")
    (run / "artifacts").mkdir()
    (run / "artifacts" / "first").write_text("1")
    bring(mlruns, server.uri, "--artifacts", "copy")
    client = MlflowClient(server.uri)
    client.set_tag(run.name, "note", "of the target")
    client.log_metric(run.name, "own", 1.0)
    (run / "meta.yaml").write_text(meta.replace("end_time: null", "end_time: 77"))
    with (run / "metrics" / "m").open("a") as file:
        file.write("".join(f"{step} 1.5 {step}\n" for step in range(50, 60)))
    (run / "params").mkdir()
    (run / "params" / "late").write_text("p")
    (run / "tags" / "late").write_text("t")
    (run / "artifacts" / "second").write_text("2")
    again = bring(mlruns, server.uri, "--artifacts", "copy")
    assert again.code == 0, again.out
    counts = {name: value for name, value in again.out["counts"].items() if value}
    assert counts == {"there": 2, "points": 10, "params": 1, "tags": 1, "files": 1, "bytes": 1}
    there = client.get_run(run.name)
    assert (there.info.status, there.info.end_time) == ("FINISHED", 77)
    assert there.data.params == {"late": "p"}
    assert there.data.tags == {"note": "of the target", "late": "t", "mlflow.runName": "r"}
    assert there.data.metrics == {"m": 1.5, "own": 1.0}
    assert len(client.get_metric_history(run.name, "m")) == 60
    assert {file.path for file in client.list_artifacts(run.name)} == {"first", "second"}


def test_a_registered_model_that_is_there_gets_what_it_lacks(template, launch, bring):
    from mlflow.tracking import MlflowClient

    server = launch()
    client = MlflowClient(server.uri)
    client.create_registered_model("model", description="ours")
    client.create_model_version("model", "s3://bucket/x")
    done = bring(template.folder, server.uri)
    assert done.code == 1
    [problem] = done.out["problems"]
    assert (problem["path"], "Version 1 is another one" in problem["message"]) == (
        "registered model model",
        True,
    )
    assert client.get_registered_model("model").description == "ours"
    assert client.get_model_version("model", "1").source == "s3://bucket/x"
    assert client.get_model_version_by_alias("model", "champion").description == "no. 3"


# -- artifacts --------------------------------------------------------------------------------------------


def test_artifacts_are_copied_and_every_uri_leads_to_them(template, launch, bring, tmp_path):
    import mlflow
    from mlflow.tracking import MlflowClient

    server = launch()
    done = bring(template.folder, server.uri, "--artifacts", "copy")
    assert (done.code, done.out["problems"]) == (0, [])
    assert done.out["counts"]["files"] == 3
    client = MlflowClient(server.uri)
    store = template.seen
    texts = {}
    for run_id in store["runs"]:
        run = client.get_run(run_id)
        assert run.info.artifact_uri == f"mlflow-artifacts:/{run.info.experiment_id}/{run_id}/artifacts"
        folder = Path(mlflow.artifacts.download_artifacts(
            artifact_uri=run.info.artifact_uri, tracking_uri=server.uri, dst_path=str(tmp_path / run_id)
        ) if client.list_artifacts(run_id) else tmp_path / "none")  # fmt: skip
        texts |= {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.*")}
        assert "shoso.importing" not in run.data.tags
    assert texts == {"note.txt": "default's", "folder/text.txt": "text"}
    version = client.get_model_version("model", "3")
    assert version.source == f"{client.get_run(version.run_id).info.artifact_uri}/model"
    for model_id, model in read(server.uri)["models"].items():
        assert model[1] == f"mlflow-artifacts:/{model[4][3]}/models/{model_id}/artifacts"


async def test_an_object_that_has_the_name_of_a_folder_hides_nothing_in_it(tmp_path):
    """As some programs mark folders in a bucket."""
    bucket, folder = radosgw.fresh(), f"0/{'a' * 32}/artifacts"
    for key in (folder, f"{folder}/a.txt", f"{folder}/sub/b.txt"):
        bucket.put(key, b"" if key == folder else b"text")
    settings = client_settings({**bucket.environment})
    artifacts = Artifacts.of(Places(None, settings), settings, tmp_path)
    try:
        assert await artifacts.copy(Source(uri=f"{bucket.uri}/{folder}"), str(tmp_path / "to")) == (2, 8)
    finally:
        await artifacts.close()
    assert (tmp_path / "to/sub/b.txt").read_text() == "text"


def test_artifacts_go_to_a_databases_own_root(template, bring, tmp_path):
    flags = ["--artifacts", "copy", "--artifact-root", str(tmp_path / "kept")]
    done = bring(template.folder, f"sqlite:///{tmp_path}/made.db", *flags)
    assert (done.code, done.out["problems"]) == (0, [])
    assert stays(f"sqlite:///{tmp_path}/made.db") == {}
    files = {
        path.name: path.read_text() for path in (tmp_path / "kept").rglob("*.*") if ".shoso" not in path.parts
    }
    assert files == {"text.txt": "text", "note.txt": "default's"} or files.pop("MLmodel") == "flavors: {}"


def test_a_store_that_was_moved_has_its_artifacts_beside_it(template, launch, bring, tmp_path):
    shutil.copytree(template.folder, tmp_path / "away")
    moved = tmp_path / "moved"
    written(INSTALLED, tmp_path / "old").folder.rename(moved)
    server = launch()
    done = bring(moved, server.uri, "--artifacts", "copy")
    assert (done.code, done.out["counts"]["files"]) == (0, 3)


def test_an_import_whose_copy_failed_goes_on_when_it_is_made_again(mlruns, launch, bring):
    server = launch()
    [text] = mlruns.glob("*/*/artifacts/folder/text.txt")
    move_to(mlruns)
    text.chmod(0)
    unreadable = bring(mlruns, server.uri, "--artifacts", "copy")
    text.chmod(0o644)
    done = bring(mlruns, server.uri, "--artifacts", "copy")
    assert done.code == 0, done.out
    if unreadable.code:  # root may read everything
        assert unreadable.out["problems"]
    assert bring(mlruns, server.uri, "--artifacts", "copy").out["counts"]["files"] == 0


def test_nothing_of_this_machine_is_copied_that_is_not_the_stores(tmp_path, launch, bring):
    """A store may say that its artifacts are the user's keys, or have links to them."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id_rsa").write_text("private")
    mlruns, server = tmp_path / "mlruns", launch()
    many(mlruns, 3)
    named, linked, folder = (mlruns / "1" / f"{number:032x}" for number in range(3))
    said = (named / "meta.yaml").read_text()
    (named / "meta.yaml").write_text(said.replace(f"{named}/artifacts", str(secret)))
    (linked / "artifacts").mkdir()
    (linked / "artifacts" / "key").symlink_to(secret / "id_rsa")
    (linked / "artifacts" / "good").write_text("good")
    (folder / "artifacts").symlink_to(secret)
    done = bring(mlruns, server.uri, "--artifacts", "copy")
    assert (done.code, done.out["counts"]["runs"], done.out["counts"]["files"]) == (1, 3, 1)
    told = {one["path"]: one["message"] for one in done.out["problems"]}
    assert "--allow-artifact-root" in told[f"1/{named.name}/artifacts"]
    assert "link" in told[f"1/{linked.name}/artifacts/key"]
    kept = [path for path in server.artifacts.rglob("*") if path.is_file() and ".shoso" not in path.parts]
    assert [path.read_text() for path in kept] == ["good"]
    from mlflow.tracking import MlflowClient

    assert MlflowClient(server.uri).get_run(named.name).info.artifact_uri == f"file://{secret}"


def test_a_folder_beside_the_store_is_copied_when_it_is_allowed(tmp_path, launch, bring):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a").write_text("text")
    mlruns, server = tmp_path / "mlruns", launch()
    many(mlruns, 1)
    [meta] = mlruns.glob("1/*/meta.yaml")
    meta.write_text(meta.read_text().replace(f"{meta.parent}/artifacts", str(elsewhere)))
    flags = ["--artifacts", "copy", "--allow-artifact-root", str(elsewhere)]
    done = bring(mlruns, server.uri, *flags)
    assert (done.code, done.out["counts"]["files"]) == (0, 1)
    assert (server.artifacts / "1" / meta.parent.name / "artifacts" / "a").read_text() == "text"


def move_to(mlruns):
    """Let the store say that it lies where it does."""
    for path in mlruns.rglob("meta.yaml"):
        old = path.read_text()
        path.write_text(
            old.replace(old.partition("file://")[2].partition("/mlruns/")[0] + "/mlruns/", f"{mlruns}/")
        )


COPY = ["--to", "sqlite:///x.db", "--artifacts", "copy"]


# -- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (COPY, "--artifact-root"),
        (["--to", "sqlite:///x.db", "--artifact-root", "a"], "--artifacts copy"),
        ([*COPY, "--artifact-root", "mlflow-artifacts:/"], "mlflow-artifacts:"),
        (["--to", f"http://127.0.0.1:{free_port()}"], "127.0.0.1"),
        (["--to", "nonsense:"], "sqlite:///"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said(template, flags, words, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["import", str(template.folder), *flags])
    assert (done.exit_code, isinstance(done.exception, SystemExit)) == (1, True), done.exc_info
    assert words in done.stderr


def test_a_folder_that_is_no_store_is_refused(tmp_path, bring):
    (tmp_path / "empty").mkdir()
    done = bring(tmp_path / "empty", f"sqlite:///{tmp_path}/x.db")
    assert (done.code, "mlruns" in done.err) == (1, True)


def test_mlflows_own_server_is_refused_with_what_to_do(template, bring):
    done = bring(template.folder, mlflowd.shared().uri)
    assert done.code == 1
    assert "sqlite:///" in done.err
