"""Searching runs: the same runs in the same order as MLflow's own store finds in the same file."""

from __future__ import annotations

import json
import math
import warnings
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import search
from shoso.metadata.filters import MAX_COMPARISONS, MAX_ORDERS, MAX_VALUES
from shoso.metadata.search import search_runs
from shoso.wire.entities import encode
from shoso.wire.requests import SearchRuns

with warnings.catch_warnings(action="ignore"):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.utils.proto_json_utils import message_to_json

KINDS = places.PLACES
TEXTS = ["x", "X", "xy", "it's", "", "10%", "a_b", "acb", "100", "学習", "É", "é", 'say "hi"', "a\\b", "x "]
NUMBERS = [0.0, -0.0, 1.5, -1.5, 1e-300, 1e300, math.nan, math.inf, -math.inf, 1.5, 0.1 + 0.2, 7.0]
KEYS = ["a", "b b", "c.d", "学"]
STATUSES = ["RUNNING", "FINISHED", "FAILED", "KILLED"]
RUNS = 40


@pytest.fixture(scope="module")
def world(common_place):
    """Runs of two experiments in a database that MLflow wrote, open for MLflow and for us."""
    with common_place.tracking() as store, common_place.connect() as conn:
        experiments = ["0", store.create_experiment("second")]
        for number in range(RUNS):
            write_run(store, experiments[number % 2], number)
        # What MLflow wrote before 1.30: a name in the tag alone.
        conn.exec_driver_sql("UPDATE runs SET name = NULL WHERE run_uuid < '3'")
        ids = conn.exec_driver_sql("SELECT run_uuid FROM runs ORDER BY run_uuid").scalars().all()
        yield SimpleNamespace(
            store=store, conn=conn, experiments=experiments, ids=ids, kind=common_place.kind
        )


def write_run(store: SqlAlchemyStore, experiment_id: str, number: int) -> None:
    """A run whose fields follow from its number, each with a period of its own, so that they mix and tie."""
    run_id = store.create_run(
        experiment_id, f"user{number % 3}", number // 4, [], f"run {number % 9}"
    ).info.run_id
    params = [Param(key, TEXTS[(number * 7 + place) % len(TEXTS)]) for place, key in enumerate(KEYS)]
    tags = [RunTag(key, TEXTS[(number * 4 + place) % len(TEXTS)]) for place, key in enumerate(KEYS)]
    metrics = [
        Metric(key, NUMBERS[(number * 5 + place) % len(NUMBERS)], 1, 0) for place, key in enumerate(KEYS)
    ]
    store.log_batch(run_id, metrics[number % 3 :], params[number % 4 :], tags[number % 2 :])
    store.log_batch(run_id, [Metric("a", 3.0, 2, 1)] if number % 7 == 0 else [], [], [])
    context = InputTag("mlflow.data.context", ["train", "eval"][number % 2])
    contexts = [InputTag("note", "train"), *([context] if number % 3 else [])]
    data = Dataset(f"data{number % 5}", f"digest{number % 2}", "s", "{}", "{}" if number % 4 else None)
    store.log_inputs(
        run_id, [DatasetInput(data, contexts)] if number % 4 else [], [LoggedModelInput(f"m-{number}")]
    )
    store.log_inputs(
        run_id, [DatasetInput(Dataset("data0", "more", "s", "{}"), contexts)] if number % 6 == 0 else []
    )
    if number % 5 == 0:
        store.log_outputs(run_id, [LoggedModelOutput("m-x", number)])
    if number % 4:
        store.update_run_info(run_id, STATUSES_BY_NAME[STATUSES[number % 4]], number // 3, None)
    if number % 8 == 0:
        store.delete_run(run_id)


STATUSES_BY_NAME = {"RUNNING": 1, "FINISHED": 3, "FAILED": 4, "KILLED": 5}


def ours(world, request: SearchRuns) -> list[str] | None:
    """The ids on all pages; None for a refusal."""
    found: list[str] = []
    while True:
        try:
            page = search_runs(world.conn, request)
        except TrackingError:
            return None
        found += [run.info.run_id for run in page.runs]
        if page.next_page_token is None:
            return found
        assert len(page.runs) == request.max_results
        request = msgspec.structs.replace(request, page_token=page.next_page_token)


def theirs(world, request: SearchRuns) -> list[str] | None:
    try:
        found = world.store.search_runs(
            request.experiment_ids, request.filter, request.run_view_type, 1000, request.order_by, None
        )
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE" and "duplicate fields" not in str(error):
            raise
        return None
    return [run.info.run_id for run in found]


# -- generated searches -----------------------------------------------------------------------------------

QUOTED_KEYS = st.sampled_from([f"`{key}`" for key in [*KEYS, "missing"]] + ["a", "c.d", '"b b"'])
VALUES = st.sampled_from(
    [*TEXTS, "x%", "%x%", "_", "%", "a_b%", "X_", "", "%i%", "%É", "train", "data_", "run 3"]
).map(lambda text: f'"{text}"' if "'" in text else f"'{text}'")
SOME_NUMBERS = st.sampled_from(
    ["0", "1.5", "-1.5", "3", "1e300", "1.7976931348623157e308", "0.30000000000000004", "7"]
)
KEYED = st.builds(
    "{}.{} {}".format,
    st.sampled_from(["params", "tags", "param", "tag"]),
    QUOTED_KEYS,
    st.one_of(
        st.builds("{} {}".format, st.sampled_from(["=", "!=", "LIKE", "ilike"]), VALUES),
        st.sampled_from(["IS NULL", "IS NOT NULL"]),
    ),
)
METRICS = st.builds(
    "metrics.{} {} {}".format, QUOTED_KEYS, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), SOME_NUMBERS
)
ATTRIBUTES = st.one_of(
    st.builds(
        "{} {} '{}'".format,
        st.sampled_from(["status", "attributes.`run name`", "run_name", "user_id", "artifact_uri"]),
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        st.sampled_from(["FINISHED", "f%", "run 3", "RUN%", "user1", "User_", "%", "%/artifacts"]),
    ),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["start_time", "end_time", "created"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
        st.sampled_from(["0", "3", "5", "4.5"]),
    ),
)
DATASETS = st.builds(
    "dataset.{} {}".format,
    st.sampled_from(["name", "digest", "context"]),
    st.one_of(
        st.builds("{} {}".format, st.sampled_from(["=", "!=", "LIKE", "ILIKE"]), VALUES),
        st.sampled_from(
            ["IN ('data1', 'train', 'digest0')", "NOT IN ('data1', 'eval', 'more')", "= 'data0'"]
        ),
    ),
)
WRONG = st.sampled_from(
    [
        "metrics.a LIKE '1'",
        "params.a > 'x'",
        "run_id > 'a'",
        "status IN ('x')",
        "params.a = 1",
        "foo = 'x'",
        "a = b",
    ]
)
FILTERS = st.lists(
    st.one_of(KEYED, KEYED, METRICS, METRICS, ATTRIBUTES, ATTRIBUTES, DATASETS, WRONG), min_size=0, max_size=3
).map(" AND ".join)
ORDERS = st.lists(
    st.builds(
        "{}{}".format,
        st.one_of(
            st.builds("{}.{}".format, st.sampled_from(["metrics", "metrics", "params", "tags"]), QUOTED_KEYS),
            st.sampled_from(
                [
                    "start_time",
                    "end_time",
                    "run_id",
                    "run_name",
                    "status",
                    "user_id",
                    "artifact_uri",
                    "created",
                    "x",
                ]
            ),
        ),
        st.sampled_from(["", " ASC", " DESC"]),
    ),
    max_size=3,
)


@settings(max_examples=120, deadline=None)
@given(
    FILTERS, ORDERS, st.sampled_from([1, 2, 3]), st.sampled_from([1, 3, 7, 50]), st.sampled_from([1, 2, 3])
)
@example("", ["metrics.a DESC"], 3, 3, 2)
@example("metrics.a != 0", [], 3, 50, 2)
@example("metrics.a <= 0", [], 3, 50, 2)
@example("metrics.a != 1.5", ["metrics.a", "metrics.学 DESC"], 1, 7, 2)
@example("dataset.name = 'data0' AND dataset.context != 'train'", [], 3, 3, 2)
@example("dataset.context = 'train'", [], 3, 50, 2)
@example("", ["start_time", "created DESC"], 1, 7, 2)
def test_a_search_finds_what_mlflow_finds_in_the_same_order(
    world, filter_, order_by, view, size, experiments
):
    assume(not places.mlflow_errs(world.kind, filter_))
    ids = world.experiments[:experiments] if experiments < 3 else world.experiments[1:]
    request = SearchRuns(ids, filter_, view, size, order_by)
    assert ours(world, request) == theirs(world, request)


@pytest.mark.parametrize("negated", ["", "NOT "])
@pytest.mark.parametrize("picked", [slice(5), slice(0, 40, 3), slice(39, 40)])
def test_runs_are_found_by_lists_of_ids(world, negated, picked):
    ids = ", ".join(f"'{id_}'" for id_ in world.ids[picked])
    request = SearchRuns(world.experiments, f"run_id {negated}IN ({ids}, 'none')", 3, 50)
    assert ours(world, request) == theirs(world, request) != []


# -- pages ------------------------------------------------------------------------------------------------


def test_a_page_shows_what_mlflow_shows(world):
    """But for one thing: MLflow leaves the models that a run read out of searches, not out of runs/get."""
    page = search_runs(world.conn, SearchRuns(world.experiments, run_view_type=3, max_results=RUNS))
    assert len(page.runs) == RUNS
    for run in page.runs:
        if run.info.run_name is not None:  # what runs without a name show is the business of `runs`
            theirs_ = shown_by_mlflow(world.store.get_run(run.info.run_id))
            assert settled(json.loads(encode(run))) == settled(theirs_)


def shown_by_mlflow(run) -> dict:
    return json.loads(message_to_json(run.to_proto()))


def settled(value):
    """Lists in an order of their own: the database gives them in none."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((settled(item) for item in value), key=json.dumps)
    return value


def test_mlflow_and_we_go_on_with_each_others_pages(world):
    request = SearchRuns(world.experiments, run_view_type=3, max_results=9, order_by=["metrics.a"])
    page = search_runs(world.conn, request)
    first = world.store.search_runs(world.experiments, "", ViewType.ALL, 9, ["metrics.a"], None)
    assert first.token in {page.next_page_token, page.next_page_token.encode()}
    second = world.store.search_runs(
        world.experiments, "", ViewType.ALL, 9, ["metrics.a"], page.next_page_token
    )
    again = search_runs(world.conn, msgspec.structs.replace(request, page_token=page.next_page_token))
    assert [run.info.run_id for run in again.runs] == [run.info.run_id for run in second]


def test_a_search_without_experiments_finds_nothing_but_is_read(world):
    assert search_runs(world.conn, SearchRuns([])).runs == ()
    with pytest.raises(TrackingError):
        search_runs(world.conn, SearchRuns([], "nonsense"))


@pytest.mark.parametrize(
    "change",
    [
        {"max_results": 0},
        {"max_results": -1},
        {"max_results": 50_001},
        {"page_token": "%%%"},
        {"page_token": "bm90IGpzb24="},
        {"page_token": "W10="},
        {"page_token": "eyJvZmZzZXQiOiAwfQ=="},
        {"page_token": "eyJvZmZzZXQiOiAiYSJ9"},
        {"page_token": "eyJvZmZzZXQiOiAtNX0="},
        {"experiment_ids": ["one"]},
        {"experiment_ids": [str(2**70)]},
        {"run_view_type": 4},
        {"run_view_type": "NONE"},
        {"order_by": ["metrics.a", "metrics.a DESC"]},
        {"order_by": ["start_time", "created"]},
        {"order_by": ["dataset.name"]},
        {"order_by": [""]},
        {"filter": "x"},
    ],
)
def test_what_cant_be_searched_is_refused(world, change):
    """MLflow answers a field that is ordered by twice with a 500, and drops an enum that it doesn't know."""
    with pytest.raises(TrackingError) as caught:
        search_runs(world.conn, msgspec.structs.replace(SearchRuns(world.experiments), **change))
    assert caught.value.kind is Kind.INVALID


@pytest.mark.parametrize(("view", "same"), [("ACTIVE_ONLY", 1), ("DELETED_ONLY", 2), ("ALL", 3), ("3", 3)])
def test_views_go_by_number_or_name(world, view, same):
    by_name, by_number = (
        [run.info.run_id for run in search_runs(world.conn, SearchRuns(["0"], run_view_type=one)).runs]
        for one in (view, same)
    )
    assert by_name == by_number != []


def test_the_longest_filter_and_order_are_within_the_databases_limits(world):
    filter_ = " AND ".join(["params.a LIKE '%'", "metrics.a != 99"] * (MAX_COMPARISONS // 2))
    orders = [f"metrics.k{number}" for number in range(MAX_ORDERS)]
    assert ours(world, SearchRuns(world.experiments, filter_, 3, 50, orders))


def test_conditions_on_datasets_count_for_each_experiment_that_is_there(world, monkeypatch):
    monkeypatch.setattr(search, "MAX_VALUES", 5)
    twice, thrice = (" AND ".join(["dataset.name != 'a'"] * times) for times in (2, 3))
    search_runs(world.conn, SearchRuns([*world.experiments, "77"], twice))
    with pytest.raises(TrackingError, match="6 experiments times conditions on datasets"):
        search_runs(world.conn, SearchRuns(world.experiments, thrice))


def test_the_longest_lists_are_within_the_databases_limits(world):
    values = ", ".join(f"'{number}'" for number in range(MAX_VALUES))
    everywhere = [str(number) for number in range(MAX_VALUES)]
    assert ours(world, SearchRuns(everywhere, f"run_id NOT IN ({values})", 3, 50))
    with pytest.raises(TrackingError, match="experiments to search in"):
        search_runs(world.conn, SearchRuns([*everywhere, str(MAX_VALUES)]))
