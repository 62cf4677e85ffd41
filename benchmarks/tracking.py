"""Rows of metrics, runs and the bare round trip."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import ClassVar

from benchmarks import at_once, references
from benchmarks.artifacts import Peak
from benchmarks.bench import Contender, Scenario, Stage
from benchmarks.clients import ask_all
from benchmarks.load import check_kept, new_run, stored_points
from benchmarks.rows import Reading
from benchmarks.seed import HISTORY, METRICS, PARAMS, TAGS
from benchmarks.servers import HEALTH
from benchmarks.wire import Connection, json_request

KEYS, STEPS = 10, 100  # a batch: 10 metrics at 100 steps each
AT_ONCE = "the same clients, of a server that answers at once"
HEAD_START = 0.3  # seconds for every client to have read its order


class Health(Scenario):
    """The bare round trip: what no call can be faster than."""

    rows: ClassVar[tuple[str, ...]] = ("health",)

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """The median of many GETs on one connection."""
        del number
        times = []
        with Connection(contender.running.port) as connection:
            connection.exchange(HEALTH)
            for _ in range(self.bench.sizes.pings):
                began = time.perf_counter()
                connection.exchange(HEALTH)
                times.append(1000 * (time.perf_counter() - began))
        return [Reading("health", statistics.median(times))]


class OneClient(Scenario):
    """One MLflow client that logs points, then creates runs, call after call."""

    rows: ClassVar[tuple[str, ...]] = ("log_metric_1_client", "create_run_1_client")

    def prepare(self, contender: Contender) -> None:
        """Warm the connection and the routes."""
        self._calls(contender, 0.2)

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Calls per second of each."""
        del number
        return self._calls(contender, self.bench.sizes.seconds)

    def _calls(self, contender: Contender, seconds: float) -> list[Reading]:
        server, client = contender.running, self.bench.clients.one()
        run = new_run(server)
        logged = client.ask("log_metric", uri=server.uri, run=run, seconds=seconds)
        check_kept(stored_points(server, run), logged["calls"])
        created = client.ask("create_run", uri=server.uri, experiment="0", seconds=seconds)
        answers = zip(self.rows, (logged, created), strict=True)
        return [Reading(row, _rate([answer]), {"p50_ms": answer["p50_ms"]}) for row, answer in answers]

    def references(self) -> dict[str, tuple[float, str]]:
        """The disk's part."""
        return _commits(self)


class EightClients(Scenario):
    """Eight MLflow client processes, each with a run of its own, as eight trainings would."""

    rows: ClassVar[tuple[str, ...]] = ("log_metric_8_clients",)
    count = 8

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Points per second of all together; every client's points are counted afterwards."""
        del number
        server = contender.running
        runs = [new_run(server) for _ in range(self.count)]
        answers = self._ask(server.uri, runs)
        for answer, run in zip(answers, runs, strict=True):
            check_kept(stored_points(server, run), answer["calls"])
        worst = max(answer["max_ms"] for answer in answers)
        middle = statistics.median(answer["p50_ms"] for answer in answers)
        return [Reading(self.rows[0], _rate(answers), {"p50_ms": middle, "max_ms": worst})]

    def _ask(self, uri: str, runs: list[str]) -> list[dict[str, float]]:
        start_at = time.monotonic() + HEAD_START
        common = {"uri": uri, "seconds": self.bench.sizes.seconds, "start_at": start_at}
        clients = self.bench.clients.several(self.count)
        return ask_all(clients, "log_metric", [common | {"run": run} for run in runs])

    def references(self) -> dict[str, tuple[float, str]]:
        """The disk's part, and the clients'."""
        with at_once.serving() as uri:
            answers = self._ask(uri, ["0" * 32] * self.count)
        return {**_commits(self), AT_ONCE: (_rate(answers), "/s")}


class RawLogMetric(Scenario):
    """One point per request from as many keep-alive connections as the row says."""

    connections: ClassVar[int]

    def prepare(self, contender: Contender) -> None:
        """Open the routes and the writer."""
        self._load(contender, 1.0)

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Acknowledged points per second, after the count of those that were kept."""
        del number
        return [self._load(contender, self.bench.sizes.seconds)]

    def _load(self, contender: Contender, seconds: float) -> Reading:
        server = contender.running
        run = new_run(server)
        used = server.family.cpu_seconds()
        seen = self.bench.generator.log_metric(
            server.port, run, connections=self.connections, seconds=seconds
        )
        used = server.family.cpu_seconds() - used
        stored = stored_points(server, run)
        check_kept(stored, seen.acknowledged, self.connections)
        details = asdict(seen) | {"stored": stored, "server_cpu_s": used}
        failed = f"{seen.refused} requests refused, {seen.broken} broken off"
        return Reading(self.rows[0], seen.rate, details, failed if seen.refused + seen.broken else "")

    def references(self) -> dict[str, tuple[float, str]]:
        """What one commit per point in one thread would give."""
        return _commits(self)


class RawEight(RawLogMetric):
    """Eight connections."""

    rows: ClassVar[tuple[str, ...]] = ("log_metric_raw_8",)
    connections = 8


class RawThirtyTwo(RawLogMetric):
    """Thirty-two connections."""

    rows: ClassVar[tuple[str, ...]] = ("log_metric_raw_32",)
    connections = 32


class LogBatch(Scenario):
    """Batches of 1,000 metrics, by the MLflow client and as bytes made beforehand."""

    rows: ClassVar[tuple[str, ...]] = ("log_batch_client", "log_batch_raw")

    def prepare(self, contender: Contender) -> None:
        """Warm up with one batch of each kind."""
        self._batches(contender, 1)

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Metrics per second of each."""
        del number
        return self._batches(contender, self.bench.sizes.batches)

    def _batches(self, contender: Contender, calls: int) -> list[Reading]:
        points = calls * KEYS * STEPS
        by_client, by_socket = self._by_client(contender, calls), self._by_socket(contender, calls)
        return [Reading(self.rows[0], points / by_client), Reading(self.rows[1], points / by_socket)]

    def references(self) -> dict[str, tuple[float, str]]:
        """The client's part."""
        calls = self.bench.sizes.batches
        with at_once.serving() as uri:
            seconds = self._ask(uri, "0" * 32, calls)
        return {AT_ONCE: (calls * KEYS * STEPS / seconds, "metrics/s")}

    def _by_client(self, contender: Contender, calls: int) -> float:
        server, run = contender.running, new_run(contender.running)
        seconds = self._ask(server.uri, run, calls)
        check_kept(stored_points(server, run, "metric-0"), calls * STEPS)
        return seconds

    def _ask(self, uri: str, run: str, calls: int) -> float:
        work = {"calls": calls, "keys": KEYS, "steps": STEPS, "first": 1}
        return float(self.bench.clients.one().ask("log_batch", uri=uri, run=run, **work)["seconds"])

    def _by_socket(self, contender: Contender, calls: int) -> float:
        server, run = contender.running, new_run(contender.running)
        messages = [_batch(run, range(1 + n * STEPS, 1 + (n + 1) * STEPS)) for n in range(calls)]
        with Connection(server.port) as connection:
            connection.exchange(HEALTH)
            began = time.perf_counter()
            statuses = [connection.exchange(message)[0] for message in messages]
            seconds = time.perf_counter() - began
        check_kept(stored_points(server, run, "metric-0"), statuses.count(200) * STEPS)
        check_kept(statuses.count(200), calls)
        return seconds


class History(Scenario):
    """The long history of the seeded database, in the pages that MLflow's client asks for."""

    rows: ClassVar[tuple[str, ...]] = ("history", "history_memory")
    stage: Stage = "seeded"

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Points per second, and the most memory that the server took for them."""
        del number
        family = contender.running.family
        with Peak(family) as idle:
            time.sleep(0.5)
        began = time.perf_counter()
        with Peak(family) as memory:
            points = stored_points(contender.running, HISTORY)
        seconds = time.perf_counter() - began
        check_kept(points, self.bench.sizes.points)
        above = (max(memory.samples) - statistics.median(idle.samples)) / (1 << 20)
        return [Reading(self.rows[0], points / seconds), Reading(self.rows[1], above)]


class ManyRuns(Scenario):
    """Runs made and filled by eight connections, in two calls each."""

    rows: ClassVar[tuple[str, ...]] = ("many_runs",)
    count = 8

    def prepare(self, contender: Contender) -> None:
        """Open the routes."""
        self._made(contender, 0.5)

    def measure(self, contender: Contender, number: int) -> list[Reading]:
        """Runs per second."""
        del number
        began = time.perf_counter()
        made = self._made(contender, self.bench.sizes.seconds)
        return [Reading(self.rows[0], made / (time.perf_counter() - began))]

    def _made(self, contender: Contender, seconds: float) -> int:
        until, port = time.monotonic() + seconds, contender.running.port
        with ThreadPoolExecutor(self.count) as threads:
            return sum(threads.map(lambda _: _make_runs(port, until), range(self.count)))


def _make_runs(port: int, until: float) -> int:
    stamp, made = int(time.time() * 1000), 0
    about = {
        "params": [{"key": f"param-{n}", "value": f"value-{n}"} for n in range(PARAMS)],
        "metrics": [
            {"key": f"metric-{n}", "value": n / 7, "timestamp": stamp, "step": 0} for n in range(METRICS)
        ],
        "tags": [{"key": f"tag-{n}", "value": f"value-{n}"} for n in range(TAGS)],
    }
    with Connection(port) as connection:
        while time.monotonic() < until:
            asked = {"experiment_id": "0", "start_time": stamp, "run_name": "many"}
            run = connection.call("POST", "runs/create", asked)["run"]["info"]["run_id"]
            connection.call("POST", "runs/log-batch", {"run_id": run, **about})
            made += 1
    return made


def _batch(run: str, steps: range) -> bytes:
    stamp = int(time.time() * 1000)
    metrics = [
        {"key": f"metric-{k}", "value": s * 0.001, "timestamp": stamp, "step": s}
        for s in steps
        for k in range(KEYS)
    ]
    return json_request("POST", "/api/2.0/mlflow/runs/log-batch", {"run_id": run, "metrics": metrics})


def _rate(answers: list[dict[str, float]]) -> float:
    """Calls per second from the first client's start to the last one's end."""
    span = max(answer["ended"] for answer in answers) - min(answer["began"] for answer in answers)
    return sum(answer["calls"] for answer in answers) / span


def _commits(scenario: Scenario) -> dict[str, tuple[float, str]]:
    sizes, scratch = scenario.bench.sizes, scenario.bench.scratch
    rate = references.sqlite_commits(scratch, sizes.reference_seconds)
    return {"SQLite, one insert per commit, WAL, synchronous=FULL": (rate, "/s")}
