"""`shoso runs`: what it says is what the server has."""

from __future__ import annotations

import msgspec
import pytest

from shoso.cli.shapes import SHAPES


@pytest.fixture
def logged(api, experiment):
    """A run with a param, metrics and a tag."""
    run_id = api.run_id(experiment, run_name="first", tags=[{"key": "team", "value": "a"}])
    points = [{"key": "loss", "value": 0.5, "timestamp": 1, "step": 3}]
    points += [{"key": "lost", "value": "NaN", "timestamp": 1, "step": 0}]
    api.ok(
        "POST",
        "runs/log-batch",
        {"run_id": run_id, "params": [{"key": "lr", "value": "0.1"}], "metrics": points},
    )
    return run_id


def test_a_run_is_described(shoso, logged):
    shown = [line.split() for line in shoso("runs", "describe", "--run-id", logged).splitlines()]
    for line in (["id", logged], ["name", "first"], ["param", "lr", "0.1"], ["tag", "team", "a"]):
        assert line in shown
    assert ["metric", "loss", "0.5", "(step", "3)"] in shown
    assert ["metric", "lost", "NaN", "(step", "0)"] in shown


def test_runs_are_listed_by_experiment_filter_and_view(shoso, experiment, unique, logged, api):
    other = api.run_id(experiment, run_name="second")
    shoso("runs", "delete", "--run-id", other)

    def ids(*flags: str) -> set[str]:
        return {run["info"]["run_id"] for run in shoso.json("runs", "list", *flags)}

    assert ids("--experiment-id", experiment) == {logged}
    assert ids("-n", unique, "-v", "all") == {logged, other}
    assert ids("-n", unique, "-v", "all", "--filter", "metrics.loss < 0.4") == set()
    assert "first" in shoso("runs", "list", "-x", experiment)


@pytest.mark.parametrize("variable", ["MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"])
def test_the_experiment_may_come_from_the_environment(shoso, experiment, unique, logged, variable):
    shoso.environment[variable] = experiment if variable.endswith("ID") else unique
    assert logged in shoso("runs", "list")
    other = shoso("experiments", "create", "-n", unique + "-b").strip()
    assert logged not in shoso("runs", "list", "-x", other)


def test_a_run_is_deleted_and_restored(shoso, api, logged):
    def stage():
        return api.ok("GET", "runs/get", run_id=logged)["run"]["info"]["lifecycle_stage"]

    assert "restore" in shoso("runs", "delete", "--run-id", logged)
    assert stage() == "deleted"
    shoso("runs", "restore", "--run-id", logged)
    assert stage() == "active"


def test_the_json_is_of_the_documented_shape(shoso, experiment, logged):
    def shaped(command: str, *arguments: str) -> None:
        text = shoso("runs", command, *arguments, "--json")
        msgspec.json.decode(text, type=SHAPES["runs", command])

    shaped("list", "-x", experiment)
    for command in ("describe", "delete", "restore"):
        shaped(command, "--run-id", logged)


def test_what_isnt_there_is_named(shoso):
    assert "absent" in shoso.error("runs", "describe", "--run-id", "absent")
    assert "absent" in shoso.error("runs", "delete", "--run-id", "absent")
    assert "--experiment-name" in shoso.error("runs", "list", code=2)
