"""What a run reads: datasets and models logged as its inputs, tables loaded again, streams."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest

import shoso
from shoso import entities
from shoso.errors import Kind, NotFound, ShosoError, TrackingError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.data
    import mlflow.entities

CONTEXT = "mlflow.data.context"


class Own:
    """A dataset of somebody's who has MLflow's interface only."""

    def __init__(self, **facts: object) -> None:
        self.facts = facts

    def to_dict(self) -> dict[str, object]:
        return {"name": "own", "digest": "1234", "source_type": "local", "source": "{}", **self.facts}


@pytest.fixture
def dataset():
    return mlflow.data.from_numpy(np.arange(4), name="numbers")


def read(run) -> dict[str, dict[str, str]]:
    """The datasets that a run has read, with the tags of their use."""
    used = shoso.get_run(run.info.run_id).inputs.dataset_inputs
    return {each.dataset.name: {tag.key: tag.value for tag in each.tags} for each in used}


# -- inputs -----------------------------------------------------------------------------------------------


def test_a_dataset_of_mlflows_is_an_input(run, dataset):
    shoso.log_input(dataset, "training", {"fold": 1})
    assert read(run) == {"numbers": {"fold": "1", CONTEXT: "training"}}
    [used] = shoso.get_run(run.info.run_id).inputs.dataset_inputs
    assert used.dataset == entities.Dataset(**dataset.to_dict())


def test_a_dataset_of_anybodys_is_one_too(run):
    shoso.log_input(Own(schema="{}"))
    [used] = shoso.get_run(run.info.run_id).inputs.dataset_inputs
    assert used == entities.DatasetInput(entities.Dataset("own", "1234", "local", "{}", "{}"))


def test_several_are_logged_at_once_and_none_is_nothing(run, dataset):
    shoso.log_inputs([dataset, None, Own()], ["training", None, None], [None, None, {"a": "b"}])
    assert read(run) == {"numbers": {CONTEXT: "training"}, "own": {"a": "b"}}


def test_a_model_is_an_input(run):
    client = shoso.Client()
    models = [client.create_logged_model(run.info.experiment_id).model_id for _ in range(3)]
    shoso.log_input(model=entities.LoggedModelInput(models[0]))
    shoso.log_inputs(models=[mlflow.entities.LoggedModelInput(models[1]), None])
    client.log_inputs(run.info.run_id, models=[entities.LoggedModelInput(models[2])])
    inputs = shoso.get_run(run.info.run_id).inputs.model_inputs
    assert {each.model_id for each in inputs} == {*models}


def test_the_client_takes_our_entities_and_mlflows(run, dataset):
    ours = entities.DatasetInput(entities.Dataset("ours", "1", "local", "{}"), (entities.InputTag("a", "b"),))
    theirs = mlflow.entities.DatasetInput(dataset._to_mlflow_entity(), [mlflow.entities.InputTag("c", "d")])
    shoso.Client().log_inputs(run.info.run_id, [ours, theirs])
    assert read(run) == {"ours": {"a": "b"}, "numbers": {"c": "d"}}


def test_a_metric_of_a_dataset_makes_it_an_input(run, dataset):
    client = shoso.Client()
    model = client.create_logged_model(run.info.experiment_id).model_id
    shoso.log_metric("loss", 0.5, dataset=dataset)
    shoso.log_metrics({"loss": 0.25}, step=1, model_id=model, dataset=dataset)
    assert read(run) == {"numbers": {}}
    [point] = client.get_logged_model(model).metrics  # only there a server tells of it
    assert (point.dataset_name, point.dataset_digest) == ("numbers", dataset.digest)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: shoso.log_input("train.csv"), "this str has no name"),
    (lambda: shoso.log_input(Own(digest=None)), "this Own has no digest"),
    (lambda: shoso.log_input(Own(source=b"")), "source of a dataset must be a text"),
    (lambda: shoso.log_input(context="training"), "give it too"),
    (lambda: shoso.log_inputs([None], [None]), "of one length"),
    (lambda: shoso.log_inputs([None], ["training"], [None]), "give it too"),
    (lambda: shoso.log_metric("m", 1, dataset="train.csv"), "this str has no name"),
])  # fmt: skip
def test_what_is_no_dataset_is_refused(run, call, words):
    with pytest.raises(TrackingError, match=words) as caught:
        call()
    assert caught.value.kind is Kind.INVALID
    assert read(run) == {}


# -- tables -----------------------------------------------------------------------------------------------


def test_a_table_is_loaded_of_every_run_that_has_it(experiment):
    for number in range(3):
        with shoso.start_run() as run:
            shoso.log_param("n", number)
            if number:  # the first one has none
                shoso.log_table({"x": [number, number]}, "deep/t.json")
    table = shoso.load_table("deep/t.json", extra_columns=["params.n", "run_id"])
    assert [*table.columns] == ["x", "params.n", "run_id"]
    assert sorted(zip(table["x"], table["params.n"], strict=True)) == [(1, "1"), (1, "1"), (2, "2"), (2, "2")]
    only = shoso.load_table("deep/t.json", run_ids=[run.info.run_id])
    assert [*only["x"]] == [2, 2]


def test_a_table_of_a_name_that_is_like_it_is_another(experiment):
    with shoso.start_run():
        shoso.log_table({"x": [1]}, "a-b.json")
    with shoso.start_run():
        shoso.log_table({"x": [2]}, "a_b.json")  # in a filter, _ stands for any character
    assert [*shoso.load_table("a_b.json")["x"]] == [2]


def test_runs_without_the_table_are_left_out_with_a_warning(run, caplog):
    shoso.log_table({"x": [1]}, "t.json")
    assert len(shoso.load_table("t.json", run_ids=[run.info.run_id, "f" * 32])) == 1
    assert "Some of the runs lack the table 't.json'" in caplog.text


def test_a_table_that_cant_be_loaded_says_why(run):
    with pytest.raises(ShosoError, match=r"No run in experiment \d+ has the table 't.json'") as caught:
        shoso.load_table("t.json")
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(ShosoError, match="None of the runs that were named"):
        shoso.load_table("t.json", run_ids=[run.info.run_id])
    with pytest.raises(ValueError, match=r"may not have : in it"):
        shoso.load_table("a:b.json")
    shoso.log_table({"x": [1]}, "t.json")
    with pytest.raises(ShosoError, match=r"no column params\.rate to add; there are run_id"):
        shoso.load_table("t.json", extra_columns=["params.rate"])
    shoso.set_tag("mlflow.loggedArtifacts", '[{"path": "gone.json", "type": "table"}]')
    with pytest.raises(NotFound):
        shoso.load_table("gone.json")


# -- streams ----------------------------------------------------------------------------------------------


def test_a_stream_is_kept_from_where_it_is_to_its_end(run, tmp_path):
    stream = io.BytesIO(b"head" + bytes(3_000_000))
    stream.seek(4)
    shoso.log_stream(stream, "deep/./a.bin")
    with shoso.artifacts.open(f"runs:/{run.info.run_id}/deep/a.bin") as file:
        assert file.read() == bytes(3_000_000)
    with (tmp_path / "raw").open("w+b", buffering=0) as file:
        file.write(b"raw")
        file.seek(0)
        shoso.Client().log_stream(run.info.run_id, file, "raw.bin")
    assert shoso.artifacts.load_text(f"runs:/{run.info.run_id}/raw.bin") == "raw"


def test_a_stream_of_text_is_refused(run):
    with pytest.raises(TypeError, match="bytes-like"):
        shoso.log_stream(io.StringIO("text"), "a.txt")
    assert shoso.artifacts.list_artifacts(run_id=run.info.run_id) == []
