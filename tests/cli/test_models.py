"""`shoso models`: what it says is what the server has; several ids, and what fails among them."""

from __future__ import annotations

import msgspec
import pytest

from shoso.cli.shapes import SHAPES


@pytest.fixture
def models(api, experiment):
    """Two logged models, the first with a param and a tag."""

    def made(name, **fields):
        reply = api.ok("POST", "logged-models", {"experiment_id": experiment, "name": name, **fields})
        return reply["model"]["info"]["model_id"]

    told = {"params": [{"key": "depth", "value": "3"}], "tags": [{"key": "team", "value": "a"}]}
    return made("first", **told), made("second")


def test_models_are_described_listed_deleted_and_restored(shoso, experiment, unique, models):
    first, second = models

    def ids(*flags):
        found = msgspec.convert(shoso.json("models", "list", *flags), SHAPES["models", "list"])
        return {one.info.model_id: one.lifecycle_stage for one in found}

    shown = [line.split() for line in shoso("models", "describe", first).splitlines()]
    for line in (["name", "first"], ["stage", "active"], ["param", "depth", "3"], ["tag", "team", "a"]):
        assert line in shown
    assert shoso.json("models", "delete", first, "-m", second) == [{"model_id": first}, {"model_id": second}]
    assert ids("-x", experiment) == {}
    assert ids("-n", unique, "-v", "all", "--filter", "name = 'first'") == {first: "deleted"}
    assert shoso.json("models", "describe", "--model-id", first)["lifecycle_stage"] == "deleted"
    assert f"Model {first} is restored." in shoso("models", "restore", first)
    assert ids("-x", experiment, "-v", "all") == {first: "active", second: "deleted"}
    assert [*ids("-x", experiment, "-v", "all", "--max-results", "1")] == [second]
    assert "'absent' not found" in shoso.error("models", "describe", "absent")


def test_of_several_ids_those_that_fail_are_named_and_the_rest_is_changed(shoso, api, experiment, run_id):
    other = api.run_id(experiment)
    done = shoso.result("runs", "delete", "absent", run_id, "-r", other, code=1)
    assert [line.split()[1] for line in done.stdout.splitlines()] == [run_id, other]
    assert "absent" in done.stderr
    assert shoso.json("runs", "restore", run_id, other, run_id) == [{"run_id": run_id}, {"run_id": other}]
    assert "Name the run" in shoso.error("runs", "restore", code=2)
    assert "Name one run" in shoso.error("runs", "describe", run_id, other, code=2)
    assert shoso.json("experiments", "delete", experiment) == [{"experiment_id": experiment}]
    assert run_id in shoso("runs", "describe", run_id)
    shoso("experiments", "restore", experiment)
    assert "either by their ids" in shoso.error("experiments", "delete", "1", "-x", experiment, code=2)
