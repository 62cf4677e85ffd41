"""What is in a tracking server, seen from outside and from its database; and a team's work in it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from pprint import pformat
from typing import Any

import mlflow
import numpy as np
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from sqlalchemy import Connection, create_engine, inspect
from sqlalchemy.pool import NullPool
from tests.e2e.raw import Api

ALL = 3
"""MLflow's ViewType."""

IS_PROMPT = "tags.`mlflow.prompt.is_prompt` = 'true'"


# -- a team's work ----------------------------------------------------------------------------------------


def work(label: str, folder: Path) -> None:
    """All that MLflow's client can leave in a server that it is set to; names have the label in them."""
    client = mlflow.MlflowClient()
    experiment = client.create_experiment(f"{label}-main", tags={"team": label})
    mlflow.set_experiment(experiment_id=experiment)
    client.set_experiment_tag(experiment, "mlflow.note.content", "what it is for")
    run_id = train(label, folder)
    deleted_and_restored(client, experiment, label)
    registered(client, run_id, label)
    prompts(label)


def train(label: str, folder: Path) -> str:
    """A run with a nested one, a dataset, a model and artifacts; its id."""
    with mlflow.start_run(run_name=f"{label}-parent", tags={"kind": "train"}) as run:
        mlflow.log_params({"lr": 0.1, "layers": "[64, 32]", "long": "x" * 6000, "empty": ""})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"nan": math.nan, "inf": math.inf, "minus": -math.inf, "zero": 0.0}, step=-1)
        data = mlflow.data.from_numpy(np.arange(6).reshape(2, 3), name=f"{label}-data")
        mlflow.log_input(data, context="training", tags={"split": "1"})
        mlflow.log_text("héllo", "notes/ü 1.txt")
        mlflow.log_dict({"a": 1}, "conf.json")
        (folder / "weights").mkdir(exist_ok=True)
        (folder / "weights" / "w.bin").write_bytes(bytes(range(256)) * 512)
        mlflow.log_artifacts(str(folder / "weights"), "weights")
        with mlflow.start_run(run_name=f"{label}-child", nested=True):
            mlflow.log_metric("loss", 0.25)
        model = mlflow.initialize_logged_model(f"{label}-model", params={"depth": "3"}, tags={"t": "1"})
        mlflow.log_metric("accuracy", 0.5, model_id=model.model_id, dataset=data)
        mlflow.finalize_logged_model(model.model_id, "READY")
        mlflow.MlflowClient().log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 3)])
    mlflow.end_run()
    return str(run.info.run_id)


def deleted_and_restored(client: mlflow.MlflowClient, experiment: str, label: str) -> None:
    """A run that is deleted, one that was, and an experiment that is."""
    for name in ("deleted", "restored"):
        run = client.create_run(experiment, run_name=f"{label}-{name}", start_time=5)
        client.log_batch(run.info.run_id, [Metric("m", 1.5, 7, 2)], [Param("p", "1")], [RunTag("t", "v")])
        client.set_terminated(run.info.run_id, "FAILED")
        client.delete_run(run.info.run_id)
    client.restore_run(run.info.run_id)
    gone = client.create_experiment(f"{label}-gone")
    client.create_run(gone, run_name=f"{label}-in-gone")
    client.delete_experiment(gone)


def registered(client: mlflow.MlflowClient, run_id: str, label: str) -> None:
    """Versions in stages, one of them deleted; tags and aliases."""
    name = f"{label}-registered"
    client.create_registered_model(name, tags={"k": "v"}, description="what it does")
    for number in range(3):
        client.create_model_version(name, f"runs:/{run_id}/weights", run_id, tags={"n": str(number)})
    client.transition_model_version_stage(name, "1", "Staging")
    client.transition_model_version_stage(name, "2", "Production")
    client.set_registered_model_alias(name, "best", "2")
    client.update_model_version(name, "2", description="the best one")
    client.delete_model_version(name, "3")


def prompts(label: str) -> None:
    """A prompt with two versions."""
    for text in ("Say {{what}}.", "Say {{what}}!"):
        mlflow.genai.register_prompt(f"{label}-prompt", text, commit_message="why", tags={"team": "x"})
    mlflow.genai.set_prompt_alias(f"{label}-prompt", "production", 1)


def beside(uri: str) -> None:
    """What Shoso has nothing to do with: a trace, and an endpoint of the gateway."""
    with mlflow.start_span("a trace") as span:
        span.set_inputs({"question": "why"})
    mlflow.flush_trace_async_logging()
    api = Api(f"{uri}/api/3.0/mlflow/gateway")
    secret = _made(api, "secrets", secret_name="s", secret_value={"api_key": "k"}, provider="openai")
    model = _made(
        api, "model-definitions", name="m", secret_id=secret["secret"]["secret_id"], provider="openai",
        model_name="gpt",
    )  # fmt: skip
    model_id = model["model_definition"]["model_definition_id"]
    chosen = {"model_definition_id": model_id, "linkage_type": "PRIMARY", "weight": 1.0}
    _made(api, "endpoints", name="e", model_configs=[chosen])
    api.session.close()


def _made(api: Api, what: str, **fields: Any) -> dict[str, Any]:
    reply = api.session.post(f"{api.uri}/{what}/create", json=fields, timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def go_on(label: str, *, archive: bool = True) -> None:
    """Change what the work of that label left: as one does who comes back to it.

    MLflow can't `archive` the versions that were in a stage before where psycopg 3 is PostgreSQL's driver.
    """
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(f"{label}-main").experiment_id
    runs = {run.info.run_name: run.info.run_id for run in client.search_runs([experiment], run_view_type=ALL)}
    parent = runs[f"{label}-parent"]
    client.log_metric(parent, "loss", 0.125, step=9)
    client.log_metric(parent, "loss", 7.5, step=1)
    client.log_param(parent, "added", "later")
    client.set_tag(parent, "kind", "changed")
    client.delete_tag(runs[f"{label}-restored"], "t")
    client.restore_run(runs[f"{label}-deleted"])
    client.delete_run(runs[f"{label}-child"])
    client.update_run(parent, name=f"{label}-renamed")
    client.rename_experiment(experiment, f"{label}-moved")
    client.restore_experiment(client.get_experiment_by_name(f"{label}-gone").experiment_id)
    client.rename_registered_model(f"{label}-registered", f"{label}-moved")
    client.create_model_version(f"{label}-moved", f"runs:/{parent}/weights", parent)
    client.set_registered_model_alias(f"{label}-moved", "best", "4")
    client.transition_model_version_stage(f"{label}-moved", "4", "Production", archive)
    mlflow.genai.register_prompt(f"{label}-prompt", "Say {{what}}?")


# -- by MLflow's client -----------------------------------------------------------------------------------


def seen() -> dict[str, Any]:
    """What MLflow's client finds where it is set to: a server, or the database itself."""
    client = mlflow.MlflowClient()
    experiments = client.search_experiments(view_type=ALL)
    ids = [one.experiment_id for one in experiments]
    runs = [client.get_run(run.info.run_id) for run in client.search_runs(ids, run_view_type=ALL)]
    models = client.search_logged_models(ids)
    found = {
        "experiments": [vars(one) for one in experiments],
        "runs": [run.to_dictionary() for run in runs],
        "histories": [
            [vars(point) for point in client.get_metric_history(run.info.run_id, key)]
            for run in runs
            for key in sorted(run.data.metrics)
        ],
        "logged models": [one.to_dictionary() for one in models],
        "models": [vars(client.get_registered_model(one.name)) for one in client.search_registered_models()],
        "versions": [
            vars(client.get_model_version(one.name, one.version)) for one in client.search_model_versions()
        ],
        "prompts": [vars(one) for one in client.search_registered_models(IS_PROMPT)],
        "prompts' versions": [vars(one) for one in client.search_model_versions(IS_PROMPT)],
    }
    return _alike(json.loads(json.dumps(found, default=_plainly)))


def _plainly(value: Any) -> Any:
    """An entity, or a list of protobuf's, as JSON has it."""
    return dict(vars(value)) if hasattr(value, "__dict__") else list(value)


def _alike(value: Any) -> Any:
    """Without what a server's reply says otherwise: None, numbers as text, aliases of listed versions."""
    if isinstance(value, list):
        return [_alike(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, dict):
        return value
    unlike = {"_deployment_job_id", "_deployment_job_state", *(["_aliases"] if "_version" in value else [])}
    return {key: _alike(item) for key, item in value.items() if item not in (None, "") and key not in unlike}


# -- from outside -----------------------------------------------------------------------------------------


def replies(uri: str, workspace: str = "") -> dict[str, Any]:
    """What a server replies to everything that can be asked about what is in it."""
    api = Api(uri)
    api.session.headers.update({"X-MLFLOW-WORKSPACE": workspace} if workspace else {})
    found = dict(_asked(api))
    api.session.close()
    return {call: _ordered(reply) for call, reply in found.items()}


def different(one: dict[str, Any], other: dict[str, Any]) -> dict[str, list[str]]:
    """What isn't the same in both: the lines that only one of them has."""
    keys = one.keys() | other.keys()
    return {
        key: _lines(one.get(key), other.get(key)) for key in sorted(keys) if one.get(key) != other.get(key)
    }


def _lines(one: Any, other: Any) -> list[str]:
    left, right = (pformat(each, width=100).splitlines() for each in (one, other))
    return [line for line in ndiff(left, right) if line[0] in "+-"]


def _asked(api: Api) -> Iterator[tuple[str, Any]]:
    experiments = _post(api, "experiments/search", max_results=1000, view_type="ALL")
    yield "experiments", experiments
    ids = [one["experiment_id"] for one in experiments["experiments"]]
    for id_ in ids:
        yield f"experiment {id_}", api.ok("GET", "experiments/get", experiment_id=id_)
    runs = _post(api, "runs/search", experiment_ids=ids, run_view_type="ALL", max_results=1000)
    yield "runs", [_as_mlflow_finds_it(run) for run in runs["runs"]]
    for run in runs["runs"]:
        yield from _about_run(api, run)
    models = _post(api, "logged-models/search", experiment_ids=ids, max_results=50)
    yield "logged models", models
    for model in models.get("models", []):
        id_ = model["info"]["model_id"]
        yield f"logged model {id_}", api.ok("GET", f"logged-models/{id_}")
    yield from _about_registry(api)


def _about_run(api: Api, run: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    run_id = run["info"]["run_id"]
    yield f"run {run_id}", api.ok("GET", "runs/get", run_id=run_id)
    for metric in run["data"].get("metrics", []):
        key = metric["key"]
        history = api.ok("GET", "metrics/get-history", run_id=run_id, metric_key=key)
        yield f"history of {run_id} {key}", history
    yield from _about_artifacts(api, run_id, "")


def _about_artifacts(api: Api, run_id: str, path: str) -> Iterator[tuple[str, Any]]:
    listed = api.ok("GET", "artifacts/list", run_id=run_id, **({"path": path} if path else {}))
    yield f"artifacts of {run_id} {path}", listed
    for one in listed.get("files", []):
        if one.get("is_dir"):
            yield from _about_artifacts(api, run_id, one["path"])
        else:
            query = {"run_id": run_id, "path": one["path"]}
            read = api.session.get(f"{api.uri}/get-artifact", params=query, timeout=60)
            yield f"artifact of {run_id} {one['path']}", (read.status_code, read.content)


def _about_registry(api: Api) -> Iterator[tuple[str, Any]]:
    names = []
    for filter_ in ("", IS_PROMPT):
        models = api.ok("GET", "registered-models/search", max_results=100, filter=filter_)
        yield f"models {filter_}", _without_aliases(models)
        names += [one["name"] for one in models.get("registered_models", [])]
        versions = api.ok("GET", "model-versions/search", max_results=1000, filter=filter_)
        yield f"versions {filter_}", _without_aliases(versions)
        for one in versions.get("model_versions", []):
            which = {"name": one["name"], "version": one["version"]}
            yield f"version {which}", api.ok("GET", "model-versions/get", **which)
            yield f"place of {which}", api.ok("GET", "model-versions/get-download-uri", **which)
    for name in names:
        model = api.ok("GET", "registered-models/get", name=name)
        yield f"model {name}", _without_aliases(model)
        latest = _post(api, "registered-models/get-latest-versions", name=name)
        yield f"latest of {name}", _without_aliases(latest)
        for alias in model["registered_model"].get("aliases", []):
            which = {"name": name, "alias": alias["alias"]}
            yield f"alias {which}", api.ok("GET", "registered-models/alias", **which)


def _as_mlflow_finds_it(run: dict[str, Any]) -> dict[str, Any]:
    """A run without the logged models that it read and made: MLflow shows them by runs/get alone."""
    inputs = {key: value for key, value in run.get("inputs", {}).items() if key != "model_inputs"}
    return {"info": run["info"], "data": run["data"], "inputs": inputs}


def _without_aliases(reply: Any) -> Any:
    """Shoso shows the aliases of versions that it lists, and MLflow doesn't."""
    if isinstance(reply, list):
        return [_without_aliases(one) for one in reply]
    if not isinstance(reply, dict):
        return reply
    hidden = {"aliases"} if "version" in reply else set()
    return {key: _without_aliases(value) for key, value in reply.items() if key not in hidden}


def _post(api: Api, path: str, **body: Any) -> dict[str, Any]:
    return api.ok("POST", path, body)


def _ordered(value: Any) -> Any:
    """With what has no order of its own (tags, params, metrics, versions) in one."""
    if isinstance(value, dict):
        return {key: _ordered(item) for key, item in value.items()}
    if isinstance(value, list):
        items = [_ordered(item) for item in value]
        keyed = all(isinstance(item, dict) and item.keys() & {"key", "alias", "version"} for item in items)
        return sorted(items, key=str) if keyed else items
    return value


# -- from inside ------------------------------------------------------------------------------------------

Rows = dict[str, Counter[tuple[tuple[str, Any], ...]]]
"""By table: each row as its columns' names and values."""


def rows(uri: str) -> Rows:
    """Every row of every table that is MLflow's."""
    engine = create_engine(uri, poolclass=NullPool)
    with engine.connect() as connection:
        tables = [name for name in inspect(connection).get_table_names() if not name.startswith("shoso_")]
        found = {table: Counter(_rows(connection, table)) for table in tables}
    engine.dispose()
    return found


def _rows(connection: Connection, table: str) -> Iterator[tuple[tuple[str, Any], ...]]:
    for row in connection.exec_driver_sql(f"SELECT * FROM {table}").mappings():
        yield tuple(sorted((name, _plain(value)) for name, value in row.items()))


def _plain(value: Any) -> Any:
    """A value that can be counted."""
    return repr(value) if isinstance(value, dict | list | memoryview) else value


def added(before: Rows, after: Rows, label: str) -> Rows:
    """The rows that came, without what no two pieces of work have in common: label, ids and times."""
    new = {table: after[table] - before[table] for table in after}
    ids = sorted({dict(row)["experiment_id"] for row in new["experiments"]})
    number = "|".join(map(str, ids))
    workspace = "/workspaces/default(?=/)"  # where MLflow puts artifacts once there are workspaces
    general = re.compile(rf"{label}|[0-9a-f]{{32}}|\d{{13}}|{workspace}|(?<=[/,])(?:{number})(?=[/,]|$)")
    return {
        table: Counter(
            tuple((name, _general(name, value, general)) for name, value in row) for row in found.elements()
        )
        for table, found in new.items()
    }


def _general(name: str, value: Any, general: re.Pattern[str]) -> Any:
    if name == "experiment_id" or (isinstance(value, int) and value > 10**12):
        return name
    return general.sub(_dots, value) if isinstance(value, str) else value


def _dots(found: re.Match[str]) -> str:
    return "" if found[0].startswith("/") else "…"


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    before = seen()
    go_on(sys.argv[2], archive=not sys.argv[1].startswith("postgresql"))
    sys.stdout.write(json.dumps([before, seen()]))
