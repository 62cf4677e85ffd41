"""The model registry by plain HTTP: every failure a client can cause, and what is taken.

Where MLflow answers 5xx, or takes what other databases than SQLite refuse, Shoso answers a 4xx: those rows
are `shoso_only`.
"""

from __future__ import annotations

import uuid

import pytest
from tests.e2e.raw import ABSENT_RUN, Api
from tests.e2e.registry_failures import ACCEPTED, REGISTERED, SEARCHED, SOURCES, VERSIONS
from tests.e2e.tables import answer, rows, short

PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]


class World:
    """What the rows name in braces."""

    def __init__(self, api: Api) -> None:
        self.api = api
        mark = f"reg-{uuid.uuid4().hex[:10]}"
        self.names = {"reg": mark, "empty": f"{mark}-empty", "prompt": f"{mark}-prompt", "deleted": "2"}
        self.names |= {"free": f"{mark}-free", "absent": ABSENT_RUN}
        for name in (mark, self.names["empty"]):
            api.ok("POST", "registered-models/create", {"name": name})
        api.ok("POST", "registered-models/create", {"name": self.names["prompt"], "tags": PROMPT})
        for _ in range(2):
            self._version()
        api.ok("DELETE", "model-versions/delete", {"name": mark, "version": "2"})
        api.ok("POST", "registered-models/alias", {"name": mark, "alias": "first", "version": "1"})
        api.ok(
            "POST",
            "model-versions/create",
            {"name": self.names["prompt"], "source": "dummy-source", "tags": PROMPT},
        )
        self._run_and_model(api.create_experiment(mark))

    def _version(self) -> None:
        body = {"name": self.names["reg"], "source": "s3://bucket/model"}
        self.api.ok("POST", "model-versions/create", body)

    def _run_and_model(self, experiment: str) -> None:
        run = self.api.create_run(experiment)["info"]
        model = self.api.ok("POST", "logged-models", {"experiment_id": experiment})["model"]["info"]
        self.names |= {"run": run["run_id"], "run_root": run["artifact_uri"]}
        self.names |= {"model": model["model_id"], "model_root": model["artifact_uri"]}


@pytest.fixture(scope="module")
def world(server):
    server.ensure()
    api = Api(server.uri)
    yield World(api)
    api.session.close()


@pytest.mark.parametrize(
    ("call", "body", "outcome"), [*rows(REGISTERED), *rows(VERSIONS), *rows(SOURCES), *rows(SEARCHED)]
)
def test_a_failure_is_answered_as_mlflow_does(world, call, body, outcome):
    reply = answer(world.api, world.names, call, body)
    assert (reply.status_code, reply.json().get("error_code")) == outcome, reply.text
    assert reply.json()["message"]


@pytest.mark.parametrize(
    ("call", "body"), ACCEPTED, ids=lambda value: value if isinstance(value, str) else short(value)
)
def test_what_mlflow_takes_is_taken(world, call, body):
    reply = answer(world.api, world.names, call, body)
    assert reply.status_code == 200, reply.text


def shape(value: object) -> object:
    """A reply with times and names taken out: what is there, in which order, and as what type."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    return [shape(item) for item in value] if isinstance(value, list) else type(value)


VERSION = [
    ("name", str),
    ("version", str),
    ("creation_timestamp", int),
    ("last_updated_timestamp", int),
    ("current_stage", str),
    ("description", str),
    ("source", str),
    ("run_id", str),
    ("status", str),
]


def test_replies_have_the_fields_that_mlflow_gives_them(world):
    name = f"{world.names['reg']}-shape"
    fields = {"name": name, "description": "d", "tags": [{"key": "k", "value": "v"}]}
    world.api.ok("POST", "registered-models/create", fields)
    tags = ("tags", [[("key", str), ("value", str)]])
    made = world.api.ok("POST", "model-versions/create", {**fields, "source": "s3://bucket/model"})
    assert shape(made) == [("model_version", [*VERSION, tags, ("run_link", str)])]
    world.api.ok("POST", "registered-models/alias", {"name": name, "alias": "it", "version": "1"})
    found = world.api.ok("GET", "model-versions/get", name=name, version="1")
    assert shape(found) == [("model_version", [*VERSION, tags, ("run_link", str), ("aliases", [str])])]
    world.api.ok("DELETE", "model-versions/delete", {"name": name, "version": "1"})
    assert shape(world.api.ok("GET", "registered-models/get", name=name)) == [
        (
            "registered_model",
            [
                ("name", str),
                ("creation_timestamp", int),
                ("last_updated_timestamp", int),
                ("description", str),
                tags,
            ],
        )
    ]
