"""A server of two processes: nothing differs, and no call waits 44 ms for a delayed ACK."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.e2e.raw import Api
from tests.e2e.test_raw_wire import CALLS, is_prompt
from tests.servers import warm


@pytest.fixture(scope="module")
def server(launch):
    return launch("--workers", "2")


@pytest.mark.parametrize("call", CALLS)
def test_a_call_on_an_open_connection_never_waits_for_a_delayed_ack(server, call):
    assert is_prompt(server.uri, call)


def test_a_log_call_never_waits_for_a_delayed_ack(api, run_id):
    times = []
    for step in range(50):
        started = time.perf_counter()
        api.ok("POST", "runs/log-metric", {"run_id": run_id, "key": "m", "value": 1, "timestamp": step})
        times.append(time.perf_counter() - started)
    assert statistics.quantiles(times, n=4)[0] < 0.04  # a stall is in every call


def test_what_one_connection_writes_another_reads(server, api, experiment):
    """Connections land on either process."""
    for number in range(10):
        run_id = api.run_id(experiment, run_name=str(number))
        other = Api(server.uri)
        assert other.ok("GET", "runs/get", run_id=run_id)["run"]["info"]["run_name"] == str(number)
        other.session.close()


def test_writers_on_both_processes_get_no_error(server, experiment):
    def work(_: int) -> set[int]:
        api = Api(server.uri)
        run_id = api.run_id(experiment)
        point = {"run_id": run_id, "key": "m", "value": 1}
        statuses = {api.post("runs/log-metric", {**point, "timestamp": i}).status_code for i in range(20)}
        api.session.close()
        return statuses

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [{200}] * 8


_MAKE = """
import sys, mlflow
client = mlflow.MlflowClient(sys.argv[1])
for _ in range(10):
    print(client.create_model_version(sys.argv[2], "s3://bucket/model").version)
"""


def test_versions_made_by_many_processes_have_numbers_of_their_own(server, api, unique, tmp_path):
    api.ok("POST", "registered-models/create", {"name": unique})
    (tmp_path / "make.py").write_text(_MAKE)
    command = [str(tmp_path / "make.py"), server.uri, unique]
    outs = {"out": tmp_path / "out", "err": tmp_path / "err"}
    makers = [warm.start(command, env=os.environ, cwd=tmp_path, **outs) for _ in range(4)]
    assert [maker.wait(120) for maker in makers] == [0] * 4, outs["err"].read_text()
    assert sorted(map(int, outs["out"].read_text().split())) == list(range(1, 41))


def test_an_alias_that_is_set_while_its_version_goes_means_nothing_afterwards(server, api, unique):
    """On either process: the alias is refused, or goes with the version."""
    for number in range(1, 11):
        name = f"{unique}-{number}"
        api.ok("POST", "registered-models/create", {"name": name})
        api.ok("POST", "model-versions/create", {"name": name, "source": "s3://bucket/model"})
        with ThreadPoolExecutor(2) as pool:
            calls = [
                ("POST", "registered-models/alias", {"name": name, "alias": "it", "version": "1"}),
                ("DELETE", "model-versions/delete", {"name": name, "version": "1"}),
            ]
            statuses = list(pool.map(lambda call: _alone(server.uri, *call), calls))
        assert statuses in ([200, 200], [404, 200])
        assert "aliases" not in api.ok("GET", "registered-models/get", name=name)["registered_model"]


def _alone(uri, *call):
    """The status of a call on a connection of its own."""
    api = Api(uri)
    status = api.call(*call).status_code
    api.session.close()
    return status


def test_artifacts_are_one_store(wire, unique):
    for number in range(10):
        assert wire.put(f"{unique}/{number}", b"x").status == 200
        assert wire.get(f"{unique}/{number}").body == b"x"
