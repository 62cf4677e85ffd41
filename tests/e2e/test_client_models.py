"""A scikit-learn model by MLflow's client: logged with a run, loaded by `runs:/` and by its files."""

from __future__ import annotations

import inspect
from pathlib import Path

import mlflow
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

X = np.array([[0.0], [1.0], [2.0], [3.0]])
Y = np.array([0, 0, 1, 1])


@pytest.fixture(scope="module")
def fitted():
    return LogisticRegression().fit(X, Y)


def log_model(model, name):
    """MLflow 3 calls it name, MLflow 2 artifact_path."""
    word = "name" if "name" in inspect.signature(mlflow.sklearn.log_model).parameters else "artifact_path"
    requirements = ["scikit-learn"]  # given, or the client would start a process to find them out
    return mlflow.sklearn.log_model(model, **{word: name}, pip_requirements=requirements)


@pytest.fixture
def logged(experiment, fitted):
    """The run and what log_model returned."""
    with mlflow.start_run(experiment_id=experiment) as run:
        return run, log_model(fitted, "clf")


def test_loaded_by_run_and_name(logged):
    run, _ = logged
    model = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/clf")
    assert list(model.predict(X)) == list(Y)


def test_loaded_as_pyfunc_by_run_and_name(logged):
    run, _ = logged
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/clf")
    assert list(model.predict(X)) == list(Y)
    assert model.metadata.run_id == run.info.run_id


def test_loaded_by_the_uri_that_log_model_returned(logged):
    _, info = logged
    assert list(mlflow.sklearn.load_model(info.model_uri).predict(X)) == list(Y)


def test_loaded_from_a_local_copy(logged, tmp_path):
    run, _ = logged
    local = mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/clf", dst_path=tmp_path)
    assert (Path(local) / "MLmodel").is_file()
    assert list(mlflow.sklearn.load_model(local).predict(X)) == list(Y)


def test_listed_below_the_run(client, logged):
    run, _ = logged
    names = [info.path for info in client.list_artifacts(run.info.run_id, "clf")]
    assert "clf/MLmodel" in names
    assert "clf/requirements.txt" in names


def test_model_info_by_run_and_name(logged):
    run, info = logged
    found = mlflow.models.get_model_info(f"runs:/{run.info.run_id}/clf")
    assert found.model_uuid == info.model_uuid
    assert "sklearn" in found.flavors


def test_a_model_nobody_logged_is_not_found(run_id):
    with pytest.raises((mlflow.exceptions.MlflowException, OSError)):
        mlflow.sklearn.load_model(f"runs:/{run_id}/nothing")


def test_autolog_of_a_real_fit_keeps_params_metrics_and_the_model(client, experiment):
    mlflow.sklearn.autolog(log_input_examples=False, silent=True)
    try:
        with mlflow.start_run(experiment_id=experiment) as run:
            LogisticRegression(C=0.5).fit(X, Y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    data = client.get_run(run.info.run_id).data
    assert data.params["C"] == "0.5"
    assert data.metrics["training_accuracy_score"] == 1.0
    assert data.tags["estimator_name"] == "LogisticRegression"
    model = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    assert list(model.predict(X)) == list(Y)


def test_autolog_keeps_plots_and_the_dataset(client, experiment):
    mlflow.sklearn.autolog(silent=True)
    try:
        with mlflow.start_run(experiment_id=experiment) as run:
            LogisticRegression().fit(X, Y)
    finally:
        mlflow.sklearn.autolog(disable=True)
    names = {info.path for info in client.list_artifacts(run.info.run_id)}
    assert {"training_confusion_matrix.png", "estimator.html"} <= names
    [entry] = client.get_run(run.info.run_id).inputs.dataset_inputs
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "train")]
