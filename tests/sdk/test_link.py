"""One link to a server for a process: shared, renewed with the environment, and silent about secrets."""

from __future__ import annotations

import json
import threading

import pytest
from tests.servers.scripted import Said, Scripted, fault

import shoso
from shoso.client import link
from shoso.errors import ConfigError, Kind, ShosoError

EXPERIMENT = {"experiment_id": "1", "name": "n", "artifact_location": "", "lifecycle_stage": "active"}
GOOD = Said(body=json.dumps({"experiment": EXPERIMENT}).encode())


@pytest.fixture
def scripted():
    """Start a server that says what it's told to."""
    started = []

    def start(*replies) -> Scripted:
        started.append(Scripted(replies))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def shown(server) -> list[str | None]:
    return [asked.headers.get("authorization") for asked in server.asked]


def test_a_process_has_one_link_to_a_server(server):
    found = []
    threads = [threading.Thread(target=lambda: found.append(link.to(server.uri))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in found}) == 1
    shoso.set_tracking_uri(server.uri)
    assert link.to(None) is link.reach(None) is found[0]
    assert link.alone() is not found[0]


def test_a_renewed_token_counts_from_the_next_call_on(scripted, monkeypatch):
    server = scripted(GOOD)
    client = shoso.Client(server.uri)
    for token in ("first", "second"):
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
        client.get_experiment("1")
    assert shown(server) == ["Bearer first", "Bearer second"]


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "many")
    with pytest.raises(ConfigError, match="MLFLOW_HTTP_REQUEST_MAX_RETRIES: 'many' is not a whole number"):
        shoso.Client("http://127.0.0.1:9").get_run("r")


def test_no_password_is_in_an_error_or_a_repr(scripted, caplog):
    server = scripted(fault(500, "INTERNAL_ERROR"))
    for host in (server.host, "127.0.0.1:9"):
        shoso.set_tracking_uri(f"http://ada:s3cret@{host}")
        with pytest.raises(ShosoError) as caught:
            shoso.log_param("a", 1)
        with pytest.raises(ShosoError) as downloading:
            shoso.artifacts.load_text("runs:/1/a.txt")
        known = link.to(None)
        told = [str(caught.value), str(downloading.value), repr(known), repr(known.settings), caplog.text]
        assert [each for each in told if "s3cret" in each] == []
    assert server.asked


def test_a_server_that_is_gone_is_an_error_that_names_it():
    with pytest.raises(ShosoError, match=r"127\.0\.0\.1:9") as caught:
        shoso.Client("http://127.0.0.1:9").log_metric("r", "m", 1)
    assert caught.value.kind is Kind.UNAVAILABLE


def test_a_log_call_that_is_refused_leaves_the_run_as_it_was(run):
    shoso.log_param("a", 1)
    with pytest.raises(ShosoError) as caught:
        shoso.log_params({"b": 2, "a": "another"})
    assert caught.value.kind is Kind.INVALID
    assert shoso.active_run() is run
    assert shoso.get_run(run.info.run_id).data.params == {"a": "1"}


def test_params_go_in_one_call(scripted):
    server = scripted(Said())
    shoso.Client(server.uri).log_params("r", {f"p{n}": n for n in range(100)})
    shoso.Client(server.uri).log_metrics("r", {f"m{n}": n for n in range(1000)})
    shoso.Client(server.uri).set_tags("r", {"a": 1, "b": 2})
    assert [asked.path for asked in server.asked] == ["/api/2.0/mlflow/runs/log-batch"] * 3
