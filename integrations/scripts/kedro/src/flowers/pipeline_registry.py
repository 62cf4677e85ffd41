"""A training pipeline whose inference half kedro-mlflow logs as a model."""

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.pipeline import Pipeline, node
from kedro_mlflow.pipeline import pipeline_ml_factory
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

Parameters = dict[str, Any]


def split(table: pd.DataFrame, how: Parameters) -> tuple[pd.DataFrame, ...]:
    """Measures to train with and to try on, and their kinds."""
    measures, kinds = table.drop(columns="target"), table[["target"]]
    return tuple(train_test_split(measures, kinds, test_size=how["share"], random_state=how["seed"]))


def summarise(table: pd.DataFrame) -> dict[str, float]:
    """The mean of every column."""
    return table.mean().round(6).to_dict()


def fit(measures: pd.DataFrame, kinds: pd.DataFrame, how: Parameters) -> tuple[Any, Any, Any]:
    """A scaler and a classifier; the classifier twice, for two datasets."""
    scaler = StandardScaler().fit(measures)
    classifier = LogisticRegression(**how).fit(scaler.transform(measures), kinds["target"])
    return scaler, classifier, classifier


def judge(
    scaler: StandardScaler,
    classifier: LogisticRegression,
    measures: pd.DataFrame,
    kinds: pd.DataFrame,
) -> tuple[float, list[float]]:
    """The share of flowers that were recognised, and the loss on the first ones, one step each."""
    scaled = scaler.transform(measures)
    losses = [
        log_loss(kinds["target"][:count], classifier.predict_proba(scaled[:count]), labels=[0, 1, 2])
        for count in range(1, 6)
    ]
    return classifier.score(scaled, kinds["target"]), losses


def predict(scaler: StandardScaler, classifier: LogisticRegression, table: pd.DataFrame) -> pd.DataFrame:
    """The kind of every flower."""
    measures = table.drop(columns="target", errors="ignore")
    return pd.DataFrame({"kind": classifier.predict(scaler.transform(measures))})


def register_pipelines() -> dict[str, Pipeline]:
    """What `kedro run` runs."""
    names = ["measures", "measures_aside", "kinds", "kinds_aside"]
    inference = Pipeline([node(predict, ["scaler", "classifier", "table"], "kinds_found")])
    training = Pipeline(
        [
            node(split, ["table", "params:split"], names),
            node(summarise, "table", "summary"),
            node(fit, ["measures", "kinds", "params:model"], ["scaler", "classifier", "logged"]),
            node(judge, ["scaler", "classifier", "measures_aside", "kinds_aside"], ["accuracy", "losses"]),
        ]
    )
    logged = {"name": "pipeline", "code_paths": [str(Path(__file__).parent)]}
    both = pipeline_ml_factory(training, inference, input_name="table", log_model_kwargs=logged)
    return {"__default__": both}
