"""Searching runs by MLflow's client: the whole filter grammar, ordering, tie-breaks and pages."""

from __future__ import annotations

import math
import uuid
from concurrent.futures import ThreadPoolExecutor

import mlflow
import pytest
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from tests.e2e.raw import Api

# Status, start, end, metrics, params and tags of each run.
RUNS = {
    "a": ("FINISHED", 100, 150, {"acc": 0.9, "the loss": 1.0}, {"lr": "0.1", "Opt": "SGD"}, {"team": "x"}),
    "b": ("RUNNING", 200, None, {"acc": 0.5}, {"lr": "0.01", "Opt": "adam"}, {"team": "Y", "a/b": "1"}),
    "c": ("FAILED", 300, 350, {"acc": math.nan}, {"lr": "0.1"}, {"team": "it's"}),
    "d": ("KILLED", 300, 400, {}, {}, {}),
    "e": ("SCHEDULED", 50, None, {"acc": math.inf, "the loss": -1.0}, {"Opt": "50%_x"}, {"team": "x"}),
}


class Population:
    """The runs of RUNS in an experiment of their own, found by one letter each."""

    def __init__(self, client) -> None:
        self.client = client
        self.experiment = client.create_experiment(f"search-{uuid.uuid4().hex}")
        self.ids = {name: self._make(name, row) for name, row in RUNS.items()}
        self.name_of = {run_id: name for name, run_id in self.ids.items()}

    def _make(self, name, row) -> str:
        status, start, end, metrics, params, tags = row
        run_id = self.client.create_run(self.experiment, start_time=start, run_name=name).info.run_id
        self.client.log_batch(
            run_id,
            [Metric(key, value, 1, 0) for key, value in metrics.items()],
            [Param(key, value) for key, value in params.items()],
            [RunTag(key, value) for key, value in tags.items()],
        )
        if end:
            self.client.set_terminated(run_id, status, end)
        else:
            self.client.update_run(run_id, status)
        return run_id

    def found(self, text="", **search) -> str:
        """The letters of the runs that a search finds, in order."""
        page = self.client.search_runs([self.experiment], text, **search)
        return "".join(self.name_of[run.info.run_id] for run in page)


@pytest.fixture(scope="module")
def population(server):
    server.ensure()
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    population = Population(client)
    context = [InputTag("mlflow.data.context", "train")]
    client.log_inputs(population.ids["a"], [DatasetInput(Dataset("sales", "d1", "code", "x"), context)])
    client.log_inputs(population.ids["b"], [DatasetInput(Dataset("Sales", "d2", "code", "x"), [])])
    return population


FILTERS = {
    # metrics: numbers; NaN satisfies != alone
    "metrics.acc > 0.5": "ae",
    "metrics.acc >= 0.5": "abe",
    "metrics.acc < 0.9": "b",
    "metrics.acc <= 0.9": "ab",
    "metrics.acc = 0.5": "b",
    "metrics.acc != 0.5": "ace",
    "metric.acc > 1e300": "e",
    "metrics.`the loss` < 0": "e",
    'metrics."the loss" = 1': "a",
    "metrics.nothing > 0": "",
    # params and tags: text
    "params.lr = '0.1'": "ac",
    "params.lr != '0.1'": "b",
    'params.lr = "0.01"': "b",
    "param.Opt LIKE 'S%'": "a",
    "params.Opt LIKE 's%'": "",
    "parameter.Opt ILIKE 's%'": "a",
    "params.opt = 'SGD'": "",
    "params.Opt LIKE '%D_m'": "",
    "params.Opt ILIKE '%D_m'": "b",
    "params.lr IS NULL": "de",
    "params.lr IS NOT NULL": "abc",
    "tags.team = 'x'": "ae",
    "tag.team != 'x'": "bc",
    "tags.team ILIKE 'y'": "b",
    'tags.team = "it\'s"': "c",
    "tags.`a/b` = '1'": "b",
    "tags.team IS NULL": "d",
    "tags.mlflow.runName = 'a'": "a",
    # attributes; no prefix means attribute
    "attributes.status = 'FINISHED'": "a",
    "status != 'FINISHED'": "bcde",
    "attr.status LIKE 'F%'": "ac",
    "run_name = 'b'": "b",
    "run.`Run name` ILIKE 'B'": "b",
    "attributes.run_name LIKE '%'": "abcde",
    "start_time >= 200": "bcd",
    "attribute.created < 100": "e",
    "end_time > 350": "d",
    "start_time = 300 AND end_time = 350": "c",
    "artifact_uri LIKE 'mlflow-artifacts:%'": "abcde",
    # datasets
    "datasets.name = 'sales'": "a",
    "dataset.name ILIKE 'SALES'": "ab",
    "datasets.name IN ('sales', 'Sales')": "ab",
    "datasets.digest != 'd1'": "b",
    "datasets.context = 'train'": "a",
    # together
    "metrics.acc > 0 AND params.lr = '0.1' and tags.team = 'x'": "a",
    "params.Opt = 'SGD' AND params.lr = '0.1'": "a",
    "params.Opt = 'SGD' AND params.lr = '0.01'": "",
    "  metrics.acc>0.6   AND\n status='FINISHED' ": "a",
    "": "abcde",
}


@pytest.mark.parametrize("text", FILTERS, ids=lambda text: text.strip() or "no filter")
def test_filter_finds(population, text):
    assert "".join(sorted(population.found(text))) == FILTERS[text]


def test_filter_by_run_ids(population):
    a, b = population.ids["a"], population.ids["b"]
    assert population.found(f"run_id IN ('{a}', '{b}')", order_by=["run_name"]) == "ab"
    assert population.found(f"attributes.run_id NOT IN ('{a}', '{b}')", order_by=["run_name"]) == "cde"
    assert population.found(f"run_id = '{a}'") == "a"


@pytest.mark.parametrize(
    "text",
    [
        "metrics.acc > 0.5 OR metrics.acc < 0.1",
        "(metrics.acc > 0.5)",
        "metrics.acc > 'x'",
        "params.lr > '0.1'",
        "params.lr = 0.1",
        "tags.team",
        "nonsense.acc > 1",
        "nonsense = 'x'",
        "status IN ('FINISHED')",
        "run_id IN ()",
        "start_time LIKE '1%'",
        "metrics.acc LIKE '1'",
        "params.lr = 'open",
        "= 1",
    ],
)
def test_filter_outside_the_grammar_is_refused(population, text):
    with pytest.raises(MlflowException) as failure:
        population.found(text)
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"


ORDERS = {
    # NaN after numbers, then what has none; ties by newest start, then by run id
    ("metrics.acc",): "baecd",
    ("metrics.acc DESC",): "eabcd",
    ("metrics.`the loss` ASC", "start_time ASC", "run_name"): "eabcd",
    ("params.lr", "run_name"): "bacde",
    ("params.lr DESC", "run_name DESC"): "cabed",
    ("tags.team", "run_name"): "bcaed",
    ("attributes.status", "run_name"): "cadbe",
    ("start_time", "run_name"): "eabcd",
    ("start_time DESC", "run_name DESC"): "dcbae",
    ("end_time", "run_name"): "acdbe",
    ("run_name DESC",): "edcba",
    ("attribute.created ASC", "run_name"): "eabcd",
}


@pytest.mark.parametrize("order", ORDERS, ids=", ".join)
def test_order(population, order):
    assert population.found(order_by=list(order)) == ORDERS[order]


def test_without_order_the_newest_start_comes_first_then_the_run_id(population):
    c_and_d = "".join(sorted("cd", key=population.ids.get))
    assert population.found() == f"{c_and_d}bae"


def test_ties_are_broken_by_newest_start_then_run_id(population):
    c_and_d = "".join(sorted("cd", key=population.ids.get))
    assert population.found(order_by=["metrics.nothing"]) == f"{c_and_d}bae"


@pytest.mark.parametrize("order", ["nonsense", "metrics.acc SIDEWAYS", "metrics.acc, params.lr", "x.y"])
def test_order_outside_the_grammar_is_refused(population, order):
    with pytest.raises(MlflowException) as failure:
        population.found(order_by=[order])
    assert failure.value.error_code == "INVALID_PARAMETER_VALUE"


def test_pages_follow_each_other(population):
    first = population.client.search_runs([population.experiment], order_by=["run_name"], max_results=2)
    second = population.found(order_by=["run_name"], max_results=2, page_token=first.token)
    assert [run.info.run_name for run in first] == ["a", "b"]
    assert second == "cd"


def test_last_page_has_no_token(population):
    search = {"order_by": ["run_name"], "max_results": 5}
    assert not population.client.search_runs([population.experiment], **search).token


def test_views(client, experiment):
    kept, gone = (client.create_run(experiment).info.run_id for _ in range(2))
    client.delete_run(gone)

    def view(kind):
        return {run.info.run_id for run in client.search_runs([experiment], run_view_type=kind)}

    assert view(ViewType.ACTIVE_ONLY) == {kept}
    assert view(ViewType.DELETED_ONLY) == {gone}
    assert view(ViewType.ALL) == {kept, gone}


def test_several_experiments_are_searched_at_once(client, experiment, population):
    run_id = client.create_run(experiment).info.run_id
    ids = {run.info.run_id for run in client.search_runs([experiment, population.experiment])}
    assert ids == {run_id, *population.ids.values()}


def test_fluent_search_is_a_frame(population):
    frame = mlflow.search_runs([population.experiment], "metrics.acc > 0", order_by=["run_name"])
    assert list(frame["run_id"]) == [population.ids[name] for name in "abe"]
    assert list(frame["metrics.acc"])[:2] == [0.9, 0.5]
    assert list(frame["params.lr"].fillna("none")) == ["0.1", "0.01", "none"]
    assert list(frame["tags.team"]) == ["x", "Y", "x"]
    assert list(frame["status"]) == ["FINISHED", "RUNNING", "SCHEDULED"]


def test_fluent_search_is_a_list_of_runs(population):
    runs = mlflow.search_runs([population.experiment], order_by=["run_name"], output_format="list")
    assert [run.info.run_name for run in runs] == list("abcde")


def test_fluent_search_by_experiment_name(client, population):
    name = client.get_experiment(population.experiment).name
    assert len(mlflow.search_runs(experiment_names=[name])) == 5


# -- more runs than a page holds by default ----------------------------------------------------------------

CROWD = 1010


@pytest.fixture(scope="module")
def crowd(server):
    server.ensure()
    experiment = Api(server.uri).create_experiment(f"crowd-{uuid.uuid4().hex}")

    def create(part: int) -> None:
        api = Api(server.uri)
        for i in range(part, CROWD, 4):
            api.create_run(experiment, start_time=i, tags=[{"key": "parity", "value": str(i % 2)}])
        api.session.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(create, range(4)))
    return experiment


def starts(runs) -> list[int]:
    return [run.info.start_time for run in runs]


def test_over_1000_runs_come_in_pages(client, crowd):
    first = client.search_runs([crowd])
    second = client.search_runs([crowd], page_token=first.token)
    assert starts(first) == list(range(CROWD - 1, 9, -1))
    assert starts(second) == list(range(9, -1, -1))
    assert not second.token


def test_over_1000_runs_come_at_once_when_asked_to(client, crowd):
    runs = client.search_runs([crowd], order_by=["start_time ASC"], max_results=5000)
    assert starts(runs) == list(range(CROWD))


def test_over_1000_runs_are_searched_as_one(crowd):
    frame = mlflow.search_runs([crowd], "tags.parity = '1'", order_by=["start_time ASC"])
    assert len(frame) == CROWD // 2
    assert list(frame["tags.parity"].unique()) == ["1"]
