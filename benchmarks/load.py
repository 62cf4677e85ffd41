"""Raw HTTP load on log-metric, and the count of what was kept of it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT
from benchmarks.servers import Server, child_environment
from benchmarks.wire import Connection

LOG_METRIC = "/api/2.0/mlflow/runs/log-metric"
SCRIPT = Path(__file__).with_name("log_metric.lua")
PAGE = 25_000


class LostWriteError(RuntimeError):
    """The server holds another number of points than it acknowledged."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the generator saw; `acknowledged` counts 2xx replies."""

    acknowledged: int
    refused: int
    broken: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Acknowledged points per second."""
        return self.acknowledged / self.seconds


@dataclass(frozen=True, slots=True)
class Generator:
    """wrk with one thread, or this package's own program; both cost a fraction of what a server does."""

    name: str
    python: Path
    wrk: str | None

    def log_metric(
        self, port: int, run: str, *, connections: int, seconds: float, key: str = "loss"
    ) -> Outcome:
        """Log one distinct point per request for `seconds`, each connection one request at a time."""
        command = self._wrk if self.name == "wrk" else self._flood
        arguments = command(port, run, key, connections, seconds)
        environment = child_environment(self.python.parent)
        done = subprocess.run(
            arguments,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds + 60,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name} failed: {(done.stderr or done.stdout).strip()[-300:]}")
        return _outcome(done.stdout)

    def _wrk(self, port: int, run: str, key: str, connections: int, seconds: float) -> list[str]:
        url = f"http://127.0.0.1:{port}{LOG_METRIC}"
        # wrk takes whole seconds only
        limits = [
            "--threads",
            "1",
            "--connections",
            str(connections),
            "--duration",
            f"{max(1, round(seconds))}s",
        ]
        return [str(self.wrk), *limits, "--timeout", "30s", "--script", str(SCRIPT), url, "--", run, key]

    def _flood(self, port: int, run: str, key: str, connections: int, seconds: float) -> list[str]:
        limits = ["--connections", str(connections), "--seconds", str(seconds)]
        return [str(self.python), "-m", "benchmarks.flood", str(port), LOG_METRIC, run, key, *limits]


def new_run(server: Server, experiment: str = "0") -> str:
    """The id of a run made for one sample, so that its points can be counted."""
    with Connection(server.port) as connection:
        made = connection.call("POST", "runs/create", {"experiment_id": experiment, "start_time": 0})
    return str(made["run"]["info"]["run_id"])


def stored_points(server: Server, run: str, key: str = "loss") -> int:
    """Distinct steps in the history of a metric, as the server gives it back."""
    steps: set[int] = set()
    query = {"run_id": run, "metric_key": key, "max_results": PAGE}
    with Connection(server.port) as connection:
        while True:
            page = connection.call("GET", "metrics/get-history", query)
            steps.update(metric.get("step", 0) for metric in page.get("metrics", ()))
            if not page.get("next_page_token"):
                return len(steps)
            query["page_token"] = page["next_page_token"]


def check_kept(stored: int, acknowledged: int, in_flight: int = 0) -> None:
    """Every acknowledged point is there, and none beyond those that were in flight when the load ended."""
    if not acknowledged <= stored <= acknowledged + in_flight:
        raise LostWriteError(f"{acknowledged} points were acknowledged, {stored} are stored")


def _outcome(printed: str) -> Outcome:
    seen = json.loads(printed.strip().splitlines()[-1])
    acknowledged = seen["requests"] - seen["refused"]
    return Outcome(
        acknowledged, seen["refused"], seen["broken"], seen["seconds"], seen["p50_ms"], seen["p99_ms"]
    )
