"""Experiments by MLflow's client."""

from __future__ import annotations

import time

import mlflow
import pytest
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException


def names(experiments) -> list[str]:
    return [experiment.name for experiment in experiments]


def found(client, unique, **search) -> list[str]:
    """The names, less their common start, of the experiments of this test that a search finds."""
    also = f" AND {search.pop('filter_string')}" if "filter_string" in search else ""
    page = client.search_experiments(filter_string=f"name LIKE '{unique}%'{also}", **search)
    return [name.removeprefix(unique) for name in names(page)]


@pytest.fixture
def abc(client, unique):
    """Three experiments, made in this order: -b, -a, -c."""
    return {letter: client.create_experiment(f"{unique}-{letter}") for letter in "bac"}


def test_default_experiment_is_number_0(client):
    default = client.get_experiment("0")
    assert (default.name, default.lifecycle_stage) == ("Default", "active")
    assert default.artifact_location == "mlflow-artifacts:/0"
    assert client.get_experiment_by_name("Default").experiment_id == "0"


def test_create_without_location_puts_artifacts_behind_the_server(client, unique):
    experiment_id = client.create_experiment(unique)
    experiment = client.get_experiment(experiment_id)
    assert experiment_id.isdecimal()
    assert experiment.artifact_location == f"mlflow-artifacts:/{experiment_id}"
    assert experiment.creation_time == experiment.last_update_time > 1_600_000_000_000


def test_create_with_location_and_tags(client, unique):
    location = f"mlflow-artifacts:/elsewhere/{unique}"
    experiment_id = client.create_experiment(
        unique, artifact_location=location, tags={"team": "正倉", "b": ""}
    )
    experiment = client.get_experiment(experiment_id)
    assert experiment.artifact_location == location
    assert experiment.tags == {"team": "正倉", "b": ""}


def test_runs_of_an_experiment_with_location_keep_their_artifacts_there(client, unique):
    location = f"mlflow-artifacts:/elsewhere/{unique}"
    experiment_id = client.create_experiment(unique, artifact_location=location)
    run = client.create_run(experiment_id)
    assert run.info.artifact_uri == f"{location}/{run.info.run_id}/artifacts"


def test_name_may_be_anything_readable(client, unique):
    name = f"{unique} /ルート:a.b%41'\"#?&é"
    experiment_id = client.create_experiment(name)
    assert client.get_experiment_by_name(name).experiment_id == experiment_id


def test_get_by_name_of_an_unknown_one_is_none(client, unique):
    assert client.get_experiment_by_name(unique) is None


def test_get_of_an_unknown_id_fails(client):
    with pytest.raises(MlflowException, match="99999999") as failure:
        client.get_experiment("99999999")
    assert failure.value.error_code == "RESOURCE_DOES_NOT_EXIST"


def test_set_experiment_makes_it_once(unique):
    first = mlflow.set_experiment(unique)
    second = mlflow.set_experiment(unique)
    assert first.experiment_id == second.experiment_id


def test_name_taken_is_refused(client, unique):
    client.create_experiment(unique)
    with pytest.raises(MlflowException, match="already exists") as failure:
        client.create_experiment(unique)
    assert failure.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_name_of_a_deleted_one_stays_reserved(client, unique):
    client.delete_experiment(client.create_experiment(unique))
    with pytest.raises(MlflowException) as failure:
        client.create_experiment(unique)
    assert failure.value.error_code == "RESOURCE_ALREADY_EXISTS"
    assert client.get_experiment_by_name(unique).lifecycle_stage == "deleted"


def test_set_experiment_refuses_a_deleted_one(client, unique):
    client.delete_experiment(client.create_experiment(unique))
    with pytest.raises(MlflowException, match="deleted"):
        mlflow.set_experiment(unique)


def test_rename(client, unique):
    experiment_id = client.create_experiment(unique)
    before = client.get_experiment(experiment_id)
    client.rename_experiment(experiment_id, f"{unique}-new")
    after = client.get_experiment_by_name(f"{unique}-new")
    assert after.experiment_id == experiment_id
    assert after.last_update_time >= before.last_update_time
    assert client.get_experiment_by_name(unique) is None


def test_delete_and_restore_take_the_runs_along(client, unique):
    experiment_id = client.create_experiment(unique)
    run_id = client.create_run(experiment_id).info.run_id
    client.delete_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "deleted"
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    client.restore_experiment(experiment_id)
    assert client.get_experiment(experiment_id).lifecycle_stage == "active"
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_restore_brings_back_runs_deleted_one_by_one(client, unique):
    experiment_id = client.create_experiment(unique)
    run_id = client.create_run(experiment_id).info.run_id
    client.delete_run(run_id)
    client.delete_experiment(experiment_id)
    client.restore_experiment(experiment_id)
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_tags_are_set_and_overwritten(client, unique):
    experiment_id = client.create_experiment(unique)
    client.set_experiment_tag(experiment_id, "a/b.c d", "1")
    client.set_experiment_tag(experiment_id, "a/b.c d", "2")
    client.set_experiment_tag(experiment_id, "long", "x" * 5000)
    assert client.get_experiment(experiment_id).tags == {"a/b.c d": "2", "long": "x" * 5000}


@pytest.mark.since_3
def test_tags_are_deleted(client, unique):
    experiment_id = client.create_experiment(unique, tags={"a": "1", "b": "2"})
    client.delete_experiment_tag(experiment_id, "a")
    assert client.get_experiment(experiment_id).tags == {"b": "2"}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (ViewType.ACTIVE_ONLY, ["-a", "-b"]),
        (ViewType.DELETED_ONLY, ["-c"]),
        (ViewType.ALL, ["-a", "-b", "-c"]),
    ],
    ids=["active", "deleted", "all"],
)
def test_search_by_view(client, unique, abc, view, expected):
    client.delete_experiment(abc["c"])
    assert found(client, unique, view_type=view, order_by=["name"]) == expected


def test_search_finds_the_newest_first(client, unique, abc):
    times = [client.get_experiment(experiment_id).creation_time for experiment_id in abc.values()]
    ids = sorted(abc.values(), key=lambda i: (-times[list(abc.values()).index(i)], int(i)))
    page = client.search_experiments(filter_string=f"name LIKE '{unique}%'")
    assert [experiment.experiment_id for experiment in page] == ids


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (["name"], ["-a", "-b", "-c"]),
        (["name DESC"], ["-c", "-b", "-a"]),
        (["experiment_id"], ["-b", "-a", "-c"]),
        (["attribute.experiment_id DESC"], ["-c", "-a", "-b"]),
        (["last_update_time DESC", "name"], ["-b", "-c", "-a"]),
    ],
)
def test_search_orders(client, unique, abc, order, expected):
    for letter in "acb":
        client.rename_experiment(abc[letter], f"{unique}-{letter}")
        time.sleep(0.002)  # the server's clock, which is ours, counts milliseconds
    assert found(client, unique, order_by=order) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tags.kind = 'x'", ["-a"]),
        ("tags.kind != 'x'", ["-b"]),
        ("tags.`kind` LIKE 'Y%'", ["-b"]),
        ("tags.kind LIKE 'y%'", []),
        ("tags.kind ILIKE 'y%'", ["-b"]),
        ("tags.kind IS NULL", ["-c"]),
        ("tags.kind IS NOT NULL", ["-a", "-b"]),
        ("attribute.name ILIKE '%-A'", ["-a"]),
        ("name LIKE '%-A'", []),
        ("creation_time > 0", ["-a", "-b", "-c"]),
        ("last_update_time < 5", []),
        ("tags.kind = 'x' and creation_time >= 1", ["-a"]),
    ],
)
def test_search_filters(client, unique, abc, text, expected):
    client.set_experiment_tag(abc["a"], "kind", "x")
    client.set_experiment_tag(abc["b"], "kind", "Yy")
    assert found(client, unique, filter_string=text, order_by=["name"]) == expected


def test_search_by_id(client, unique, abc):
    text = f"experiment_id IN ('{abc['a']}', '{abc['b']}')"
    assert found(client, unique, filter_string=text, order_by=["name"]) == ["-a", "-b"]
    assert found(client, unique, filter_string=f"experiment_id = '{abc['c']}'") == ["-c"]
    assert found(client, unique, filter_string=f"experiment_id != '{abc['c']}'", order_by=["name"]) == [
        "-a",
        "-b",
    ]


@pytest.mark.usefixtures("abc")
def test_search_pages(client, unique):
    search = {"filter_string": f"name LIKE '{unique}%'", "order_by": ["name"], "max_results": 2}
    first = client.search_experiments(**search)
    second = client.search_experiments(**search, page_token=first.token)
    assert names(first) == [f"{unique}-a", f"{unique}-b"]
    assert names(second) == [f"{unique}-c"]
    assert not second.token


@pytest.mark.usefixtures("abc")
def test_fluent_search_goes_through_all_pages(unique):
    everything = mlflow.search_experiments(filter_string=f"name LIKE '{unique}%'", order_by=["name"])
    assert names(everything) == [f"{unique}-a", f"{unique}-b", f"{unique}-c"]
