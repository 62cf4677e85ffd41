"""Searching logged models: the same ones in the same order as MLflow's own store finds in the same file."""

from __future__ import annotations

import base64
import json
import math
import warnings
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.entities import LoggedModelParameter, LoggedModelStatus, LoggedModelTag, Metric
from mlflow.exceptions import MlflowException
from sqlalchemy import select, update
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata.schema import logged_models as table
from shoso.metadata.search_models import search_logged_models
from shoso.wire.entities import encode
from shoso.wire.requests import ModelDataset, ModelOrderBy, SearchLoggedModels

with warnings.catch_warnings(action="ignore"):
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.utils.proto_json_utils import message_to_json

KINDS = places.PLACES
MODELS = 24
NAMES = ["m", "M", "model-a", "model_b", "学習", "É"]
TEXTS = ["x", "X", "0.1", "it's", "10%", "", "a b"]
NUMBERS = [0.0, 1.5, -1.5, math.nan, math.inf, 7.0, 1.5]


@pytest.fixture(scope="module")
def world(common_place):
    """Models of two experiments in a database that MLflow wrote, open for MLflow and for us."""
    with common_place.tracking() as store, common_place.connect() as conn:
        experiments = ["0", store.create_experiment("second")]
        runs = [store.create_run("0", "me", 0, [], "r").info.run_id for _ in range(2)]
        for number in range(MODELS):
            write_model(store, experiments[number % 2], runs, number)
        ids = conn.scalars(select(table.c.model_id).order_by(table.c.model_id)).all()
        for model_id in ids:
            time = ord(model_id[2]) % 5
            values = {"creation_timestamp_ms": time, "last_updated_timestamp_ms": 10 - time}
            conn.execute(update(table).where(table.c.model_id == model_id).values(**values))
        kind = common_place.kind
        yield SimpleNamespace(store=store, conn=conn, experiments=experiments, ids=ids, kind=kind)


def write_model(store: SqlAlchemyStore, experiment_id: str, runs: list[str], number: int) -> None:
    """A model whose fields follow from its number, each with its own period, so that they mix and tie."""
    text = [TEXTS[(number + place) % len(TEXTS)] for place in range(2)]
    model_id = store.create_logged_model(
        experiment_id,
        NAMES[number % len(NAMES)],
        runs[number % 2] if number % 3 else None,
        [LoggedModelTag("k", text[0])] if number % 5 else [],
        [LoggedModelParameter("lr", text[1])] if number % 4 else [],
        "Agent" if number % 7 else None,
    ).model_id
    for step in range(number % 4):
        # The latest point by time isn't the last by step.
        dataset = {"dataset_name": f"data{step % 2}", "dataset_digest": f"d{number % 2}"} if step else {}
        value = NUMBERS[(number + 3 * step) % len(NUMBERS)]
        for run_id in runs[: 1 + number % 2]:
            store.log_metric(run_id, Metric("loss", value, 9 - step // 2, step, model_id=model_id, **dataset))
            store.log_metric(run_id, Metric("a b", -value, 1, step, model_id=model_id, **dataset))
    if number % 3:
        store.finalize_logged_model(model_id, LoggedModelStatus.from_int(1 + number % 3))
    if number % 11 == 0:
        store.delete_logged_model(model_id)


def ours(world, request: SearchLoggedModels) -> list[str] | None:
    """The ids on all pages; None for a refusal."""
    found: list[str] = []
    while True:
        try:
            page = search_logged_models(world.conn, request)
        except TrackingError:
            return None
        found += [model.info.model_id for model in page.models]
        if page.next_page_token is None:
            return found
        assert len(page.models) == request.max_results
        request = msgspec.structs.replace(request, page_token=page.next_page_token)


def theirs(world, request: SearchLoggedModels) -> list[str] | None:
    try:
        return [model.model_id for model in their_page(world, request, 1000)]
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        return None


def their_page(world, request: SearchLoggedModels, size: int):
    """What MLflow's handler asks its store for; but a dataset without a digest stays without one.

    The handler says digest None there, and the store then looks for points whose digest is NULL.
    """
    return world.store.search_logged_models(
        request.experiment_ids,
        request.filter or None,
        [{key: value for key, value in msgspec.to_builtins(one).items() if value} for one in request.datasets]
        or None,
        size,
        [
            {key: None if value == "" else value for key, value in msgspec.structs.asdict(one).items()}
            for one in request.order_by
        ]
        or None,
        request.page_token or None,
    )


TEXT_VALUES = st.one_of(
    st.sampled_from([*NAMES, *TEXTS, "m%", "%E%", "_", "%"])
    .filter(lambda text: "'" not in text)
    .map("'{}'".format),
    st.sampled_from(["m", "0.1", "x", "a.b"]),
)
RIGHT = st.one_of(
    st.builds("{} {}".format, st.sampled_from(["=", "!=", "LIKE", "ilike"]), TEXT_VALUES),
    st.builds(
        "{} {}".format,
        st.sampled_from(["in", "NOT IN"]),
        st.sampled_from(["('x', 'm', 'Agent')", "(\"it's\", 'x')", "(0.1, 1.5)"]),
    ),
)
ATTRIBUTES = ["name", "attributes.model_type", "source_run_id", "lifecycle_stage", "status_message", "`name`"]
TEXT_FIELDS = st.sampled_from([*ATTRIBUTES, "params.lr", "tags.`k`", "tags.none"])
COMPARISONS = st.one_of(
    st.builds("{} {}".format, TEXT_FIELDS, RIGHT),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(
            ["metrics.loss", "metrics.`a b`", "creation_time", "last_updated_timestamp", "metrics.none"]
        ),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE"]),
        st.sampled_from(["0", "1.5", "3", "1e3"]),
    ),
    st.builds("status {} {}".format, st.sampled_from(["=", "!="]), st.sampled_from(["1", "'2'", "3"])),
    st.builds("experiment_id {} {}".format, st.sampled_from(["=", "!="]), st.sampled_from(["0", "'1'"])),
    st.sampled_from(
        ["metric.a > 1", "tags.k IS NULL", "name > 'a'", "name = 'x' OR name = 'y'", "datasets.name = 'x'"]
    ),
)
FILTERS = st.lists(COMPARISONS, max_size=3).map(" AND ".join)
DATASETS = st.lists(
    st.builds(ModelDataset, st.sampled_from(["data0", "data1", "x"]), st.sampled_from(["", "d0", "d1"])),
    max_size=2,
)
ORDER_FIELDS = [
    "name",
    "creation_time",
    "last_updated_timestamp",
    "model_type",
    "model_id",
    "status",
    "source_run_id",
]
ORDERS = st.lists(
    st.builds(
        ModelOrderBy,
        st.one_of(
            st.sampled_from(["metrics.loss", "metrics.a b", "metrics.none"]),
            st.sampled_from([*ORDER_FIELDS, "creation_timestamp_ms", "params.lr", "x"]),
        ),
        st.booleans(),
        st.sampled_from(["", "", "data0", "data1"]),
        st.sampled_from(["", "d0"]),
    ),
    max_size=2,
)


@settings(max_examples=100, deadline=None)
@given(FILTERS, DATASETS, ORDERS, st.sampled_from([1, 5, 50]), st.sampled_from([1, 2]))
@example("", [], [], 5, 2)
@example("metrics.loss > 0", [ModelDataset("data1", "d1")], [ModelOrderBy("metrics.loss", False)], 5, 2)
@example("", [ModelDataset("data1")], [ModelOrderBy("metrics.loss", True, "data1", "d0")], 5, 2)
def test_a_search_finds_what_mlflow_finds_in_the_same_order(
    world, filter_, datasets, order_by, size, experiments
):
    assume(not places.mlflow_errs(world.kind, filter_))
    request = SearchLoggedModels(world.experiments[:experiments], filter_, datasets, size, order_by)
    try:
        expected = theirs(world, request)
    except MlflowException as error:
        # It compares texts with the numbers of a list, at which PostgreSQL stops.
        assume(world.kind != "postgres" or "operator does not exist" not in str(error))
        raise
    assert ours(world, request) == expected


@pytest.mark.parametrize("negated", ["", "NOT "])
def test_models_are_found_by_lists_of_ids(world, negated):
    ids = ", ".join(f"'{id_}'" for id_ in world.ids[::3])
    request = SearchLoggedModels(world.experiments, f"model_id {negated}IN ({ids})")
    assert ours(world, request) == theirs(world, request) != []


@pytest.mark.parametrize(
    ("filter_", "plain"),
    [
        ('name = "m"', "name = 'm'"),  # MLflow looks for the quotes too
        ("tags.\"k\" = 'x'", "tags.k = 'x'"),
        (
            "status = 'READY'",
            "status = 2",
        ),  # MLflow compares the number with the name, which PostgreSQL refuses
        ("status IN (LOGGED_MODEL_READY, 'PENDING')", "status IN ('1', '2')"),
        ("`creation_time` > 1", "creation_time > 1"),  # MLflow answers 500
    ],
)
def test_what_we_read_in_another_way_than_mlflow(world, filter_, plain):
    found = ours(world, SearchLoggedModels(world.experiments, filter_))
    search = ours if places.mlflow_errs(world.kind, plain) else theirs
    assert found == search(world, SearchLoggedModels(world.experiments, plain)) != []


@pytest.mark.parametrize(
    "filter_",
    [
        "foo = 'x'",  # MLflow answers 500 to an unknown attribute
        "metrics.loss > abc",  # and to text for a number
        "metrics.loss > '1'",
        "metrics.loss > nan",  # which MLflow accepts, and finds nothing
        "metrics.loss > inf",  # the same: infinity is stored as the greatest double
        "params.lr = ('x')",  # a list for '=' is what the database refuses, with its SQL
        "params.lr IN ()",  # accepted by MLflow, and finds nothing
        "name LIKE 'x' AND status LIKE '2'",  # a status is a number
        "tags.`` = 'x'",
    ],
)
def test_what_we_refuse_and_mlflow_does_not(world, filter_):
    with pytest.raises(TrackingError) as caught:
        search_logged_models(world.conn, SearchLoggedModels(world.experiments, filter_))
    assert caught.value.kind is Kind.INVALID


# -- pages ------------------------------------------------------------------------------------------------


def test_a_page_shows_what_mlflow_shows(world):
    for model in search_logged_models(world.conn, SearchLoggedModels(world.experiments)).models:
        shown = world.store.get_logged_model(model.info.model_id)
        assert settled(json.loads(encode(model))) == settled(json.loads(message_to_json(shown.to_proto())))


def settled(value):
    """Lists in an order of their own: the database gives them in none."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((settled(item) for item in value), key=json.dumps)
    return value


def test_mlflow_and_we_go_on_with_each_others_pages(world):
    request = SearchLoggedModels(
        world.experiments,
        "creation_time >= 0",
        max_results=7,
        order_by=[ModelOrderBy("metrics.loss", False, "data1")],
    )
    page, their_first = search_logged_models(world.conn, request), their_page(world, request, 7)
    assert json.loads(decoded(page.next_page_token)) == json.loads(decoded(their_first.token))
    mine = search_logged_models(world.conn, msgspec.structs.replace(request, page_token=their_first.token))
    more = their_page(world, msgspec.structs.replace(request, page_token=page.next_page_token), 7)
    assert [one.info.model_id for one in mine.models] == [one.model_id for one in more] != []


def decoded(token: str) -> bytes:
    return base64.b64decode(token)


@pytest.mark.parametrize(
    "change",
    [
        {"experiment_ids": ["0"]},
        {"filter": ""},
        {"filter": "creation_time >= 1"},
        {"order_by": []},
        {"order_by": [ModelOrderBy("name", False)]},
    ],
)
def test_a_token_belongs_to_its_search(world, change):
    request = SearchLoggedModels(
        world.experiments, "creation_time >= 0", max_results=7, order_by=[ModelOrderBy("name")]
    )
    token = search_logged_models(world.conn, request).next_page_token
    with pytest.raises(TrackingError, match="page_token"):
        search_logged_models(world.conn, msgspec.structs.replace(request, page_token=token, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"experiment_ids": []},
        {"experiment_ids": ["one"]},
        {"max_results": -1},
        {"page_token": "x"},
        {"order_by": [ModelOrderBy("params.lr")]},
        {"order_by": [ModelOrderBy("metrics.")]},
        {"order_by": [ModelOrderBy("metadata")]},
    ],
)
def test_what_cant_be_searched_is_refused(world, change):
    with pytest.raises(TrackingError) as caught:
        search_logged_models(
            world.conn, msgspec.structs.replace(SearchLoggedModels(world.experiments), **change)
        )
    assert caught.value.kind is Kind.INVALID


@pytest.mark.parametrize("size", [0, 100, 2**63 - 1])
def test_a_page_of_any_size_is_given(world, size):
    page = search_logged_models(world.conn, SearchLoggedModels(world.experiments, max_results=size))
    assert len(page.models) == MODELS - math.ceil(MODELS / 11)
