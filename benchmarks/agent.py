"""A real MLflow client that does what it is told: one JSON line in, one JSON line out.

Runs in the mlflow environment. It stays alive between commands, so that no figure holds the import of
mlflow, and talks to both servers, so that neither has a client of its own.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

from benchmarks.orders import Answer, digest, serve, timed


def log_metric(uri: str, run: str, seconds: float, start_at: float = 0.0) -> Answer:
    """Log points with rising steps for `seconds`, from `start_at` on: monotonic time, one clock for all."""
    client = MlflowClient(uri)
    return _repeat(lambda n: client.log_metric(run, "loss", 0.5, step=n), seconds, start_at)


def create_run(uri: str, experiment: str, seconds: float) -> Answer:
    """Create runs until the time is over."""
    client = MlflowClient(uri)
    return _repeat(lambda n: client.create_run(experiment, run_name=f"run-{n}"), seconds, 0.0)


def log_batch(uri: str, run: str, calls: int, *, keys: int, steps: int, first: int) -> Answer:
    """Log `calls` batches of keys x steps metrics, all of them distinct."""
    client = MlflowClient(uri)
    batches = [_batch(keys, range(first + n * steps, first + (n + 1) * steps)) for n in range(calls)]
    began = time.perf_counter()
    for batch in batches:
        client.log_batch(run, metrics=batch)
    return {"seconds": time.perf_counter() - began}


def search(uri: str, experiment: str, text: str, *, order_by: list[str], page: int, calls: int) -> Answer:
    """One page, `calls` times: milliseconds of each call, and what came back."""
    client = MlflowClient(uri)
    times, found = [], []
    for _ in range(calls):
        began = time.perf_counter()
        found = client.search_runs([experiment], text, max_results=page, order_by=order_by)
        times.append(1000 * (time.perf_counter() - began))
    return {"ms": times, "runs": [run.info.run_id for run in found]}


def upload(uri: str, run: str, path: str, folder: str) -> Answer:
    """Send one file, or a whole folder, to `folder` of the run's artifacts."""
    client = MlflowClient(uri)
    send = client.log_artifacts if Path(path).is_dir() else client.log_artifact
    return timed(lambda: send(run, path, folder))


def download(uri: str, run: str, path: str, into: str) -> Answer:
    """Fetch one file or folder of the run's artifacts."""
    client = MlflowClient(uri)
    return timed(lambda: client.download_artifacts(run, path, into))


COMMANDS: dict[str, Callable[..., Answer]] = {
    f.__name__: f for f in (log_metric, create_run, log_batch, search, upload, download, digest)
}


def _repeat(call: Callable[[int], object], seconds: float, start_at: float) -> Answer:
    time.sleep(max(0.0, start_at - time.monotonic()))
    times = []
    began = now = time.monotonic()
    while now - began < seconds:
        call(len(times))
        previous, now = now, time.monotonic()
        times.append(1000 * (now - previous))
    return {
        "calls": len(times),
        "began": began,
        "ended": now,
        "p50_ms": statistics.median(times),
        "max_ms": max(times),
    }


def _batch(keys: int, steps: range) -> list[Metric]:
    stamp = int(time.time() * 1000)
    return [Metric(f"metric-{k}", s * 0.001, stamp, s) for s in steps for k in range(keys)]


def _prepare(order: Answer) -> None:
    if "uri" in order:
        mlflow.set_tracking_uri(order["uri"])


if __name__ == "__main__":
    serve(mlflow.__version__, COMMANDS, _prepare)
