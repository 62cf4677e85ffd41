"""Runs, their params, tags, inputs and outputs by MLflow's client."""

from __future__ import annotations

import time

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, RunTag
from mlflow.exceptions import MlflowException


def stage(client, run_id) -> str:
    return client.get_run(run_id).info.lifecycle_stage


def test_create_get_and_terminate(client, experiment):
    run = client.create_run(experiment, start_time=1234, tags={"a": "1"}, run_name="first")
    assert (run.info.status, run.info.start_time, run.info.end_time) == ("RUNNING", 1234, None)
    assert (run.info.run_name, run.data.tags) == ("first", {"a": "1", "mlflow.runName": "first"})
    assert run.info.artifact_uri == f"mlflow-artifacts:/{experiment}/{run.info.run_id}/artifacts"
    client.set_terminated(run.info.run_id, "FAILED", end_time=5678)
    after = client.get_run(run.info.run_id)
    assert (after.info.status, after.info.end_time, after.info.run_name) == ("FAILED", 5678, "first")


def test_run_id_is_32_hex_digits(client, experiment):
    run_id = client.create_run(experiment).info.run_id
    assert len(run_id) == 32
    assert int(run_id, 16)


@pytest.mark.parametrize("status", ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"])
def test_update_takes_every_status(client, run_id, status):
    client.update_run(run_id, status=status)
    assert client.get_run(run_id).info.status == status


def test_update_renames_the_run_and_its_tag(client, run_id):
    client.update_run(run_id, name="second")
    run = client.get_run(run_id)
    assert (run.info.run_name, run.data.tags["mlflow.runName"]) == ("second", "second")


def test_run_name_tag_renames_the_run(client, run_id):
    client.set_tag(run_id, "mlflow.runName", "by tag")
    assert client.get_run(run_id).info.run_name == "by tag"


def test_run_without_name_is_given_one(client, experiment):
    run = client.create_run(experiment)
    adjective, noun, number = run.info.run_name.rsplit("-", 2)
    assert adjective
    assert noun
    assert number.isdecimal()
    assert run.data.tags["mlflow.runName"] == run.info.run_name


def test_delete_and_restore(client, run_id):
    client.delete_run(run_id)
    assert stage(client, run_id) == "deleted"
    client.delete_run(run_id)
    client.restore_run(run_id)
    assert stage(client, run_id) == "active"


def test_deleted_run_takes_nothing_more(client, run_id):
    client.delete_run(run_id)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_param(run_id, "a", 1)
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        client.log_metric(run_id, "a", 1)


def test_unknown_run_is_not_found(client):
    with pytest.raises(MlflowException, match="not found") as failure:
        client.get_run("0" * 32)
    assert failure.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.usefixtures("experiment")
def test_fluent_run_ends_as_finished_or_failed(client):
    with mlflow.start_run() as good:
        pass
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as bad:
        _ = 1 / 0
    assert client.get_run(good.info.run_id).info.status == "FINISHED"
    assert client.get_run(bad.info.run_id).info.status == "FAILED"


@pytest.mark.usefixtures("experiment")
def test_fluent_run_is_resumed_by_id(client):
    with mlflow.start_run() as run:
        mlflow.log_param("first", 1)
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_param("second", 2)
    assert client.get_run(run.info.run_id).data.params == {"first": "1", "second": "2"}


@pytest.mark.usefixtures("experiment")
def test_nested_runs_know_their_parent(client):
    with mlflow.start_run(run_name="outer") as outer, mlflow.start_run(nested=True) as inner:
        pass
    assert client.get_run(inner.info.run_id).data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert client.get_parent_run(inner.info.run_id).info.run_id == outer.info.run_id
    assert client.get_parent_run(outer.info.run_id) is None


def test_children_are_found_by_their_parent(client, experiment):
    with mlflow.start_run() as outer:
        inner = [_child() for _ in range(2)]
    text = f"tags.mlflow.parentRunId = '{outer.info.run_id}'"
    assert {run.info.run_id for run in client.search_runs([experiment], text)} == set(inner)


def _child() -> str:
    with mlflow.start_run(nested=True) as run:
        return run.info.run_id


# -- params and tags --------------------------------------------------------------------------------------


def test_param_is_text_and_may_be_logged_again(client, run_id):
    client.log_param(run_id, "rate", 0.1)
    client.log_param(run_id, "rate", 0.1)
    client.log_param(run_id, "名前/a.b c-d", "正倉 'x' \"y\" \n é\u0301 😀")
    assert client.get_run(run_id).data.params == {
        "rate": "0.1",
        "名前/a.b c-d": "正倉 'x' \"y\" \n é\u0301 😀",
    }


def test_param_is_immutable(client, run_id):
    client.log_param(run_id, "rate", 0.1)
    with pytest.raises(MlflowException, match="Changing param values is not allowed") as failure:
        client.log_param(run_id, "rate", 0.2)
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"
    assert client.get_run(run_id).data.params == {"rate": "0.1"}


def test_param_of_6000_characters_is_kept_and_a_longer_one_cut(client, run_id):
    client.log_param(run_id, "long", "x" * 6000)
    client.log_param(run_id, "longer", "y" * 6001)
    assert client.get_run(run_id).data.params == {"long": "x" * 6000, "longer": "y" * 6000}


def test_empty_param_is_kept(client, run_id):
    client.log_param(run_id, "empty", "")
    assert client.get_run(run_id).data.params == {"empty": ""}


def test_tags_are_set_overwritten_and_deleted(client, run_id):
    client.set_tag(run_id, "a", "1")
    client.set_tag(run_id, "a", "2")
    client.set_tag(run_id, "b", "")
    client.set_tag(run_id, "c", "3")
    client.delete_tag(run_id, "c")
    tags = client.get_run(run_id).data.tags
    assert (tags["a"], tags["b"], "c" in tags) == ("2", "", False)


def test_long_tag_is_cut_at_8000_characters(client, run_id):
    client.set_tag(run_id, "long", "x" * 8001)
    assert client.get_run(run_id).data.tags["long"] == "x" * 8000


def test_tag_that_is_not_there_cannot_be_deleted(client, run_id):
    with pytest.raises(MlflowException, match="No tag with name") as failure:
        client.delete_tag(run_id, "nothing")
    assert failure.value.error_code == "RESOURCE_DOES_NOT_EXIST"


@pytest.mark.usefixtures("experiment")
def test_fluent_calls_together(client):
    with mlflow.start_run(tags={"t": "1"}, description="what it is") as run:
        mlflow.log_params({"a": 1, "b": [1, 2], "c": None})
        mlflow.set_tags({"u": 2, "v": True})
        mlflow.log_metrics({"m": 1, "n": 2.5}, step=3)
    data = client.get_run(run.info.run_id).data
    assert data.params == {"a": "1", "b": "[1, 2]", "c": "None"}
    assert data.metrics == {"m": 1.0, "n": 2.5}
    assert {"t": "1", "u": "2", "v": "True", "mlflow.note.content": "what it is"}.items() <= data.tags.items()


# -- log_batch --------------------------------------------------------------------------------------------


def test_log_batch_takes_params_tags_and_metrics(client, run_id):
    metrics = [mlflow.entities.Metric("m", i, 1000 + i, i) for i in range(3)]
    client.log_batch(run_id, metrics, [Param("p", "1"), Param("q", "2")], [RunTag("t", "3")])
    data = client.get_run(run_id).data
    assert (data.metrics, data.params, data.tags["t"]) == ({"m": 2.0}, {"p": "1", "q": "2"}, "3")


def test_log_batch_takes_100_params_and_100_tags(client, run_id):
    params = [Param(f"p{i}", str(i)) for i in range(100)]
    tags = [RunTag(f"t{i}", str(i)) for i in range(100)]
    client.log_batch(run_id, params=params, tags=tags)
    data = client.get_run(run_id).data
    assert data.params == {f"p{i}": str(i) for i in range(100)}
    assert {f"t{i}": str(i) for i in range(100)}.items() <= data.tags.items()


@pytest.mark.parametrize("what", ["params", "tags", "metrics"])
def test_log_batch_over_the_limit_is_refused_at_once(client, run_id, monkeypatch, what):
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")  # the default would retry a 5xx for four minutes
    batch = {
        "params": [Param(f"p{i}", "1") for i in range(101)] if what == "params" else [],
        "tags": [RunTag(f"t{i}", "1") for i in range(101)] if what == "tags" else [],
        "metrics": [mlflow.entities.Metric("m", i, 1, i) for i in range(1001)] if what == "metrics" else [],
    }
    started = time.monotonic()
    with pytest.raises(MlflowException, match="can contain at most") as failure:
        client._tracking_client.store.log_batch(run_id, **batch)  # MlflowClient.log_batch would split it
    assert time.monotonic() - started < 5
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"
    data = client.get_run(run_id).data
    assert (data.params, data.metrics, list(data.tags)) == ({}, {}, ["mlflow.runName"])


@pytest.mark.usefixtures("experiment")
def test_fluent_log_params_of_more_than_100_is_split_by_the_client(client):
    with mlflow.start_run() as run:
        mlflow.log_params({f"p{i}": i for i in range(250)})
    assert len(client.get_run(run.info.run_id).data.params) == 250


def test_a_clash_of_params_in_a_batch_is_refused(client, run_id):
    client.log_param(run_id, "p", "1")
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_batch(run_id, params=[Param("p", "2"), Param("q", "1")])
    assert client.get_run(run_id).data.params == {"p": "1"}


# -- inputs and outputs -----------------------------------------------------------------------------------


def test_dataset_inputs_are_kept_once(client, run_id):
    dataset = Dataset("d", "123", "code", '{"a": 1}', schema='{"s": []}', profile='{"rows": 3}')
    for context in ("train", "train"):
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])
    client.log_inputs(run_id, [DatasetInput(Dataset("e", "1", "code", "x"), [])])
    inputs = client.get_run(run_id).inputs.dataset_inputs
    assert sorted(i.dataset.name for i in inputs) == ["d", "e"]
    [first] = [i for i in inputs if i.dataset.name == "d"]
    assert dict(first.dataset) == dict(dataset)
    assert [(tag.key, tag.value) for tag in first.tags] == [("mlflow.data.context", "train")]


@pytest.mark.usefixtures("experiment")
def test_log_input_of_a_pandas_dataset(client):
    import pandas as pd

    frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
    dataset = mlflow.data.from_pandas(frame, source="data.csv", name="pairs", targets="y")
    with mlflow.start_run() as run:
        mlflow.log_input(dataset, context="training", tags={"own": "tag"})
    [entry] = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("pairs", dataset.digest)
    assert '"num_rows": 2' in entry.dataset.profile
    assert {tag.key: tag.value for tag in entry.tags} == {"mlflow.data.context": "training", "own": "tag"}


def test_runs_are_found_by_their_dataset(client, run_id, experiment):
    client.create_run(experiment)
    dataset = DatasetInput(Dataset("sales", "d1", "code", "x"), [InputTag("mlflow.data.context", "eval")])
    client.log_inputs(run_id, [dataset])
    text = "datasets.name = 'sales' AND dataset.digest LIKE 'd%' AND datasets.context IN ('eval', 'train')"
    assert [run.info.run_id for run in client.search_runs([experiment], text)] == [run_id]
    assert client.search_runs([experiment], "dataset.name = 'Sales'") == []


@pytest.mark.since_3
def test_outputs_are_the_models_a_run_made(client, run_id, experiment):
    model = client.create_logged_model(experiment, name="m", source_run_id=run_id)
    output = mlflow.entities.LoggedModelOutput(model.model_id, step=7)
    client.log_outputs(run_id, [output])
    outputs = client.get_run(run_id).outputs.model_outputs
    assert [(o.model_id, o.step) for o in outputs] == [(model.model_id, 7)]


@pytest.mark.since_3
def test_models_can_be_inputs(client, run_id, experiment):
    model = client.create_logged_model(experiment, name="m")
    client.log_inputs(run_id, models=[mlflow.entities.LoggedModelInput(model.model_id)])
    assert [i.model_id for i in client.get_run(run_id).inputs.model_inputs] == [model.model_id]
