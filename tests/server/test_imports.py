"""The calls of `shoso import`, by plain HTTP: what is taken, what is refused, and what is there already."""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.raw import Api
from tests.e2e.servers import Server

ROOT = "api/shoso/1"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server")).start()
    api = Api(server.uri)
    yield api
    api.session.close()
    server.stop()


def ask(api, path, body):
    return api.ok("POST", f"imports{path}", body, root=ROOT)


@pytest.fixture
def experiment(api):
    name = f"imported-{uuid.uuid4().hex[:8]}"
    [placed] = ask(api, "/experiments", {"experiments": [{"experiment_id": 0, "name": name}]})["placed"]
    return placed["experiment_id"]


def run_of(experiment, **fields):
    return {"run_id": uuid.uuid4().hex, "experiment_id": experiment, **fields}


def whole(api, run):
    return run["run_id"] in ask(api, "/known", {"runs": [run["run_id"]]}).get("runs", {})


def test_an_experiment_without_a_location_gets_the_servers(api):
    name = uuid.uuid4().hex
    body = {"experiments": [{"experiment_id": 4242, "name": name, "creation_time": 5}]}
    first, again = (ask(api, "/experiments", body)["placed"][0] for _ in range(2))
    place = {"given": 4242, "experiment_id": 4242, "artifact_location": "mlflow-artifacts:/4242"}
    assert (first, again) == ({**place, "made": True}, {**place, "made": False})
    assert api.ok("GET", "experiments/get", experiment_id="4242")["experiment"]["creation_time"] == 5


def test_a_run_of_which_more_comes_is_not_whole(api, experiment):
    run = run_of(
        experiment, name="r", metrics=[["m", 1.0, 5, 0]], params=[{"key": "p", "value": "1"}], more=True
    )
    nothing = {"runs": 0, "models": 0, "versions": 0, "tags": 0, "refused": []}
    assert ask(api, "", {"runs": [run]}) == {**nothing, "params": 1, "points": 1}
    assert not whole(api, run)
    points = [["m", "NaN", 6, 1], ["m", 2.0, 6, 2]]
    last = {**run, "metrics": points, "params": [{"key": "late", "value": "2"}], "part": 1, "more": False}
    assert ask(api, "", {"runs": [last]})["runs"] == 1
    assert whole(api, run)
    found = api.ok("GET", "runs/get", run_id=run["run_id"])["run"]["data"]
    assert found["metrics"][0]["value"] == 2.0
    assert "tags" not in found
    assert [param["key"] for param in found["params"]] == ["p", "late"]
    history = api.ok("GET", "metrics/get-history", run_id=run["run_id"], metric_key="m")["metrics"]
    assert [point["value"] for point in history] == [1.0, "NaN", 2.0]


def test_a_run_that_is_begun_again_is_as_it_was_sent_last(api, experiment):
    run = run_of(
        experiment, params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "1"}], more=True
    )
    ask(api, "", {"runs": [run]})
    again = {**run, "params": [{"key": "q", "value": "2"}], "tags": [], "more": False}
    assert ask(api, "", {"runs": [again]})["runs"] == 1
    data = api.ok("GET", "runs/get", run_id=run["run_id"])["run"]["data"]
    assert data == {"params": [{"key": "q", "value": "2"}]}


def test_a_run_that_is_there_gets_what_it_lacks_and_keeps_what_it_has(api, experiment):
    run = run_of(experiment, params=[{"key": "p", "value": "1"}], metrics=[["m", 1.0, 5, 0]])
    ask(api, "", {"runs": [run]})
    more = {**run, "params": [{"key": "p", "value": "2"}, {"key": "q", "value": "2"}], "more": True}
    more |= {"metrics": [["m", 1.0, 5, 0], ["m", 2.0, 6, 1]], "status": "FINISHED", "end_time": 9}
    reply = ask(api, "", {"runs": [more]})
    assert [reply[name] for name in ("runs", "params", "tags", "points")] == [0, 1, 0, 1]
    assert whole(api, run)
    found = api.ok("GET", "runs/get", run_id=run["run_id"])["run"]
    assert found["data"]["params"] == [{"key": "p", "value": "1"}, {"key": "q", "value": "2"}]
    assert (found["info"]["status"], found["info"]["end_time"]) == ("FINISHED", 9)
    ask(api, "", {"runs": [{**more, "status": "FAILED", "end_time": 10}]})
    assert api.ok("GET", "runs/get", run_id=run["run_id"])["run"]["info"] == found["info"]


def test_one_run_that_is_refused_spoils_no_other(api, experiment):
    good, orphan = run_of(experiment), run_of(77_777_777)
    abroad = run_of(experiment, artifact_uri="sftp://elsewhere/x")
    secret = run_of(experiment, artifact_uri="s3://user:password@b/x")
    twice = run_of(experiment, params=[{"key": "p", "value": "1"}] * 2)
    reply = ask(api, "", {"runs": [good, orphan, abroad, secret, twice]})
    assert reply["runs"] == 1
    refused = {one["what"]: one["message"] for one in reply["refused"]}
    assert set(refused) == {f"run {run['run_id']}" for run in (orphan, abroad, secret, twice)}
    assert "--allow-artifact-root" in refused[f"run {abroad['run_id']}"]
    assert "password@" not in str(refused)
    assert whole(api, good)
    assert not whole(api, twice)


def test_a_key_that_is_too_long_is_left_out_and_said(api, experiment):
    run = run_of(experiment, tags=[{"key": "k" * 251, "value": "v"}, {"key": "ok", "value": "x" * 100_000}])
    reply = ask(api, "", {"runs": [run]})
    assert (reply["runs"], [one["whole"] for one in reply["refused"]]) == (1, [False])
    [tag] = api.ok("GET", "runs/get", run_id=run["run_id"])["run"]["data"]["tags"]
    assert (tag["key"], len(tag["value"])) == ("ok", 100_000)


def test_a_point_of_a_model_needs_its_run(api, experiment):
    run, model_id = run_of(experiment), f"m-{uuid.uuid4().hex}"
    ask(api, "", {"runs": [run]})
    points = [["a", "Infinity", 5, 1, run["run_id"]], ["a", 1.0, 5, 1, "absent"]]
    model = {"model_id": model_id, "experiment_id": experiment, "name": "n", "artifact_location": "s3://b/x"}
    reply = ask(api, "", {"models": [{**model, "metrics": points, "more": True}]})
    assert (reply["models"], len(reply["refused"])) == (1, 1)
    assert ask(api, "/known", {"models": [model_id]}) == {}
    ask(api, "/finished", {"models": [model_id], "runs": ["absent"]})
    assert ask(api, "/known", {"models": [model_id]}) == {"models": [model_id]}
    found = api.ok("GET", f"logged-models/{model_id}")["model"]
    assert [metric["value"] for metric in found["data"]["metrics"]] == [1.7976931348623157e308]


@pytest.mark.parametrize(
    "run",
    [
        {"run_id": "../x"}, {"run_id": "x" * 33}, {"status": "DONE"}, {"lifecycle_stage": "gone"},
        {"start_time": "x"}, {"metrics": [["m", 1.0]]}, {"experiment_id": -1}, {"params": "x"}, {"part": -1},
    ],
)  # fmt: skip
def test_what_is_of_the_wrong_type_is_refused(api, experiment, run):
    reply = api.call("POST", "imports", {"runs": [run_of(experiment, **run)]}, root=ROOT)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
