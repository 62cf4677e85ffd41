"""Logged models: what MLflow would do with them, and clear refusals where MLflow shows SQL."""

from __future__ import annotations

import pytest
from mlflow.entities import LoggedModelParameter, LoggedModelTag, Metric
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import models
from shoso.metadata.schema import logged_models
from shoso.wire.entities import Metric as OurMetric
from shoso.wire.entities import Param, Tag
from shoso.wire.requests import (
    CreateLoggedModel,
    DeleteLoggedModelTag,
    FinalizeLoggedModel,
    GetLoggedModel,
    LoggedModelById,
    LogLoggedModelParams,
    ParamInput,
    SetLoggedModelTags,
    TagInput,
)

KINDS = places.PLACES


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
def model_id(conn):
    return models.create(conn, CreateLoggedModel("0", "model")).info.model_id


def refused(kind: Kind):
    return pytest.raises(TrackingError, check=lambda error: error.kind is kind)


def get(conn, model_id: str, *, allow_deleted: bool = False):
    return models.get(conn, GetLoggedModel(model_id, allow_deleted))


def test_mlflow_reads_the_model_that_we_create(conn, mlflow):
    request = CreateLoggedModel(
        "0",
        "my model",
        "Agent",
        "f" * 32,
        [ParamInput("lr", "0.1"), ParamInput("empty")],
        [TagInput("k", "v")],
    )
    made = models.create(conn, request)
    assert get(conn, made.info.model_id) == made
    read = mlflow.get_logged_model(made.info.model_id)
    assert read.name == made.info.name == "my model"
    assert read.model_type == made.info.model_type == "Agent"
    assert read.source_run_id == made.info.source_run_id == "f" * 32
    assert read.status.to_int() == 1
    assert made.info.status == "LOGGED_MODEL_PENDING"
    assert read.creation_timestamp == read.last_updated_timestamp == made.info.creation_timestamp_ms
    assert read.params == {"lr": "0.1", "empty": ""}
    assert read.tags == {"k": "v"}
    place = mlflow.get_experiment("0").artifact_location
    assert read.artifact_location == made.info.artifact_uri == f"{place}/models/{read.model_id}/artifacts"


def test_we_read_the_model_that_mlflow_writes(conn, mlflow):
    run_id = mlflow.create_run("0", "me", 0, [], "r").info.run_id
    given = mlflow.create_logged_model(
        "0", "m", run_id, [LoggedModelTag("k", "v")], [LoggedModelParameter("p", "1")], "type"
    )
    points = [
        Metric("loss", 1.5, 10, 0, model_id=given.model_id, dataset_name="d", dataset_digest="1"),
        Metric("loss", float("inf"), 11, 1, model_id=given.model_id),
        Metric("loss", float("nan"), 12, 2, model_id=given.model_id),
    ]
    for point in points:
        mlflow.log_metric(run_id, point)
    read = get(conn, given.model_id)
    assert read.data.params == [Param("p", "1")]
    assert read.info.tags == [Tag("k", "v")]
    owner = {"model_id": given.model_id, "run_id": run_id}
    # As MLflow has it: the table can hold neither infinity nor NaN.
    assert sorted(read.data.metrics, key=lambda metric: metric.step) == [
        OurMetric("loss", 1.5, 10, 0, "d", "1", **owner),
        OurMetric("loss", 1.7976931348623157e308, 11, 1, **owner),
        OurMetric("loss", 0.0, 12, 2, **owner),
    ]


def test_a_model_without_a_name_gets_one(conn):
    adjective, noun, number = models.create(conn, CreateLoggedModel("0")).info.name.split("-")
    assert adjective.isalpha()
    assert noun.isalpha()
    assert number.isdecimal()


@pytest.mark.parametrize("character", "/:.%\"'")
def test_names_are_restricted_as_in_mlflow(conn, mlflow, character):
    with pytest.raises(Exception, match="Invalid model name"):
        mlflow.create_logged_model("0", f"a{character}b")
    with refused(Kind.INVALID):
        models.create(conn, CreateLoggedModel("0", f"a{character}b"))


@pytest.mark.parametrize(
    "request_",
    [
        CreateLoggedModel("0", params=[ParamInput("k", "1"), ParamInput("k", "1")]),
        CreateLoggedModel("0", tags=[TagInput("k", "1"), TagInput("k", "2")]),
    ],
)
def test_a_key_that_is_given_twice_is_rejected_in_words(conn, request_):
    with refused(Kind.REJECTED) as caught:
        models.create(conn, request_)
    assert "'k' is given 2 times" in str(caught.value)
    assert not conn.execute(logged_models.select()).all()


@pytest.mark.parametrize(
    ("request_", "part"),
    [
        (CreateLoggedModel("0", "x" * 501), "500"),
        (CreateLoggedModel("0", model_type="x" * 501), "model_type"),
        (CreateLoggedModel("0", source_run_id="x" * 33), "source_run_id"),
        (CreateLoggedModel("0", params=[ParamInput("k" * 256, "")]), "255"),
        (CreateLoggedModel("one"), "one"),
    ],
)
def test_what_the_tables_cant_hold_is_refused_in_words(conn, request_, part):
    with refused(Kind.INVALID) as caught:
        models.create(conn, request_)
    assert part in str(caught.value)
    assert "SQL" not in str(caught.value)
    assert not conn.execute(logged_models.select()).all()


def test_a_deleted_or_unknown_experiment_takes_no_models(conn, mlflow):
    with refused(Kind.NOT_FOUND):
        models.create(conn, CreateLoggedModel("99"))
    mlflow.delete_experiment("0")
    with refused(Kind.INVALID):
        models.create(conn, CreateLoggedModel("0"))


def test_a_deleted_model_is_hidden_until_it_is_asked_for(conn, mlflow, model_id):
    models.remove(conn, LoggedModelById(model_id))
    with refused(Kind.NOT_FOUND):
        get(conn, model_id)
    assert get(conn, model_id, allow_deleted=True).info.model_id == model_id
    assert mlflow._get_deleted_logged_models() == [model_id]


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (2, 2),
        ("2", 2),
        ("LOGGED_MODEL_READY", 2),
        ("READY", 2),
        ("LOGGED_MODEL_UPLOAD_FAILED", 3),
        (1, 1),
        (0, 0),
    ],
)
def test_a_model_is_finalized_by_name_or_number(conn, mlflow, model_id, status, number):
    before = get(conn, model_id).info.last_updated_timestamp_ms
    conn.exec_driver_sql("UPDATE logged_models SET last_updated_timestamp_ms = 1")
    done = models.finalize(conn, FinalizeLoggedModel(model_id, status))
    assert mlflow.get_logged_model(model_id).status.to_int() == number
    assert done == get(conn, model_id)
    assert done.info.last_updated_timestamp_ms >= before


@pytest.mark.parametrize("status", [4, -1, "", "DONE", "LOGGED_MODEL_", "²"])
def test_an_unknown_status_is_refused(conn, model_id, status):
    with refused(Kind.INVALID) as caught:
        models.finalize(conn, FinalizeLoggedModel(model_id, status))
    assert "LOGGED_MODEL_READY (2)" in str(caught.value)


def test_tags_are_set_over_and_deleted(conn, mlflow, model_id):
    models.set_tags(conn, SetLoggedModelTags(model_id, [TagInput("a", "1"), TagInput("b", "2")]))
    models.set_tags(
        conn, SetLoggedModelTags(model_id, [TagInput("a", "3"), TagInput("a", "4"), TagInput("c")])
    )
    assert mlflow.get_logged_model(model_id).tags == {"a": "4", "b": "2", "c": ""}
    models.delete_tag(conn, DeleteLoggedModelTag(model_id, "a"))
    assert mlflow.get_logged_model(model_id).tags == {"b": "2", "c": ""}
    with refused(Kind.NOT_FOUND) as caught:
        models.delete_tag(conn, DeleteLoggedModelTag(model_id, "a"))
    assert "'a'" in str(caught.value)


def test_a_param_is_logged_once(conn, mlflow, model_id):
    """MLflow refuses it too, the same value as well, but by showing the SQL that failed."""
    models.log_params(conn, LogLoggedModelParams(model_id, [ParamInput("a", "1"), ParamInput("b", "")]))
    for params in (
        [ParamInput("c", "1"), ParamInput("a", "1")],
        [ParamInput("d", "1"), ParamInput("d", "1")],
    ):
        with refused(Kind.REJECTED) as caught:
            models.log_params(conn, LogLoggedModelParams(model_id, params))
        assert params[1].key in str(caught.value)
        with pytest.raises(Exception, match=r"(?i)unique constraint|duplicate entry"):
            mlflow.log_logged_model_params(model_id, [LoggedModelParameter(p.key, p.value) for p in params])
    assert mlflow.get_logged_model(model_id).params == {"a": "1", "b": ""}


@pytest.mark.parametrize(
    ("call", "request_"),
    [
        (models.get, GetLoggedModel("m-none")),
        (models.finalize, FinalizeLoggedModel("m-none", 2)),
        (models.remove, LoggedModelById("m-none")),
        (models.set_tags, SetLoggedModelTags("m-none", [TagInput("a", "b")])),
        (models.delete_tag, DeleteLoggedModelTag("m-none", "a")),
        (models.log_params, LogLoggedModelParams("m-none", [ParamInput("a", "b")])),
    ],
)
def test_an_unknown_model_is_not_found(conn, call, request_):
    with refused(Kind.NOT_FOUND) as caught:
        call(conn, request_)
    assert "m-none" in str(caught.value)
