"""A client that logs for some seconds and prints what was acknowledged: MLflow's own, or plain HTTP.

    python -m tests.e2e.fleet_client mlflow|http URI NUMBER RUN SHARED_RUN MODEL SECONDS GO

It says `ready` and begins as soon as there is a file GO. What fails is tried again until it is
acknowledged, as MLflow's client does it, but for a database that is locked.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from tests.e2e.raw import Api

POINTS = 5
"""Metrics in a batch."""


def batch(step: int) -> dict[str, Any]:
    """A batch as the REST API has it."""
    points = [point(f"b{number}", step) for number in range(POINTS)]
    params = [{"key": f"p{step}", "value": str(step)}]
    return {"metrics": points, "params": params, "tags": [{"key": f"t{step}", "value": str(step)}]}


def point(key: str, step: int) -> dict[str, Any]:
    """A point whose value is told by its step."""
    return {"key": key, "value": step / 2, "timestamp": 1000 + step, "step": step}


class Http:
    """Plain HTTP; a 5xx and a lost connection are tried again at once."""

    def __init__(self, uri: str) -> None:
        self._api = Api(uri)
        self.again = 0

    def log_metric(self, run: str, key: str, step: int) -> None:
        self._post("runs/log-metric", {"run_id": run, **point(key, step)})

    def log_batch(self, run: str, step: int) -> None:
        self._post("runs/log-batch", {"run_id": run, **batch(step)})

    def set_tag(self, run: str, value: str) -> None:
        self._post("runs/set-tag", {"run_id": run, "key": "last", "value": value})

    def put(self, run: str, name: str) -> None:
        path = f"{run}/{name}"
        target = f"{self._api.uri}/api/2.0/mlflow-artifacts/artifacts/fleet/{path}"
        self._again(lambda: self._api.session.put(target, data=path.encode(), timeout=30))

    def version(self, model: str) -> str:
        made = self._post("model-versions/create", {"name": model, "source": "s3://bucket/model"})
        return str(made.json()["model_version"]["version"])

    def _post(self, path: str, body: Any) -> requests.Response:
        return self._again(lambda: self._api.post(path, body))

    def _again(self, send: Callable[[], requests.Response]) -> requests.Response:
        while True:
            try:
                reply = send()
            except requests.ConnectionError:
                reply = None
            if reply is not None and reply.status_code == 200:
                return reply
            if reply is not None and (reply.status_code < 500 or "locked" in reply.text):
                raise RuntimeError(f"{reply.status_code} {reply.text}")
            self.again += 1
            time.sleep(0.05)


class Mlflow:
    """MLflow's client, which tries again by itself."""

    def __init__(self, uri: str) -> None:
        import mlflow

        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient(uri)

    def log_metric(self, run: str, key: str, step: int) -> None:
        self._client.log_metric(run, **point(key, step))

    def log_batch(self, run: str, step: int) -> None:
        given = batch(step)
        made = (self._entities.Metric, self._entities.Param, self._entities.RunTag)
        parts = (given["metrics"], given["params"], given["tags"])
        self._client.log_batch(
            run, *([kind(**one) for one in part] for kind, part in zip(made, parts, strict=True))
        )

    def set_tag(self, run: str, value: str) -> None:
        self._client.set_tag(run, "last", value)

    def put(self, run: str, name: str) -> None:
        self._client.log_text(run, f"{run}/{name}", name)

    def version(self, model: str) -> str:
        return str(self._client.create_model_version(model, "s3://bucket/model").version)


def log(client: Any, number: int, run: str, shared: str, model: str, seconds: float) -> dict[str, Any]:
    """Log until the time is over; what was acknowledged, and how often it was tried `again`."""
    done: dict[str, Any] = {"steps": 0, "puts": [], "versions": []}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        step = done["steps"]
        client.log_metric(run, "m", step)
        client.log_metric(shared, "shared", step * 100 + number)
        client.log_batch(run, step)
        client.set_tag(run, str(step))
        done["steps"] += 1
        if step % 3 == 0:
            client.put(run, f"{step}.txt")
            done["puts"].append(f"{step}.txt")
            done["versions"].append(client.version(model))
    return {**done, "again": getattr(client, "again", 0)}


def main(kind: str, uri: str, number: str, run: str, shared: str, model: str, seconds: str, go: str) -> None:
    """See above."""
    client = {"mlflow": Mlflow, "http": Http}[kind](uri)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while not Path(go).exists():
        time.sleep(0.01)
    sys.stdout.write(json.dumps(log(client, int(number), run, shared, model, float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
