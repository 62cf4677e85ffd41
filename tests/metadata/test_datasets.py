"""What runs read and made: kept once, as MLflow keeps it, and legible to both."""

from __future__ import annotations

import pytest
from mlflow.entities import Dataset as TheirDataset
from mlflow.entities import DatasetInput as TheirDatasetInput
from mlflow.entities import InputTag, LoggedModelInput, LoggedModelOutput
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata.datasets import inputs_of, log_inputs, log_outputs, outputs_of
from shoso.wire.entities import Dataset, DatasetInput, ModelInput, ModelOutput, RunInputs, RunOutputs, Tag
from shoso.wire.requests import LogInputs, LogOutputs

KINDS = places.PLACES
TRAIN = Dataset("train", "d1", "http", '{"url": "x"}', schema='{"a": "long"}', profile="{}")
TEST = Dataset("test", "d2", "local", "{}")


@pytest.fixture
def mlflow(mlflow_place):
    """MLflow's own store on the same database."""
    with mlflow_place.tracking() as store:
        yield store


@pytest.fixture
def conn(mlflow_place):
    with mlflow_place.connect() as opened:
        yield opened


@pytest.fixture
def run(mlflow):
    return mlflow.create_run("0", "me", 0, [], "run").info.run_id


def plain(inputs) -> list:
    """Datasets and tags in an order of their own: the database has none."""
    return sorted((one.dataset, sorted(tag.key for tag in one.tags)) for one in inputs)


def refused(kind: Kind):
    return pytest.raises(TrackingError, check=lambda error: error.kind is kind)


def test_mlflow_reads_the_datasets_that_we_log(conn, mlflow, run):
    given = [DatasetInput(TRAIN, [Tag("mlflow.data.context", "train"), Tag("k", "")]), DatasetInput(TEST)]
    log_inputs(conn, LogInputs(run, given, [ModelInput("m-1")]))
    read = mlflow.get_run(run).inputs
    assert {one.dataset.name: dict(one.dataset) for one in read.dataset_inputs} == {
        "train": {
            "name": "train",
            "digest": "d1",
            "source_type": "http",
            "source": '{"url": "x"}',
            "schema": '{"a": "long"}',
            "profile": "{}",
        },
        "test": {
            "name": "test",
            "digest": "d2",
            "source_type": "local",
            "source": "{}",
            "schema": None,
            "profile": None,
        },
    }
    tags = {one.dataset.name: {tag.key: tag.value for tag in one.tags} for one in read.dataset_inputs}
    assert tags == {"train": {"mlflow.data.context": "train", "k": ""}, "test": {}}
    assert [one.model_id for one in read.model_inputs] == ["m-1"]


def test_we_read_what_mlflow_logs(conn, mlflow, run):
    other = mlflow.create_run("0", "me", 0, [], "other").info.run_id
    theirs = TheirDatasetInput(TheirDataset("train", "d1", "http", "{}", None, "{}"), [InputTag("k", "v")])
    mlflow.log_inputs(run, [theirs], [LoggedModelInput("m-1")])
    mlflow.log_outputs(run, [LoggedModelOutput("m-2", 7)])
    expected = (DatasetInput(Dataset("train", "d1", "http", "{}", None, "{}"), (Tag("k", "v"),)),)
    assert inputs_of(conn, [run, other]) == {
        run: RunInputs(expected, (ModelInput("m-1"),)),
        other: RunInputs(),
    }
    assert outputs_of(conn, [other, run]) == {other: RunOutputs(), run: RunOutputs((ModelOutput("m-2", 7),))}


def test_a_dataset_is_kept_once_per_experiment_name_and_digest(conn, mlflow, run):
    """The first one stays; of several uses in one call the first counts, and its tags alone."""
    changed = Dataset("train", "d1", "other", "other")
    log_inputs(
        conn, LogInputs(run, [DatasetInput(TRAIN, [Tag("a", "1")]), DatasetInput(changed, [Tag("b", "2")])])
    )
    log_inputs(conn, LogInputs(run, [DatasetInput(changed, [Tag("c", "3")])]))
    second = mlflow.create_run("0", "me", 0, [], "second").info.run_id
    log_inputs(conn, LogInputs(second, [DatasetInput(changed, [Tag("d", "4")])]))
    assert inputs_of(conn, [run])[run].dataset_inputs == (DatasetInput(TRAIN, (Tag("a", "1"),)),)
    assert inputs_of(conn, [second])[second].dataset_inputs == (DatasetInput(TRAIN, (Tag("d", "4"),)),)
    assert conn.exec_driver_sql("SELECT count(*) FROM datasets").scalar() == 1


def test_the_same_name_with_another_digest_or_experiment_is_another_dataset(conn, mlflow, run):
    elsewhere = mlflow.create_run(mlflow.create_experiment("e"), "me", 0, [], "r").info.run_id
    log_inputs(conn, LogInputs(run, [DatasetInput(TRAIN), DatasetInput(Dataset("train", "d2"))]))
    log_inputs(conn, LogInputs(elsewhere, [DatasetInput(TRAIN)]))
    assert conn.exec_driver_sql("SELECT count(*) FROM datasets").scalar() == 3


def test_models_are_logged_once(conn, mlflow, run):
    for _ in range(2):
        log_inputs(conn, LogInputs(run, [], [ModelInput("m-1"), ModelInput("m-1")]))
        log_outputs(conn, LogOutputs(run, [ModelOutput("m-1", 3), ModelOutput("m-1", 3)]))
    assert inputs_of(conn, [run])[run].model_inputs == (ModelInput("m-1"),)
    assert outputs_of(conn, [run])[run].model_outputs == (ModelOutput("m-1", 3),)
    assert [(one.model_id, one.step) for one in mlflow.get_run(run).outputs.model_outputs] == [("m-1", 3)]


def test_an_output_stays_at_its_step(conn, run):
    log_outputs(conn, LogOutputs(run, [ModelOutput("m-1", 3)]))
    with refused(Kind.INVALID) as caught:
        log_outputs(conn, LogOutputs(run, [ModelOutput("m-1", 4)]))
    assert "step 3, not at 4" in str(caught.value)


def test_outputs_must_be_named(conn, run):
    with refused(Kind.INVALID) as caught:
        log_outputs(conn, LogOutputs(run, []))
    assert "'models'" in str(caught.value)


@pytest.mark.parametrize("log", [log_inputs, log_outputs])
def test_a_run_that_is_deleted_or_unknown_takes_nothing(conn, mlflow, run, log):
    shape = LogInputs if log is log_inputs else LogOutputs
    model = ModelInput("m-1") if log is log_inputs else ModelOutput("m-1")
    with refused(Kind.NOT_FOUND):
        log(conn, shape("0" * 32, models=[model]))
    mlflow.delete_run(run)
    with refused(Kind.INVALID) as caught:
        log(conn, shape(run, models=[model]))
    assert "must be in the 'active' state" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "limit"),
    [("name", 500), ("digest", 36), ("source", 65535), ("schema", 1048575), ("profile", 16777215)],
)
def test_datasets_have_limits(conn, run, field, limit):
    def logged(size: int) -> None:
        fields = {"name": "n", "digest": "d", field: "x" * size}
        log_inputs(conn, LogInputs(run, [DatasetInput(Dataset(**fields))]))

    logged(limit)
    with refused(Kind.INVALID) as caught:
        logged(limit + 1)
    assert field in str(caught.value)
    assert str(limit) in str(caught.value)


def test_tags_of_inputs_have_limits(conn, run):
    def logged(*tags: Tag) -> None:
        log_inputs(conn, LogInputs(run, [DatasetInput(TRAIN, list(tags))]))

    for bad in (Tag("k" * 256, "v"), Tag("k", "v" * 501)):
        with refused(Kind.INVALID):
            logged(bad)
    with refused(Kind.INVALID) as caught:
        logged(Tag("k", "1"), Tag("k", "2"))
    assert "'k' 2 times" in str(caught.value)
    logged(Tag("k" * 255, "v" * 500))


def test_a_thousand_datasets_are_logged_at_once(conn, run):
    conn.exec_driver_sql("BEGIN")
    log_inputs(conn, LogInputs(run, [DatasetInput(Dataset(f"n{i}", "d")) for i in range(1200)]))
    assert len(inputs_of(conn, [run])[run].dataset_inputs) == 1200
