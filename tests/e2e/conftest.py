"""The end-to-end suite: MLflow's own client, and plain HTTP, against a real server over TCP.

`test_client_*.py` are run a second time by MLflow 2.22, in an interpreter of its own (test_old_client.py):
those files, this one, `servers` and `raw` import nothing of Shoso's.
"""

from __future__ import annotations

import os
import uuid
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow's imports; a warning of a test is still an error
    import mlflow.pyfunc
    import mlflow.sklearn

from tests.e2e.raw import HELLO, Api, Wire
from tests.e2e.servers import ATTACHED, REFERENCE, Attached, Server

HERE = Path(__file__).parent
OLD_CLIENT = version("mlflow").startswith("2.")

MARKERS = {
    "shoso_only": "Shoso differs on purpose: not run against the reference server",
    "since_3": "needs MLflow 3's client: not run by MLflow 2.22",
}

WARNINGS = [  # MLflow's own, about the libraries beside it
    "ignore:The specified dataset source can be interpreted:UserWarning",
    "ignore:Failed to determine whether .* can resolve source:UserWarning",
    "ignore:For backward compatibility, 'str' dtypes are included",
    "ignore:.*(latest_versions|version_stage).* is deprecated since 2.9.0:FutureWarning",
    "ignore:Starting with pandas version 4.0 all arguments",
]


def pytest_configure(config):
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_collection_modifyitems(config, items):
    unfit = [item for item in items if _is_unfit(item)]
    items[:] = [item for item in items if item not in unfit]
    config.hook.pytest_deselected(items=unfit)
    for item in items:
        if item.path.parent == HERE:
            for warning in WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning), append=False)


def _is_unfit(item) -> bool:
    if REFERENCE and item.get_closest_marker("shoso_only"):
        return True
    return OLD_CLIENT and item.get_closest_marker("since_3") is not None


@pytest.fixture(scope="session")
def server(request):
    """The server most tests share. A module that needs another one overrides this fixture."""
    if ATTACHED:
        yield Attached(ATTACHED)
        return
    server = Server(request.getfixturevalue("server_folder")()).start()  # MLflow 2.22 isn't told of that
    yield server
    server.stop()


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Start servers with flags of one's own; they are stopped with the module."""
    started = []

    def start(*flags: str, **options) -> Server:
        server = Server(tmp_path_factory.mktemp("server"), *flags, **options)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(autouse=True)
def _tracking(server, monkeypatch):
    """MLFLOW_TRACKING_URI is all a user changes; the fluent state is as in a new process."""
    server.ensure()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "set, so that what a test sets is undone")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_ID")
    yield
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.tracking.fluent._active_experiment_id = None


@pytest.fixture
def unique():
    """A name nobody else uses."""
    return f"e2e-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def client():
    return mlflow.MlflowClient()


@pytest.fixture
def api(server):
    api = Api(server.uri)
    yield api
    api.session.close()


@pytest.fixture
def wire(server):
    return Wire(server.uri)


@pytest.fixture
def experiment(api, unique):
    """A new experiment's id, the fluent API's current one too."""
    experiment_id = api.create_experiment(unique)
    mlflow.set_experiment(experiment_id=experiment_id)
    return experiment_id


@pytest.fixture
def run_id(api, experiment):
    """A new run's id."""
    return api.run_id(experiment)


@pytest.fixture
def folder():
    """A folder nobody else uses, at the root of the store."""
    return f"raw-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def hello(wire, folder):
    """A path with the bytes of HELLO."""
    path = f"{folder}/hello.txt"
    assert wire.put(path, HELLO).status == 200
    return path
