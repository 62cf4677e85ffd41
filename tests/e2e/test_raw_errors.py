"""Every failure a client can cause, by plain HTTP: status and error_code as MLflow 3.17 answers them.

Where MLflow answers 5xx to a bad request, or takes what it can't use, Shoso answers a 4xx: those rows are
`shoso_only`.
"""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.failures import ACCEPTED, BATCHES, EXPERIMENTS, MODELS, RUNS, SEARCHES
from tests.e2e.raw import ABSENT_EXPERIMENT, ABSENT_RUN, Api
from tests.e2e.tables import answer, rows, short


class World:
    """What the rows of `failures` name in braces."""

    def __init__(self, api: Api) -> None:
        self.api = api
        mark = uuid.uuid4().hex[:10]
        self.names = {
            "name": f"errors-{mark}",
            "fresh": f"errors-{mark}-fresh",
            "exp": api.create_experiment(f"errors-{mark}"),
            "dead": api.create_experiment(f"errors-{mark}-dead"),
            "deadname": f"errors-{mark}-dead",
            "absentexp": ABSENT_EXPERIMENT,
            "absent": ABSENT_RUN,
        }
        api.ok("POST", "experiments/delete", {"experiment_id": self.names["dead"]})
        self.names |= {"run": self._run(), "gone": self._run(), "model": self._model()}
        api.ok("POST", "runs/delete", {"run_id": self.names["gone"]})
        api.ok("POST", "runs/log-parameter", {"run_id": self.names["run"], "key": "p", "value": "1"})

    def _run(self) -> str:
        return self.api.run_id(self.names["exp"])

    def _model(self) -> str:
        body = {"experiment_id": self.names["exp"], "params": [{"key": "p", "value": "1"}]}
        return self.api.ok("POST", "logged-models", body)["model"]["info"]["model_id"]


@pytest.fixture(scope="module")
def world(server):
    server.ensure()
    api = Api(server.uri)
    yield World(api)
    api.session.close()


@pytest.mark.parametrize(
    ("call", "body", "outcome"),
    [*rows(EXPERIMENTS), *rows(RUNS), *rows(BATCHES), *rows(SEARCHES), *rows(MODELS)],
)
def test_a_failure_is_answered_as_mlflow_does(world, call, body, outcome):
    reply = answer(world.api, world.names, call, body)
    assert (reply.status_code, reply.json().get("error_code")) == outcome, reply.text
    assert reply.json()["message"]


def test_an_output_named_twice_is_one_output(world):
    """MLflow refuses the second call; a server may take it, for it may be the retry of a lost reply."""
    body = {"run_id": world._run(), "models": [{"model_id": world.names["model"], "step": 1}]}
    assert world.api.post("runs/outputs", body).status_code == 200
    assert world.api.post("runs/outputs", body).status_code in {200, 400}
    outputs = world.api.ok("GET", "runs/get", run_id=body["run_id"])["run"]["outputs"]
    assert outputs["model_outputs"] == body["models"]


@pytest.mark.parametrize(
    ("call", "body"), ACCEPTED, ids=lambda value: value if isinstance(value, str) else short(value)
)
def test_what_mlflow_takes_is_taken(world, call, body):
    reply = answer(world.api, world.names, call, body)
    assert reply.status_code == 200, reply.text
