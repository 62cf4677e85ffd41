"""Several servers on one database and one storage, and many clients: what was acknowledged is there."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import ExitStack

import pytest
from tests.e2e import fleet_client
from tests.e2e.raw import Api
from tests.e2e.servers import Attached, Server, eventually, free_port
from tests.metadata import places
from tests.servers import nginx, radosgw, warm
from tests.servers.processes import PROJECT

pytestmark = pytest.mark.shoso_only

MLFLOW_CLIENTS, HTTP_CLIENTS = 4, 12
SECONDS = 8


class Crew:
    """Client processes, each with a run of its own, and one run and one model for all."""

    def __init__(self, uri, kinds, seconds, folder):
        self.folder = folder
        self.api = Api(uri)
        experiment = self.api.create_experiment(f"fleet-{os.urandom(4).hex()}")
        self.shared = self.api.run_id(experiment)
        self.model = f"fleet-{self.shared}"
        self.api.ok("POST", "registered-models/create", {"name": self.model})
        self.runs = [self.api.run_id(experiment) for _ in kinds]
        self._processes = [
            self._start(kind, uri, number, run, seconds)
            for number, (kind, run) in enumerate(zip(kinds, self.runs, strict=True))
        ]

    def _start(self, kind, uri, number, run, seconds):
        given = [kind, uri, str(number), run, self.shared, self.model, str(seconds), str(self.folder / "go")]
        quick = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7"}
        return warm.start(
            ["-m", "tests.e2e.fleet_client", *given], env={**os.environ, **quick}, cwd=PROJECT,
            out=self.folder / f"{number}.out", err=self.folder / f"{number}.err",
        )  # fmt: skip

    def begin(self):
        """Let all begin at once, when all are ready."""
        for number in range(len(self.runs)):
            ready = self.folder / f"{number}.out"
            assert eventually(lambda path=ready: path.exists() and path.read_text(), 60), self._errors()
        (self.folder / "go").touch()

    def done(self):
        """What each of them was acknowledged."""
        assert {process.wait(120) for process in self._processes} == {0}, self._errors()
        said = [(self.folder / f"{number}.out").read_text() for number in range(len(self.runs))]
        return [json.loads(text.removeprefix("ready\n")) for text in said]

    def _errors(self):
        return [path.read_text() for path in self.folder.glob("*.err")]

    def close(self):
        self.api.session.close()
        for process in self._processes:
            process.send_signal(signal.SIGKILL)


def check(api, crew, done):
    """Every acknowledged write is there once, nothing else is, and latest metrics are the latest."""
    for run, one in zip(crew.runs, done, strict=True):
        data = api.ok("GET", "runs/get", run_id=run)["run"]["data"]
        written = set(range(one["steps"]))
        latest = {metric["key"]: metric for metric in data["metrics"]}
        for key in ("m", *(f"b{number}" for number in range(fleet_client.POINTS))):
            steps = history(api, run, key)
            assert steps == sorted(written), (run, key)
            assert latest[key]["step"] == max(steps)
            assert latest[key]["value"] == max(steps) / 2
        assert {param["key"]: param["value"] for param in data["params"]} == {
            f"p{i}": str(i) for i in written
        }
        tags = {tag["key"]: tag["value"] for tag in data["tags"]}
        assert {f"t{i}": str(i) for i in written}.items() <= tags.items()
        assert tags["last"] == str(one["steps"] - 1)
    check_shared(api, crew, done)


def check_shared(api, crew, done):
    """What all wrote to at once."""
    wanted = sorted(step * 100 + number for number, one in enumerate(done) for step in range(one["steps"]))
    assert history(api, crew.shared, "shared") == wanted
    [latest] = api.ok("GET", "runs/get", run_id=crew.shared)["run"]["data"]["metrics"]
    assert (latest["step"], latest["value"]) == (wanted[-1], wanted[-1] / 2)
    made = [version for one in done for version in one["versions"]]
    assert len(made) == len(set(made))
    found = api.ok("GET", "model-versions/search", filter=f"name = '{crew.model}'", max_results=100_000)
    assert {*made} <= {version["version"] for version in found["model_versions"]}


def history(api, run, key):
    """The steps of a metric, in the order of time; each value is that of its step."""
    points = api.ok("GET", "metrics/get-history", run_id=run, metric_key=key)["metrics"]
    assert all(point["value"] == point["step"] / 2 for point in points)
    return [point["step"] for point in points]


def check_artifacts(api, crew, done, kinds):
    for kind, run, one in zip(kinds, crew.runs, done, strict=True):
        for name in one["puts"]:
            query = {"run_id": run, "path": name}
            url = f"{api.uri}/get-artifact" if kind == "mlflow" else f"{api.uri}/{PROXY}/fleet/{run}/{name}"
            reply = api.session.get(url, params=query if kind == "mlflow" else None, timeout=60)
            assert reply.text == f"{run}/{name}"


PROXY = "api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Three servers on one PostgreSQL and one S3."""
    database, storage = places.new("postgres"), radosgw.fresh()
    flags = ("--backend-store-uri", database, "--artifacts-destination", storage.uri)
    folders = [tmp_path_factory.mktemp("server") for _ in range(3)]
    servers = [Server(folder, *flags, env=dict(storage.environment), port=free_port()) for folder in folders]
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server():
    """Nobody: each test says whom it talks to."""
    return Attached("http://127.0.0.1:9")


def test_no_acknowledged_write_is_lost_when_servers_die_and_come_back(fleet, tmp_path):
    kinds = ["mlflow"] * MLFLOW_CLIENTS + ["http"] * HTTP_CLIENTS
    with ExitStack() as stack:
        uri = stack.enter_context(nginx.among([server.host for server in fleet]))
        crew = Crew(uri, kinds, SECONDS, tmp_path)
        stack.callback(crew.close)
        crew.begin()
        time.sleep(SECONDS / 4)
        os.killpg(fleet[0].pid, signal.SIGSTOP)  # what it is asked meanwhile is under way when it dies
        time.sleep(0.3)
        fleet[0].kill()
        time.sleep(SECONDS / 4)
        fleet[1].stop()
        fleet[1].start()
        done = crew.done()
        assert min(one["steps"] for one in done) > 3
        assert sum(one["again"] for one in done), "nobody noticed"
        api = Api(fleet[2].uri)
        stack.callback(api.session.close)
        check(api, crew, done)
        check_artifacts(api, crew, done, kinds)


@pytest.mark.parametrize("workers", ["1", "4"])
def test_no_writer_hears_of_a_locked_file(launch, workers, tmp_path):
    kinds = ["mlflow"] * 2 + ["http"] * 6
    server = launch("--workers", workers)
    with ExitStack() as stack:
        crew = Crew(server.uri, kinds, SECONDS / 2, tmp_path)
        stack.callback(crew.close)
        crew.begin()
        done = crew.done()
        assert [one["again"] for one in done] == [0] * len(kinds)
        check(crew.api, crew, done)
        check_artifacts(crew.api, crew, done, kinds)
        assert "locked" not in server.log()
