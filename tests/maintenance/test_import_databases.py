"""`shoso import` into databases that count characters, and ids of 32 bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url
from tests.maintenance.test_import import read, without_default
from tests.servers import mariadb, postgres

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


@pytest.fixture(params=[postgres, mariadb], ids=["postgres", "mariadb"])
def uri(request):
    """A new database of that kind."""
    facts = request.param.server()
    return request.param.uri(facts, request.param.create(facts))


def test_a_real_store_is_brought_with_ids_that_fit(template, bring, launch, uri):
    """The 18 digits of an experiment's id are more than the column takes: there are new ones, and said so."""
    done = bring(template.folder, uri)
    assert (done.code, done.out["problems"]) == (0, [])
    new = {str(one["experiment_id"]): str(one["new_id"]) for one in done.out["moved"]}
    assert len(new) == 3
    server = launch("--backend-store-uri", uri)
    store = json.dumps(template.seen).replace('{"acc": [[10, 0, ', '{"acc": [[10, 1, ')
    for old, number in new.items():
        store = store.replace(f'"{old}"', f'"{number}"')
    there, expected = read(server.uri), json.loads(store)
    for part in expected:
        if part == "experiments":
            assert without_default(there) == without_default(expected)
        else:
            assert there[part] == expected[part], part


def test_importing_again_changes_nothing(template, bring, uri):
    first = bring(template.folder, uri).out["counts"]
    again = bring(template.folder, uri)
    counts = {name: value for name, value in again.out["counts"].items() if value}
    assert (again.code, counts) == (0, {"there": first["runs"] + first["models"]})


def test_a_database_that_is_not_there_is_told_by_the_option_that_names_it(template, bring, uri):
    absent = make_url(uri).set(database="absent").render_as_string(hide_password=False)
    for flags in ([], ["--dry-run"]):
        done = bring(template.folder, absent, *flags)
        assert done.code != 0
        assert "--to" in done.err
        assert "--backend-store-uri" not in done.err


def test_a_dry_run_counts_what_is_there_and_makes_no_table(template, bring, uri):
    empty = bring(template.folder, uri, "--dry-run").out["counts"]
    engine = create_engine(make_url(uri).set(drivername=DRIVERS[make_url(uri).get_backend_name()]))
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    done = bring(template.folder, uri).out["counts"]
    assert empty | {"experiments": 0} == done | {"experiments": 0}
    again = bring(template.folder, uri, "--dry-run").out["counts"]
    assert (again["runs"], again["there"]) == (0, done["runs"] + done["models"])


def test_small_ids_are_kept_and_new_experiments_go_on_behind_them(mlruns, bring, launch, uri):
    from mlflow.tracking import MlflowClient

    for path in [path for path in mlruns.iterdir() if len(path.name) == 18]:
        meta = path / "meta.yaml"
        number = str(40 + len(list(mlruns.glob("4?"))))
        meta.write_text(
            meta.read_text().replace(f"experiment_id: '{path.name}'", f"experiment_id: '{number}'")
        )
        path.rename(mlruns / number)
    done = bring(mlruns, uri)
    server = launch("--backend-store-uri", uri)
    kept = {one.experiment_id for one in MlflowClient(server.uri).search_experiments()}
    assert {"0", "40", "41"} <= kept, done
    assert int(MlflowClient(server.uri).create_experiment("next")) > 41


def test_a_value_that_is_too_long_is_left_out_and_said(mlruns, bring, launch, uri):
    from mlflow.tracking import MlflowClient

    [run] = [path for path in mlruns.glob("*/*") if (path / "artifacts" / "folder" / "text.txt").is_file()]
    (run / "params" / "vast").write_text("ü" * 8001)
    (run / "params" / "full").write_text("ü" * 8000)
    done = bring(mlruns, uri)
    assert done.code == 1
    assert [(one["path"], "8,001" in one["message"]) for one in done.out["problems"]] == [
        (f"run {run.name}", True)
    ]
    server = launch("--backend-store-uri", uri)
    params = MlflowClient(server.uri).get_run(run.name).data.params
    assert (len(params["full"]), "vast" in params, params["deep/er/key"]) == (8000, False, "v")


def test_a_database_is_connected_to_as_a_server_does(template, tmp_path):
    """With the authority that MLFLOW_MYSQL_SSL_CA names, or not at all: the password goes along."""
    facts = mariadb.server()
    to = mariadb.uri(facts, mariadb.create(facts)).partition("?")[0]
    missing = str(tmp_path / "authority.pem")
    command = [str(Path(sys.executable).with_name("shoso")), "import", str(template.folder), "--to", to]
    env = {**os.environ, "MLFLOW_MYSQL_SSL_CA": missing}
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert f"there is no file {missing}; correct" in done.stderr
    assert "Traceback" not in done.stderr
