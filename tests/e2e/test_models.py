"""Logged models, which only MLflow 3's client knows."""

from __future__ import annotations

import uuid
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.entities import LoggedModelParameter, LoggedModelStatus, LoggedModelTag
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0], [1.0], [2.0], [3.0]])
Y = np.array([0, 0, 1, 1])


@pytest.fixture(scope="module")
def fitted():
    return LogisticRegression().fit(X, Y)


@pytest.fixture
def logged(experiment, fitted):
    """What log_model returned, in a run."""
    with mlflow.start_run(experiment_id=experiment):
        return _log(fitted)


def _log(model, **options):
    options = {"name": "clf", "pip_requirements": ["scikit-learn"], **options}
    return mlflow.sklearn.log_model(model, **options)


@pytest.fixture
def model(client, experiment):
    """A model without files."""
    return client.create_logged_model(
        experiment, name="made", params={"depth": "3"}, tags={"team": "x"}, model_type="tree"
    )


# -- logging and loading ----------------------------------------------------------------------------------


def test_log_model_makes_a_ready_model_of_the_run(client, logged):
    model = client.get_logged_model(logged.model_id)
    assert (model.name, model.status) == ("clf", LoggedModelStatus.READY)
    assert model.source_run_id == logged.run_id
    assert logged.model_uri == f"models:/{model.model_id}"
    root = f"mlflow-artifacts:/{model.experiment_id}/models/{model.model_id}/artifacts"
    assert model.artifact_location == root
    outputs = client.get_run(logged.run_id).outputs.model_outputs
    assert [output.model_id for output in outputs] == [model.model_id]


@pytest.mark.usefixtures("experiment")
def test_log_model_without_a_run(client, fitted):
    info = _log(fitted)
    assert client.get_logged_model(info.model_id).source_run_id in {None, ""}
    assert list(mlflow.sklearn.load_model(info.model_uri).predict(X)) == list(Y)


@pytest.mark.parametrize("form", ["models:/{id}", "runs:/{run}/clf", "{location}", "local"])
def test_load_model_by(client, logged, tmp_path, form):
    location = client.get_logged_model(logged.model_id).artifact_location
    uri = form.format(id=logged.model_id, run=logged.run_id, location=location)
    if form == "local":
        uri = mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(tmp_path))
    assert list(mlflow.sklearn.load_model(uri).predict(X)) == list(Y)
    assert list(mlflow.pyfunc.load_model(uri).predict(X)) == list(Y)


def test_files_of_a_model_are_listed_by_every_uri(client, logged):
    expected = {"MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"}
    by_model = {info.path for info in client.list_logged_model_artifacts(logged.model_id)}
    by_uri = {info.path for info in mlflow.artifacts.list_artifacts(logged.model_uri)}
    by_run = {info.path for info in client.list_artifacts(logged.run_id, "clf")}
    assert expected <= by_model
    assert by_uri == by_model
    assert by_run == {f"clf/{path}" for path in by_model}


@pytest.mark.usefixtures("experiment")
def test_model_with_input_example_and_signature(fitted):
    info = _log(fitted, input_example=X)
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    assert loaded.metadata.signature == info.signature
    assert loaded.input_example.shape == X.shape


def test_metrics_of_the_run_at_the_step_become_metrics_of_its_model(client, experiment, fitted):
    with mlflow.start_run(experiment_id=experiment):
        mlflow.log_metric("loss", 0.5, step=2)
        mlflow.log_metric("loss", 0.25, step=3)
        info = _log(fitted, step=3)
    assert [(m.key, m.value, m.step) for m in client.get_logged_model(info.model_id).metrics] == [
        ("loss", 0.25, 3)
    ]


def test_autolog_makes_a_model_with_params_metrics_and_dataset(client, experiment):
    mlflow.sklearn.autolog(silent=True)
    try:
        with mlflow.start_run(experiment_id=experiment) as run:
            LogisticRegression(C=0.5).fit(X, Y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    [output] = client.get_run(run.info.run_id).outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.status == LoggedModelStatus.READY
    assert model.params["C"] == "0.5"
    metrics = {m.key: m for m in model.metrics}
    assert metrics["training_accuracy_score"].value == 1.0
    assert metrics["training_accuracy_score"].dataset_name == "dataset"
    assert list(mlflow.sklearn.load_model(f"models:/{model.model_id}").predict(X)) == list(Y)


def test_model_artifacts_are_added_by_the_client(client, model, tmp_path):
    (tmp_path / "a b.txt").write_text("x")
    client.log_model_artifact(model.model_id, str(tmp_path / "a b.txt"))
    client.log_model_artifacts(model.model_id, str(tmp_path))
    assert [i.path for i in client.list_logged_model_artifacts(model.model_id)] == ["a b.txt"]
    local = mlflow.artifacts.download_artifacts(f"{model.artifact_location}/a b.txt")
    assert Path(local).read_text() == "x"


# -- the model itself -------------------------------------------------------------------------------------


def test_a_created_model_is_pending_with_params_and_tags(client, model, experiment):
    found = client.get_logged_model(model.model_id)
    assert (found.name, found.status, found.model_type) == ("made", LoggedModelStatus.PENDING, "tree")
    assert (found.params, found.tags) == ({"depth": "3"}, {"team": "x"})
    assert found.experiment_id == experiment
    assert found.model_id.startswith("m-")


def test_a_model_without_name_is_given_one(client, experiment):
    assert client.create_logged_model(experiment).name.count("-") == 2


@pytest.mark.parametrize("status", [LoggedModelStatus.READY, LoggedModelStatus.FAILED])
def test_finalize(client, model, status):
    assert client.finalize_logged_model(model.model_id, status).status == status
    found = client.get_logged_model(model.model_id)
    assert found.status == status
    assert found.last_updated_timestamp >= found.creation_timestamp


def test_tags_are_set_overwritten_and_deleted(client, model):
    client.set_logged_model_tags(model.model_id, {"team": "y", "正": "倉"})
    assert client.get_logged_model(model.model_id).tags == {"team": "y", "正": "倉"}
    client.delete_logged_model_tag(model.model_id, "team")
    assert client.get_logged_model(model.model_id).tags == {"正": "倉"}


def test_params_are_added(client, model):
    client.log_model_params(model.model_id, {f"p{i}": str(i) for i in range(150)})
    assert len(client.get_logged_model(model.model_id).params) == 151


def test_params_of_a_model_do_not_change(client, model):
    with pytest.raises(MlflowException) as failure:
        client._tracking_client.store.log_logged_model_params(
            model.model_id, [LoggedModelParameter("depth", "4")]
        )
    assert failure.value.error_code == "BAD_REQUEST"
    assert client.get_logged_model(model.model_id).params == {"depth": "3"}


def test_a_deleted_model_is_not_found(client, model):
    client.delete_logged_model(model.model_id)
    why = [LoggedModelTag("why", "worse")]  # MLflow's server takes it; its client asks for the model first
    client._tracking_client.store.set_logged_model_tags(model.model_id, why)
    with pytest.raises(MlflowException, match="not found") as failure:
        client.get_logged_model(model.model_id)
    assert failure.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    assert list(client.search_logged_models([model.experiment_id])) == []


def test_a_model_outlives_the_deletion_of_its_experiment(client, model):
    client.delete_experiment(model.experiment_id)
    assert client.get_logged_model(model.model_id).name == "made"


# -- search -----------------------------------------------------------------------------------------------

MODELS = {
    # One letter each: params, tags, metrics as (key, value, dataset name, dataset digest).
    "a": ({"lr": "0.1"}, {"team": "x"}, [("acc", 0.9, "d", "1"), ("acc", 0.1, "e", "1")]),
    "b": ({"lr": "0.2"}, {"team": "Y"}, [("acc", 0.5, "d", "2")]),
    "c": ({}, {}, []),
}


class Models:
    """The models of MODELS in an experiment of their own."""

    def __init__(self, client, experiment) -> None:
        self.client, self.experiment = client, experiment
        self.run_id = client.create_run(experiment).info.run_id
        self.ids = {name: self._make(name, *row) for name, row in MODELS.items()}

    def _make(self, name, params, tags, metrics) -> str:
        model = self.client.create_logged_model(self.experiment, name, self.run_id, tags, params, "t")
        for key, value, dataset, digest in metrics:
            self.client.log_metric(
                self.run_id, key, value, model_id=model.model_id, dataset_name=dataset, dataset_digest=digest
            )
        return model.model_id

    def found(self, text=None, **search) -> str:
        page = self.client.search_logged_models([self.experiment], text, **search)
        return "".join(model.name for model in page)


@pytest.fixture(scope="module")
def models(server):
    server.ensure()
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    return Models(client, client.create_experiment(f"models-{uuid.uuid4().hex}"))


FILTERS = {
    "name = 'a'": "a",
    "name != 'a'": "bc",
    "attributes.name LIKE 'A'": "",
    "attributes.name ILIKE 'A'": "a",
    "name IN ('a', 'c')": "ac",
    "name NOT IN ('a', 'c')": "b",
    "model_type = 't'": "abc",
    "params.lr = '0.1'": "a",
    "params.lr != '0.1'": "b",
    "params.lr LIKE '0.%'": "ab",
    "tags.team ILIKE 'y'": "b",
    "metrics.acc > 0.4": "ab",
    "metrics.acc <= 0.1": "a",
    "metrics.acc = 0.5 AND params.lr = '0.2'": "b",
    "creation_timestamp > 0": "abc",
    "creation_time < 5": "",
    "last_updated_timestamp >= 5": "abc",
}


@pytest.mark.parametrize("text", FILTERS)
def test_filter_finds(models, text):
    assert "".join(sorted(models.found(text))) == FILTERS[text]


def test_filter_by_run(models):
    assert len(models.found(f"source_run_id = '{models.run_id}'")) == 3
    assert models.found(f"model_id = '{models.ids['b']}'") == "b"


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ([{"dataset_name": "d", "dataset_digest": "1"}], "a"),
        ([{"dataset_name": "d", "dataset_digest": "2"}], "b"),
        ([{"dataset_name": "e", "dataset_digest": "1"}], ""),
    ],
)
def test_datasets_restrict_the_metrics_of_a_filter(models, datasets, expected):
    assert "".join(sorted(models.found("metrics.acc > 0.4", datasets=datasets))) == expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([{"field_name": "name"}], "abc"),
        ([{"field_name": "name", "ascending": False}], "cba"),
        (
            [
                {"field_name": "metrics.acc", "dataset_name": "d", "dataset_digest": "1"},
                {"field_name": "name"},
            ],
            "abc",
        ),
        ([{"field_name": "metrics.acc", "dataset_name": "d", "ascending": False}], "abc"),
        ([{"field_name": "creation_timestamp"}, {"field_name": "name"}], "abc"),
    ],
)
def test_order(models, order, expected):
    assert models.found(order_by=order) == expected


@pytest.mark.parametrize("field", ["params.lr", "nonsense", "metric.acc"])
def test_order_by_anything_else_is_refused(models, field):
    with pytest.raises(MlflowException) as failure:
        models.found(order_by=[{"field_name": field}])
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"


def test_pages_follow_each_other(models):
    order = [{"field_name": "name"}]
    first = models.client.search_logged_models([models.experiment], order_by=order, max_results=2)
    assert [model.name for model in first] == ["a", "b"]
    assert models.found(order_by=order, max_results=2, page_token=first.token) == "c"


def test_a_page_token_of_another_search_is_refused(models):
    first = models.client.search_logged_models([models.experiment], max_results=1)
    with pytest.raises(MlflowException) as failure:
        models.found("name = 'a'", page_token=first.token)
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"


def test_fluent_search_is_a_frame(models):
    frame = mlflow.search_logged_models([models.experiment], "params.lr = '0.1'")
    assert list(frame["model_id"]) == [models.ids["a"]]


@pytest.mark.parametrize("text", ["name = 'a' OR name = 'b'", "metric.acc > 1", "params.lr > 1", "name"])
def test_filter_outside_the_grammar_is_refused(models, text):
    with pytest.raises(MlflowException) as failure:
        models.found(text)
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"


@pytest.mark.shoso_only
@pytest.mark.parametrize("text", ["nonsense = 'a'", "metrics.acc > 'x'"])
def test_filter_of_what_no_model_has_is_a_bad_request(models, text):
    with pytest.raises(MlflowException) as failure:
        models.found(text)
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"
