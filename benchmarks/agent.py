"""A real MLflow client that does what it is told: one JSON line in, one JSON line out.

Runs in the mlflow environment. It stays alive between commands, so that no figure holds the import of
mlflow, and talks to both servers, so that neither has a client of its own.
"""

import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric

Answer = dict[str, Any]


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
    began, used = time.perf_counter(), time.process_time()
    send(run, path, folder)
    return {"seconds": time.perf_counter() - began, "client_cpu_s": time.process_time() - used}


def download(uri: str, run: str, path: str, into: str) -> Answer:
    """Fetch one file or folder of the run's artifacts."""
    client = MlflowClient(uri)
    began, used = time.perf_counter(), time.process_time()
    fetched = client.download_artifacts(run, path, into)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    return {"seconds": seconds, "client_cpu_s": cpu, "path": str(fetched)}


def digest(path: str) -> Answer:
    """SHA-256 of a file, or over the names and digests of a folder's files."""
    root = Path(path)
    if root.is_file():
        return {"digest": _file_digest(root)}
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    lines = "\n".join(f"{name} {_file_digest(root / name)}" for name in names)
    return {"digest": hashlib.sha256(lines.encode()).hexdigest(), "files": len(names)}


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


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _answer(line: str) -> Answer:
    order = json.loads(line)
    command = COMMANDS[order.pop("do")]
    if "uri" in order:
        mlflow.set_tracking_uri(order["uri"])
    try:
        return command(**order)
    except Exception as error:  # noqa: BLE001  whatever went wrong belongs into the report, not into a dead agent
        return {"error": f"{type(error).__name__}: {error}"[:600]}


def main() -> None:
    """Serve until stdin closes. What mlflow prints goes to stderr, so that stdout holds answers only."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    print(json.dumps({"ready": mlflow.__version__}), file=answers)
    for line in sys.stdin:
        print(json.dumps(_answer(line)), file=answers)


if __name__ == "__main__":
    main()
