"""The model registry by MLflow's client: models, versions, stages, aliases, and models loaded by them."""

from __future__ import annotations

import inspect
import json
import threading

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0], [1.0], [2.0], [3.0]])
Y = np.array([0, 0, 1, 1])

ODD = ["a b", "50% off", "it's", 'say "x"', "a%2Fb", "正倉", "a.b-c_d", "x" * 256, "a#b", "a+b&c=d"]
"""Names that a model may have, and that somebody may quote wrongly."""


@pytest.fixture
def model(client, unique):
    """A registered model's name."""
    client.create_registered_model(unique, {"team": "x"}, "what it is")
    return unique


@pytest.fixture
def version(client, model):
    """Make a version of the model that nothing is behind."""
    return lambda **fields: client.create_model_version(model, "s3://bucket/model", **fields)


def code_of(call, *arguments, **named) -> str:
    """The error code of a call that must fail."""
    with pytest.raises(MlflowException) as failure:
        call(*arguments, **named)
    return failure.value.error_code


# -- models -----------------------------------------------------------------------------------------------


def test_a_created_model_is_shown_as_it_was_described(client, model):
    found = client.get_registered_model(model)
    assert (found.name, found.description, found.tags) == (model, "what it is", {"team": "x"})
    assert (found.aliases, found.latest_versions) == ({}, [])
    assert found.last_updated_timestamp == found.creation_timestamp > 10**12


def test_a_name_is_taken_once(client, model):
    assert code_of(client.create_registered_model, model) == "RESOURCE_ALREADY_EXISTS"


@pytest.mark.parametrize("odd", ODD)
def test_a_name_comes_back_as_it_went_in(client, unique, odd):
    name = (unique + odd)[:256]
    client.create_registered_model(name)
    assert client.create_model_version(name, "s3://bucket/model").name == name
    client.set_registered_model_alias(name, "it", "1")
    assert client.get_model_version_by_alias(name, "it").name == name
    assert client.get_registered_model(name).name == name
    client.delete_registered_model(name)
    assert code_of(client.get_registered_model, name) == "RESOURCE_DOES_NOT_EXIST"


def test_update_changes_the_description(client, model):
    before = client.get_registered_model(model)
    after = client.update_registered_model(model, "another")
    assert after.description == client.get_registered_model(model).description == "another"
    assert after.creation_timestamp == before.creation_timestamp
    assert client.update_registered_model(model, "").description in {None, ""}


def test_a_long_description_is_kept(client, model):
    text = "# Model card\n" + "x" * 20_000
    assert client.update_registered_model(model, text).description == text


def test_tags_are_set_overwritten_and_deleted(client, model):
    client.set_registered_model_tag(model, "team", "y")
    client.set_registered_model_tag(model, "a/b c", "z" * 5000)
    assert client.get_registered_model(model).tags == {"team": "y", "a/b c": "z" * 5000}
    client.delete_registered_model_tag(model, "team")
    client.delete_registered_model_tag(model, "nothing")
    assert set(client.get_registered_model(model).tags) == {"a/b c"}


def test_rename_takes_versions_tags_and_aliases_along(client, model, version):
    version(tags={"k": "v"})
    version()
    client.set_registered_model_alias(model, "champion", "1")
    client.rename_registered_model(model, f"{model} new")
    renamed = client.get_registered_model(f"{model} new")
    assert (renamed.tags, renamed.aliases) == ({"team": "x"}, {"champion": "1"})
    assert client.get_model_version(f"{model} new", "1").tags == {"k": "v"}
    assert client.get_model_version_by_alias(f"{model} new", "champion").version == "1"
    assert code_of(client.get_registered_model, model) == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.get_model_version, model, "1") == "RESOURCE_DOES_NOT_EXIST"


def test_rename_to_a_taken_name_changes_nothing(client, model, version):
    version()
    client.create_registered_model(f"{model} other")
    assert code_of(client.rename_registered_model, model, f"{model} other") == "RESOURCE_ALREADY_EXISTS"
    assert client.get_model_version(model, "1").name == model
    client.rename_registered_model(model, model)
    assert client.get_registered_model(model).tags == {"team": "x"}


def test_a_deleted_model_leaves_nothing_to_a_new_one_of_its_name(client, model, version):
    version(tags={"k": "v"})
    client.set_registered_model_alias(model, "champion", "1")
    client.delete_registered_model(model)
    assert code_of(client.delete_registered_model, model) == "RESOURCE_DOES_NOT_EXIST"
    client.create_registered_model(model)
    found = client.get_registered_model(model)
    assert (found.aliases, found.tags, found.latest_versions) == ({}, {}, [])
    assert code_of(client.get_model_version_by_alias, model, "champion") == "INVALID_PARAMETER_VALUE"
    made = version()
    assert (made.version, made.tags) == ("1", {})


# -- versions ---------------------------------------------------------------------------------------------


def test_versions_are_numbered_from_one(client, model, version):
    first = version(description="the first", tags={"k": "v"}, run_link="https://host/run")
    assert (first.version, first.status, first.current_stage) == ("1", "READY", "None")
    assert (first.source, first.run_link) == ("s3://bucket/model", "https://host/run")
    assert (first.description, first.tags) == ("the first", {"k": "v"})
    assert version().version == "2"
    found = client.get_registered_model(model)
    assert [each.version for each in found.latest_versions] == ["2"]
    assert found.last_updated_timestamp >= found.creation_timestamp


def test_a_version_of_no_model_is_refused(client, unique):
    assert code_of(client.create_model_version, unique, "s3://b/x") == "RESOURCE_DOES_NOT_EXIST"


def test_versions_made_at_once_have_numbers_of_their_own(client, model):
    numbers: list[str] = []

    def make():
        for _ in range(5):
            numbers.append(client.create_model_version(model, "s3://bucket/model").version)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, numbers)) == list(range(1, 41))


def test_update_changes_the_description_of_a_version(client, model, version):
    version(description="the first")
    assert client.update_model_version(model, "1", "better").description == "better"
    assert client.get_model_version(model, "1").description == "better"


def test_tags_of_a_version(client, model, version):
    version()
    client.set_model_version_tag(model, "1", "k", "v")
    client.set_model_version_tag(model, "1", "k", "w")
    client.set_model_version_tag(model, version="1", key="big", value="x" * 100_000)
    assert client.get_model_version(model, "1").tags == {"k": "w", "big": "x" * 100_000}
    client.delete_model_version_tag(model, "1", "big")
    client.delete_model_version_tag(model, "1", "nothing")
    assert client.get_model_version(model, "1").tags == {"k": "w"}


def test_a_deleted_version_is_gone_and_its_number_with_it(client, model, version):
    version()
    version()
    client.set_registered_model_alias(model, "champion", "2")
    client.set_registered_model_alias(model, "old", "1")
    client.delete_model_version(model, "2")
    assert client.get_registered_model(model).aliases == {"old": "1"}
    assert code_of(client.get_model_version, model, "2") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.get_model_version_by_alias, model, "champion") == "INVALID_PARAMETER_VALUE"
    assert code_of(client.delete_model_version, model, "2") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.set_model_version_tag, model, "2", "k", "v") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.set_registered_model_alias, model, "it", "2") == "RESOURCE_DOES_NOT_EXIST"
    assert [v.version for v in client.get_registered_model(model).latest_versions] == ["1"]
    assert version().version == "3"


@pytest.mark.parametrize("number", ["one", "1.5", ""])
def test_a_version_is_a_number(client, model, number):
    assert code_of(client.get_model_version, model, number) == "INVALID_PARAMETER_VALUE"


# -- aliases and stages -----------------------------------------------------------------------------------


def test_an_alias_means_one_version(client, model, version):
    version()
    version()
    client.set_registered_model_alias(model, "champion", "1")
    client.set_registered_model_alias(model, "champion", "2")
    client.set_registered_model_alias(model, "v2-rc", "2")  # v2 alone would mean a version
    assert client.get_model_version_by_alias(model, "champion").version == "2"
    assert sorted(client.get_model_version(model, "2").aliases) == ["champion", "v2-rc"]
    assert client.get_model_version(model, "1").aliases == []
    client.delete_registered_model_alias(model, "champion")
    client.delete_registered_model_alias(model, "champion")
    assert client.get_registered_model(model).aliases == {"v2-rc": "2"}


@pytest.mark.parametrize("alias", ["latest", "LATEST", "v1", "V22", "a b", "a/b", "a%", "x" * 256])
def test_what_cannot_be_an_alias(client, model, version, alias):
    version()
    assert code_of(client.set_registered_model_alias, model, alias, "1") == "INVALID_PARAMETER_VALUE"


def test_stages_hold_versions_and_archive_them(client, model, version):
    for _ in range(4):
        version()
    client.transition_model_version_stage(model, "1", "Production")
    client.transition_model_version_stage(model, "2", "production")
    moved = client.transition_model_version_stage(model, "3", "Production", archive_existing_versions=True)
    assert moved.current_stage == "Production"
    stages = {n: client.get_model_version(model, n).current_stage for n in "1234"}
    assert stages == {"1": "Archived", "2": "Archived", "3": "Production", "4": "None"}
    latest = client.get_latest_versions(model)
    assert sorted((v.current_stage, v.version) for v in latest) == [
        ("Archived", "2"),
        ("None", "4"),
        ("Production", "3"),
    ]
    assert [v.version for v in client.get_latest_versions(model, ["archived"])] == ["2"]
    assert client.get_latest_versions(model, ["Staging"]) == []
    assert code_of(client.transition_model_version_stage, model, "1", "gone") == "INVALID_PARAMETER_VALUE"
    assert code_of(client.get_latest_versions, model, ["gone"]) == "INVALID_PARAMETER_VALUE"


# -- search -----------------------------------------------------------------------------------------------


def names(page) -> list[str]:
    return [each.name for each in page]


def test_search_finds_models_by_name_and_tags(client, unique):
    for number in range(3):
        client.create_registered_model(f"{unique}-{number}", {"n": str(number)} if number else None)
    client.create_model_version(f"{unique}-1", "s3://bucket/model")
    like = f"name LIKE '{unique}-%'"
    found = client.search_registered_models(like)
    assert names(found) == [f"{unique}-{number}" for number in range(3)]
    assert [len(each.latest_versions) for each in found] == [0, 1, 0]
    assert names(client.search_registered_models(f"{like} AND tags.n != '1'")) == [f"{unique}-2"]
    assert names(client.search_registered_models(f"name IN ('{unique}-2', 'x')")) == [f"{unique}-2"]
    first = client.search_registered_models(like, max_results=2, order_by=["name DESC"])
    assert names(first) == [f"{unique}-2", f"{unique}-1"]
    rest = client.search_registered_models(
        like, max_results=2, order_by=["name DESC"], page_token=first.token
    )
    assert (names(rest), rest.token or None) == ([f"{unique}-0"], None)


def test_search_finds_versions(client, model, version):
    for number in "123":
        version(run_id="r" * 31 + number, tags={"n": number})
    client.delete_model_version(model, "2")
    mine = f"name = '{model}'"
    assert [v.version for v in client.search_model_versions(mine, order_by=["version_number"])] == ["1", "3"]
    assert [v.version for v in client.search_model_versions(f"{mine} AND tags.n = '3'")] == ["3"]
    assert [v.version for v in client.search_model_versions(f"{mine} AND version_number < 2")] == ["1"]
    assert [v.name for v in client.search_model_versions(f"run_id = '{'r' * 31}1' AND {mine}")] == [model]
    first = client.search_model_versions(mine, max_results=1)
    rest = client.search_model_versions(mine, max_results=1, page_token=first.token)
    assert {v.version for v in [*first, *rest]} == {"1", "3"}


@pytest.mark.parametrize("text", ["name", "nonsense = 'x'", "name = 'a' OR name = 'b'", "tags.n > 5"])
def test_filter_outside_the_grammar_is_refused(client, text):
    assert code_of(client.search_registered_models, text) == "INVALID_PARAMETER_VALUE"
    assert code_of(client.search_model_versions, text) == "INVALID_PARAMETER_VALUE"


# -- models that can be loaded ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    return LogisticRegression().fit(X, Y)


def log_model(model, **options):
    """MLflow 3 calls it name, MLflow 2 artifact_path."""
    word = "name" if "name" in inspect.signature(mlflow.sklearn.log_model).parameters else "artifact_path"
    return mlflow.sklearn.log_model(model, **{word: "clf"}, pip_requirements=["scikit-learn"], **options)


def test_log_model_registers_and_every_uri_loads(client, experiment, fitted, unique):
    with mlflow.start_run(experiment_id=experiment) as run:
        info = log_model(fitted, registered_model_name=unique)
        log_model(fitted, registered_model_name=unique)
    assert info.registered_model_version in {1, "1"}
    client.set_registered_model_alias(unique, "champion", "1")
    client.transition_model_version_stage(unique, "2", "Staging")
    for which in ("/1", "/2", "/latest", "@champion", "/Staging"):
        loaded = mlflow.pyfunc.load_model(f"models:/{unique}{which}")
        assert list(loaded.predict(X)) == list(Y), which
    assert client.get_model_version(unique, "1").run_id == run.info.run_id


def test_register_model_of_a_run(client, experiment, fitted, unique):
    with mlflow.start_run(experiment_id=experiment) as run:
        log_model(fitted)
    made = mlflow.register_model(f"runs:/{run.info.run_id}/clf", unique, tags={"k": "v"})
    again = mlflow.register_model(f"runs:/{run.info.run_id}/clf", unique)
    assert (made.version, again.version) in {("1", "2"), (1, 2)}
    found = client.get_model_version(unique, "1")
    assert (found.run_id, found.tags) == (run.info.run_id, {"k": "v"})
    assert list(mlflow.sklearn.load_model(f"models:/{unique}/2").predict(X)) == list(Y)


def test_a_copied_version_loads(client, experiment, fitted, unique):
    with mlflow.start_run(experiment_id=experiment) as run:
        log_model(fitted, registered_model_name=unique)
    client.set_registered_model_alias(unique, "champion", "1")
    copied = client.copy_model_version(f"models:/{unique}@champion", f"{unique} copy")
    assert (copied.name, copied.run_id) == (f"{unique} copy", run.info.run_id)
    assert copied.source == f"models:/{unique}/1"
    uri = client.get_model_version_download_uri(copied.name, "1")
    assert uri == client.get_model_version_download_uri(unique, "1")
    client.delete_registered_model(unique)
    assert list(mlflow.sklearn.load_model(f"models:/{unique} copy/1").predict(X)) == list(Y)


@pytest.mark.since_3
def test_a_logged_model_knows_the_versions_made_from_it(client, experiment, fitted, unique):
    with mlflow.start_run(experiment_id=experiment):
        info = log_model(fitted, registered_model_name=unique)
    listed = json.loads(client.get_logged_model(info.model_id).tags["mlflow.modelVersions"])
    assert {(each["name"], int(each["version"])) for each in listed} == {(unique, 1)}
    made = client.get_model_version(unique, "1")
    assert made.source == f"models:/{info.model_id}"
    assert client.get_model_version_download_uri(unique, "1") == info.artifact_path
