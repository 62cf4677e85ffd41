"""`shoso experiments`: what it says is what the server has."""

from __future__ import annotations

import msgspec
import pytest

from shoso.cli.shapes import SHAPES


def test_an_experiment_is_created_with_its_location(shoso, api, unique):
    location = f"mlflow-artifacts:/elsewhere/{unique}"
    made = shoso("experiments", "create", "-n", unique, "-l", location).strip()
    found = api.ok("GET", "experiments/get", experiment_id=made)["experiment"]
    assert (found["name"], found["artifact_location"]) == (unique, location)


def test_an_experiment_is_shown_by_id_and_by_name(shoso, experiment, unique):
    by_id = shoso("experiments", "get", "--experiment-id", experiment)
    assert by_id == shoso("experiments", "get", "--experiment-name", unique)
    assert unique in by_id
    assert "artifact location" in by_id


def test_an_experiment_is_renamed_deleted_and_restored(shoso, api, experiment, unique):
    def stage():
        found = api.ok("GET", "experiments/get", experiment_id=experiment)["experiment"]
        return found["name"], found["lifecycle_stage"]

    shoso("experiments", "rename", "-x", experiment, "--new-name", unique + "-b")
    assert stage() == (unique + "-b", "active")
    shoso("experiments", "delete", "-n", unique + "-b")
    assert stage() == (unique + "-b", "deleted")
    shoso("experiments", "restore", "-x", experiment)
    assert stage() == (unique + "-b", "active")


def test_experiments_are_listed_by_filter_and_view(shoso, unique):
    kept, gone = (shoso("experiments", "create", "-n", unique + end).strip() for end in ("-a", "-b"))
    shoso("experiments", "delete", "-x", gone)
    wanted = ("--filter", f"name LIKE '{unique}%'")

    def ids(*flags: str) -> set[str]:
        return {each["experiment_id"] for each in shoso.json("experiments", "list", *wanted, *flags)}

    assert ids() == {kept}
    assert ids("-v", "deleted_only") == {gone}
    assert ids("--view", "all") == {kept, gone}
    assert len(ids("--view", "all", "--max-results", "1")) == 1


def test_all_pages_are_listed(shoso, unique, monkeypatch):
    monkeypatch.setattr("shoso.cli.session.PAGE", 2)
    made = [shoso("experiments", "create", "-n", f"{unique}-{number}").strip() for number in range(5)]
    wanted = ("--filter", f"name LIKE '{unique}%'")
    found = [each["experiment_id"] for each in shoso.json("experiments", "list", *wanted)]
    assert sorted(found) == sorted(made)
    assert len(shoso.json("experiments", "list", *wanted, "--max-results", 3)) == 3


def test_the_json_is_of_the_documented_shape(shoso, unique):
    def shaped(command: str, *arguments: str) -> None:
        text = shoso("experiments", command, *arguments, "--json")
        msgspec.json.decode(text, type=SHAPES["experiments", command])

    shaped("create", "-n", unique)
    shaped("get", "-n", unique)
    shaped("list")
    shaped("delete", "-n", unique)
    shaped("restore", "-n", unique)
    shaped("rename", "-n", unique, "--new-name", unique + "-b")


def test_what_steers_a_terminal_isnt_printed(shoso, unique):
    name = f"{unique}\x1b[2J\n名前"
    shoso("experiments", "create", "-n", name)
    shown = shoso("experiments", "list", "--filter", f"name LIKE '{unique}%'")
    assert "\x1b" not in shown
    assert shown.count("\n") == 2
    assert "名前" in shown
    assert shoso.json("experiments", "get", "-n", name)["name"] == name


@pytest.mark.parametrize("command", ["get", "delete", "restore", "rename"])
def test_one_experiment_must_be_named_in_one_way(shoso, command):
    more = ("--new-name", "x") if command == "rename" else ()
    assert "--experiment-id" in shoso.error("experiments", command, *more, code=2)
    assert "--experiment-name" in shoso.error("experiments", command, "-x", "1", "-n", "a", *more, code=2)


def test_the_servers_words_are_the_error(shoso, experiment, unique):
    assert unique in shoso.error("experiments", "create", "-n", unique)
    assert "99999999" in shoso.error("experiments", "get", "-x", "99999999")
    assert "frobnicate" in shoso.error("experiments", "list", "--filter", "frobnicate LIKE 'x'")
