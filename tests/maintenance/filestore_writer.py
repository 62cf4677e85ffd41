"""Fills an MLflow file store, by whichever MLflow runs this: `python filestore_writer.py FOLDER`.

Prints what that MLflow itself reads from it, as `seen` does; from MLflow 1.30 on. Of the URI of a database it
does that alone.
"""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

import mlflow
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.tracking import MlflowClient

VERSION = tuple(int(part) for part in mlflow.__version__.split(".")[:2])
LARGEST = sys.float_info.max


def write(client: MlflowClient, folder: Path) -> None:
    """Experiments in every stage, runs of every kind, a registry."""
    first = client.create_experiment("- first: ünïcode, #1")
    client.set_experiment_tag(first, "team", "a\nb: c")
    second = client.create_experiment("second", artifact_location=str(folder / "elsewhere"))
    gone = client.create_experiment("gone")
    _runs(client, first)
    run = client.create_run(second, start_time=5)
    client.set_terminated(run.info.run_id, "KILLED", 7)
    client.create_run(gone)
    client.delete_experiment(gone)
    default = client.create_run("0")
    client.log_text(default.info.run_id, "default's", "note.txt")
    if VERSION >= (2, 0):
        _registry(client, first)
    if VERSION >= (2, 9):
        _inputs(client, first)
    if VERSION >= (3, 0):
        _logged_models(client, first)


def _runs(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment, start_time=1234567890123, tags={"mlflow.runName": "the one"})
    run_id = run.info.run_id
    values = [0.1, -1e-300, math.nan, math.inf, -math.inf, 1e308, 3]
    points = [Metric("val/loss a", value, 1000 + step, step - 3) for step, value in enumerate(values)]
    client.log_batch(run_id, [*points, Metric("one", 1.0, 5, 0)], [], [])
    for number in range(3):
        client.log_metric(run_id, "one", number, timestamp=5, step=0)
    params = [
        Param("deep/er/key", "v"),
        Param("empty", ""),
        Param("long", "x" * 250),
        Param("lines", "a\n\n b "),
    ]
    client.log_batch(run_id, [], params, [RunTag("tag", "ü: [1, 2]"), RunTag("n", "null")])
    client.log_text(run_id, "text", "folder/text.txt")
    client.set_terminated(run_id, "FINISHED", 1234567890999)
    deleted = client.create_run(experiment, tags={"mlflow.user": "nobody"})
    client.delete_run(deleted.info.run_id)
    failed = client.create_run(experiment)
    client.set_terminated(failed.info.run_id, "FAILED")


def _registry(client: MlflowClient, experiment: str) -> None:
    run = client.create_run(experiment)
    run_id = run.info.run_id
    client.log_text(run_id, "flavors: {}", "model/MLmodel")
    client.create_registered_model("model", tags={"a": "b"}, description="long " * 100 + "\nlast: line")
    source = f"{run.info.artifact_uri}/model"
    for number in range(1, 4):
        client.create_model_version(
            "model", source, run_id, tags={"n": str(number)}, description=f"no. {number}"
        )
    client.delete_model_version("model", "2")
    client.create_registered_model("empty")
    client.transition_model_version_stage("model", "1", "Production")
    if VERSION >= (2, 3):
        client.set_registered_model_alias("model", "champion", "3")


def _inputs(client: MlflowClient, experiment: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset("d", "digest", "code", '{"a": 1}', schema='{"x": "yes"}', profile="p" * 300)
    for context in ("train", "eval"):
        run = client.create_run(experiment)
        tag = InputTag("mlflow.data.context", context)
        client.log_inputs(run.info.run_id, [DatasetInput(dataset, [tag])])


def _logged_models(client: MlflowClient, experiment: str) -> None:
    from mlflow.entities import LoggedModelOutput

    run = client.create_run(experiment)
    run_id = run.info.run_id
    model = client.create_logged_model(
        experiment, name="net", source_run_id=run_id, tags={"t": "v"}, params={"p": "1"}, model_type="x"
    )
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 3)])
    client.log_metric(
        run_id, "acc", 0.5, 10, 1, model_id=model.model_id, dataset_name="d", dataset_digest="1"
    )
    client.finalize_logged_model(model.model_id, "READY")
    other = client.create_logged_model(experiment, name="gone")
    client.delete_logged_model(other.model_id)


# -- what a client sees -----------------------------------------------------------------------------------


def seen(client: MlflowClient) -> dict:
    """Everything, as this MLflow's client sees it; infinities as databases keep them."""
    experiments = client.search_experiments(view_type=ViewType.ALL)
    found = {
        "experiments": {one.experiment_id: _experiment(one) for one in experiments},
        "runs": {
            run.info.run_id: _run(client, run)
            for one in experiments
            for run in client.search_runs([one.experiment_id], run_view_type=ViewType.ALL)
        },
    }
    if VERSION >= (2, 0):
        found["registered"] = {one.name: _registered(one) for one in client.search_registered_models()}
        found["versions"] = {
            f"{one.name} {one.version}": _version(one) for one in client.search_model_versions("name='model'")
        }
    if VERSION >= (2, 3) and "model" in found["registered"]:
        found["champion"] = str(client.get_model_version_by_alias("model", "champion").version)
    if VERSION >= (3, 0):
        models = client.search_logged_models([one.experiment_id for one in experiments])
        found["models"] = {one.model_id: _model(one) for one in models}
    return found


def _experiment(one) -> list:
    return [
        one.name,
        one.artifact_location,
        one.lifecycle_stage,
        one.tags,
        one.creation_time,
        one.last_update_time,
    ]


def _run(client: MlflowClient, run) -> list:
    info, data = run.info, run.data
    history = {key: [_point(p) for p in client.get_metric_history(info.run_id, key)] for key in data.metrics}
    times = [info.start_time, info.end_time]
    name = [info.run_name, info.user_id or "", info.status, info.lifecycle_stage, info.artifact_uri]
    metrics = {key: _finite(value) for key, value in data.metrics.items()}
    points = {key: sorted(map(list, set(map(tuple, points)))) for key, points in history.items()}
    return [info.experiment_id, name, times, metrics, points, data.params, data.tags, _read(run)]


def _read(run) -> list:
    inputs = getattr(run, "inputs", None)
    datasets = [
        [dict(one.dataset), {tag.key: tag.value for tag in one.tags}]
        for one in (inputs.dataset_inputs if inputs else [])
    ]
    outputs = getattr(run, "outputs", None)
    return [datasets, [[one.model_id, one.step] for one in (outputs.model_outputs if outputs else [])]]


def _point(point) -> tuple:
    return point.timestamp, point.step, _finite(point.value)


def _finite(value: float) -> str:
    return repr(max(min(value, LARGEST), -LARGEST) if not math.isnan(value) else value)


def _registered(one) -> list:
    return [one.creation_timestamp, one.last_updated_timestamp, one.description or "", one.tags]


def _version(one) -> list:
    times = [one.creation_timestamp, one.last_updated_timestamp]
    said = [one.description or "", one.status, one.current_stage, one.source, one.run_id, one.tags]
    return [*times, *said]


def _model(one) -> list:
    times = [one.creation_timestamp, one.last_updated_timestamp, str(one.status), one.experiment_id]
    metrics = [[m.key, m.value, m.timestamp, m.step, m.run_id, m.dataset_name] for m in one.metrics or []]
    return [
        one.name,
        one.artifact_location,
        one.model_type,
        one.source_run_id,
        times,
        one.tags,
        one.params,
        metrics,
    ]


if __name__ == "__main__":
    uri = sys.argv[1]
    mlflow.set_tracking_uri(uri if ":" in uri else Path(uri).as_uri())
    made = MlflowClient()
    if ":" not in uri:
        write(made, Path(uri))
    sys.stdout.write(json.dumps(seen(made)))
