"""What MLflow's web page asks for its charts, by plain HTTP: histories of many runs, datasets."""

from __future__ import annotations

import math

import pytest
from tests.e2e.raw import ABSENT_RUN, Api

shoso_only = pytest.mark.shoso_only

AJAX = "ajax-api/2.0/mlflow"
BULK, SAMPLE, DATASETS = "metrics/get-history-bulk", "metrics/get-history-bulk-interval", "search-datasets"


class World:
    """Two runs with points, one of which read a dataset twice."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.experiment = api.create_experiment(f"charts-{id(self)}")
        self.runs = [api.run_id(self.experiment) for _ in range(2)]
        for run_id, count in zip(self.runs, (10, 3), strict=True):
            points = [{"key": "m", "value": i, "timestamp": 100 - i, "step": i} for i in range(count)]
            api.ok("POST", "runs/log-batch", {"run_id": run_id, "metrics": points})
        api.ok(
            "POST", "runs/log-metric", {"run_id": self.runs[1], "key": "n", "value": "NaN", "timestamp": 1}
        )
        for context in ("train", "eval"):
            dataset = {"name": f"d {context}", "digest": "1", "source_type": "code", "source": "x"}
            tags = [{"key": "mlflow.data.context", "value": context}]
            inputs = {"run_id": self.runs[0], "datasets": [{"dataset": dataset, "tags": tags}]}
            api.ok("POST", "runs/log-inputs", inputs)

    def get(self, path, **query):
        return self.api.call("GET", path, root=AJAX, **query)

    def datasets(self, body):
        return self.api.call("POST", f"experiments/{DATASETS}", body, root=AJAX)


@pytest.fixture(scope="module")
def world(server):
    server.ensure()
    api = Api(server.uri)
    yield World(api)
    api.session.close()


def test_the_histories_of_many_runs_in_one_reply(world):
    found = world.get(BULK, run_id=[*world.runs, ABSENT_RUN], metric_key="m").json()["metrics"]
    assert [sorted(point) for point in found] == [["key", "run_id", "step", "timestamp", "value"]] * 13
    order = [(point["run_id"], point["timestamp"]) for point in found]
    assert order == sorted(order)
    assert sorted(point["value"] for point in found if point["run_id"] == world.runs[1]) == [0, 1, 2]
    few = world.get(BULK, run_id=world.runs, metric_key="m", max_results=4).json()["metrics"]
    assert few == found[:4]


def test_a_history_that_is_empty_is_a_list(world):
    assert world.get(BULK, run_id=ABSENT_RUN, metric_key="m").json() == {"metrics": []}
    assert world.get(SAMPLE, run_ids=ABSENT_RUN, metric_key="m").json() == {}


def test_what_is_not_a_number_is_one_in_neither_reply(world):
    for path, field in ((BULK, "run_id"), (SAMPLE, "run_ids")):
        [point] = world.get(path, **{field: world.runs[1]}, metric_key="n").json()["metrics"]
        assert math.isnan(float(point["value"]))


def test_a_sample_keeps_the_first_and_the_last_point(world):
    found = world.get(SAMPLE, run_ids=world.runs, metric_key="m", max_results=4).json()["metrics"]
    steps = [[p["step"] for p in found if p["run_id"] == run_id] for run_id in world.runs]
    assert steps == [[0, 3, 6, 9], [0, 1, 2]]
    found = world.get(SAMPLE, run_ids=world.runs, metric_key="m", start_step=2, end_step=3).json()["metrics"]
    assert [p["step"] for p in found] == [2, 3, 2]


def test_the_datasets_of_an_experiment(world):
    found = world.datasets({"experiment_ids": [world.experiment]}).json()["dataset_summaries"]
    of = {"experiment_id": world.experiment, "digest": "1"}
    wanted = [{**of, "name": f"d {context}", "context": context} for context in ("eval", "train")]
    assert sorted(found, key=lambda one: one["name"]) == wanted
    assert world.datasets({"experiment_ids": ["99999999"]}).json() == {}


MANY = [ABSENT_RUN] * 101


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (BULK, {"metric_key": "m"}),
        (BULK, {"run_id": ABSENT_RUN}),
        (BULK, {"run_id": MANY, "metric_key": "m"}),
        *[
            pytest.param(BULK, {"run_id": "a", "metric_key": "m", "max_results": most}, marks=shoso_only)
            for most in ("x", 0, -1)
        ],
        (SAMPLE, {"metric_key": "m"}),
        (SAMPLE, {"run_ids": ABSENT_RUN}),
        (SAMPLE, {"run_ids": MANY, "metric_key": "m"}),
        *[
            (SAMPLE, {"run_ids": ABSENT_RUN, "metric_key": "m", **fields})
            for fields in (
                {"max_results": 0},
                {"max_results": 2501},
                {"max_results": "x"},
                {"start_step": 1},
                {"end_step": 1},
                {"start_step": 2, "end_step": 1},
                {"start_step": "x", "end_step": 1},
            )
        ],
    ],
)  # fmt: skip
def test_a_chart_that_cannot_be_asked_for_is_refused(world, path, query):
    reply = world.get(path, **query)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.text


@pytest.mark.parametrize(
    "ids", [[], ["0"] * 21, pytest.param(["x"], marks=shoso_only)], ids=["none", "many", "text"]
)
def test_datasets_that_cannot_be_searched_for(world, ids):
    reply = world.datasets({"experiment_ids": ids})
    assert (reply.status_code, reply.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), reply.text


@shoso_only
@pytest.mark.parametrize("root", ["api/2.0/mlflow", AJAX])
def test_both_roots_have_the_charts(world, root):
    query = {"metric_key": "m"}
    assert world.api.ok("GET", BULK, root=root, run_id=world.runs, **query)["metrics"]
    assert world.api.ok("GET", SAMPLE, root=root, run_ids=world.runs, **query)["metrics"]
    body = {"experiment_ids": [world.experiment]}
    assert world.api.ok("POST", f"experiments/{DATASETS}", body, root=root)["dataset_summaries"]
