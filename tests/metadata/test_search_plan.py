"""How SQLite runs a search: it goes through the runs once and looks everything else up by key."""

from __future__ import annotations

import re
import shutil

import pytest
from sqlalchemy import event

from shoso.metadata.dialects import sqlite
from shoso.metadata.search import search_experiments, search_runs
from shoso.metadata.search_models import search_logged_models
from shoso.wire.requests import ModelDataset, ModelOrderBy, SearchExperiments, SearchLoggedModels, SearchRuns


@pytest.fixture
def conn(tmp_path, mlflow_template):
    with sqlite.connect(shutil.copy(mlflow_template, tmp_path / "mlflow.db"), read_only=True) as opened:
        yield opened


def planned(conn, search, request) -> tuple[str, list[str]]:
    """The statement that finds the ids, and its query plan."""
    ran: list[tuple] = []

    @event.listens_for(conn, "before_cursor_execute")
    def remember(_conn, _cursor, statement, parameters, _context, _many):
        ran.append((statement, parameters))

    search(conn, request)
    statement, parameters = next(one for one in ran if "ORDER BY" in one[0])
    rows = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    return statement, [row[3] for row in rows]


def full_scans(plan: list[str]) -> list[str]:
    return [step for step in plan if step.startswith("SCAN") or "MATERIALIZE" in step]


@pytest.mark.parametrize(
    "filter_",
    [
        "",
        "metrics.a > 1 AND params.b = 'x' AND tags.c LIKE 'x%' AND run_name != 'y'",
        "params.a IS NULL AND tags.b IS NOT NULL",
        "status = 'FINISHED' AND start_time > 5",
    ],
)
@pytest.mark.parametrize("order_by", [[], ["metrics.a DESC", "params.b", "tags.c"], ["start_time"]])
def test_runs_are_gone_through_once(conn, filter_, order_by):
    _, plan = planned(conn, search_runs, SearchRuns(["0", "1"], filter_, order_by=order_by))
    assert full_scans(plan) == ["SCAN runs"]


def test_runs_are_found_by_id_without_going_through_them(conn):
    _, plan = planned(conn, search_runs, SearchRuns(["0"], "run_id IN ('a', 'b') AND metrics.a > 1"))
    assert full_scans(plan) == []


@pytest.mark.parametrize("filter_", ["dataset.name = 'a'", "dataset.digest LIKE 'a%'"])
def test_datasets_are_looked_up_by_experiment_and_their_readers_by_dataset(conn, filter_):
    _, plan = planned(conn, search_runs, SearchRuns(["0"], filter_))
    assert full_scans(plan) == []
    assert any(re.search(r"datasets USING INDEX .*\(experiment_id=\?", step) for step in plan)
    assert any(re.search(r"inputs USING .*\(source_type=\? AND source_id=\?", step) for step in plan)


def test_contexts_are_looked_up_by_run(conn):
    _, plan = planned(conn, search_runs, SearchRuns(["0"], "dataset.context != 'train'"))
    assert full_scans(plan) == ["SCAN runs"]
    assert any("(destination_type=? AND destination_id=? AND source_type=?)" in step for step in plan)


def test_conditions_that_leave_few_runs_are_checked_first(conn):
    filter_ = "tags.d != 'x' AND metrics.a > 1 AND params.b = 'x' AND status = 'FINISHED'"
    statement, _ = planned(conn, search_runs, SearchRuns(["0"], filter_))
    places = [
        statement.index(part)
        for part in ("status =", "params.value =", "latest_metrics.value >", "tags.value !=")
    ]
    assert places == sorted(places)


def test_experiments_and_their_tags_are_looked_up(conn):
    request = SearchExperiments(10, filter="tags.a = 'x' AND tags.b IS NULL", order_by=["name"])
    _, plan = planned(conn, search_experiments, request)
    assert full_scans(plan) == []
    assert any(re.search(r"experiments USING INDEX .*\(workspace=\?\)", step) for step in plan)


def test_logged_models_are_gone_through_once(conn):
    request = SearchLoggedModels(
        ["0"],
        "metrics.a > 1 AND params.b = 'x' AND tags.c LIKE 'x%'",
        [ModelDataset("d", "1")],
        order_by=[ModelOrderBy("metrics.a", False)],
    )
    _, plan = planned(conn, search_logged_models, request)
    assert full_scans(plan) == ["SCAN logged_models"]
