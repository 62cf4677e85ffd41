"""Searching experiments: the same ones in the same order as MLflow's own store finds in the same file."""

from __future__ import annotations

import json
import warnings
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.entities import ExperimentTag
from mlflow.exceptions import MlflowException
from sqlalchemy import update
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata.schema import experiments as table
from shoso.metadata.search import search_experiments
from shoso.wire.entities import encode
from shoso.wire.requests import SearchExperiments

with warnings.catch_warnings(action="ignore"):
    from mlflow.utils.proto_json_utils import message_to_json

KINDS = places.PLACES
NAMES = ["a", "A", "ab", "a b", "it's", "10%", "a_b", "acb", "学習", "É", "é", "/Users/me/x", "b", "B c"]
TEXTS = ["x", "X", "xy", "10%", "", "学"]
ALL = SearchExperiments(max_results=100, view_type=3)


@pytest.fixture(scope="module")
def world(common_place):
    """Experiments in a database that MLflow wrote, open for MLflow and for us."""
    with common_place.tracking() as store, common_place.connect() as conn:
        for number, name in enumerate(NAMES):
            tags = [
                ExperimentTag(f"k {place}", TEXTS[(number + place) % len(TEXTS)])
                for place in range(number % 3)
            ]
            experiment_id = store.create_experiment(name, tags=tags)
            if number % 5 == 0:
                store.delete_experiment(experiment_id)
        for number in range(len(NAMES) + 1):
            conn.execute(
                update(table)
                .where(table.c.experiment_id == number)
                .values(creation_time=number // 3, last_update_time=number % 4)
            )
        yield SimpleNamespace(store=store, conn=conn, kind=common_place.kind)


def ours(world, request: SearchExperiments) -> list[str] | None:
    """The ids on all pages; None for a refusal."""
    found: list[str] = []
    while True:
        try:
            page = search_experiments(world.conn, request)
        except TrackingError:
            return None
        found += [one.experiment_id for one in page.experiments]
        if page.next_page_token is None:
            return found
        assert len(page.experiments) == request.max_results
        request = msgspec.structs.replace(request, page_token=page.next_page_token)


def theirs(world, request: SearchExperiments) -> list[str] | None:
    try:
        found = world.store.search_experiments(
            request.view_type, 1000, request.filter, request.order_by, None
        )
    except MlflowException as error:
        # A comparator that fits no attribute has no code and so is a 500.
        if error.error_code != "INVALID_PARAMETER_VALUE" and "Invalid comparator" not in str(error):
            raise
        return None
    return [one.experiment_id for one in found]


VALUES = st.sampled_from([*NAMES, *TEXTS, "a%", "%B%", "_", "%", "a_b%", "%学%"]).map(
    lambda text: f'"{text}"' if "'" in text else f"'{text}'"
)
COMPARISONS = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["name", "attribute.name", "tags.`k 0`", 'tag."k 1"']),
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        VALUES,
    ),
    st.builds("tags.`k {}` {}".format, st.integers(0, 2), st.sampled_from(["IS NULL", "is not null"])),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["creation_time", "last_update_time"]),
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "LIKE"]),
        st.sampled_from(["0", "2", "3", "1.5"]),
    ),
    st.builds(
        "experiment_id {} '{}'".format,
        st.sampled_from(["=", "!=", "<", "LIKE"]),
        st.sampled_from([3, 5, "x"]),
    ),
    st.sampled_from(
        ["experiment_id IN ('1', '4', '99')", "experiment_id NOT IN ('2')", "experiment_id IN ('x')"]
    ),
    st.sampled_from(
        ["name IN ('a')", "name > 'a'", "attributes.name = 'a'", "lifecycle_stage = 'active'", "tags.a > 1"]
    ),
)
FILTERS = st.lists(COMPARISONS, max_size=3).map(" AND ".join)
ORDERS = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(
            ["name", "attribute.creation_time", "last_update_time", "experiment_id", "`name`", "tags.a", "x"]
        ),
        st.sampled_from(["", " ASC", " DESC"]),
    ),
    max_size=3,
)


@settings(max_examples=80, deadline=None)
@given(FILTERS, ORDERS, st.sampled_from([1, 2, 3]), st.sampled_from([1, 4, 50]))
@example("", [], 3, 4)
@example("", ["creation_time", "creation_time DESC"], 3, 4)
def test_a_search_finds_what_mlflow_finds_in_the_same_order(world, filter_, order_by, view, size):
    assume(not places.mlflow_errs(world.kind, filter_))
    request = SearchExperiments(size, "", filter_, order_by, view)
    assert ours(world, request) == theirs(world, request)


@pytest.mark.parametrize("filter_", ["name like 'a%'", "name ilike 'a%' AND experiment_id not in ('3')"])
def test_comparators_are_read_in_any_case(world, filter_):
    """MLflow does so for runs and logged models, and refuses it for experiments."""
    small, big = (
        msgspec.structs.replace(ALL, filter=text) for text in (filter_, filter_.replace("like", "LIKE"))
    )
    assert theirs(world, small) is None
    assert ours(world, small) == ours(world, big) != []


def test_experiments_without_a_time_come_last(world):
    """Those from before MLflow 1.29; MLflow puts them first or last, as the database does."""
    change = update(table).where(table.c.experiment_id == 5)
    world.conn.execute(change.values(creation_time=None))
    for order in ("creation_time", "creation_time DESC"):
        assert ours(world, msgspec.structs.replace(ALL, order_by=[order]))[-1] == "5"
    world.conn.execute(change.values(creation_time=5 // 3))


def test_a_page_shows_what_mlflow_shows(world):
    page = search_experiments(world.conn, ALL)
    read = {one.experiment_id: one for one in world.store.search_experiments(3, 100)}
    assert len(page.experiments) == len(NAMES) + 1
    for one in page.experiments:
        shown = json.loads(message_to_json(read[one.experiment_id].to_proto()))
        mine = json.loads(encode(one))
        for tags in (shown.get("tags", []), mine.get("tags", [])):
            tags.sort(key=lambda tag: tag["key"])
        assert {**shown, "workspace": None} == {**mine, "workspace": None}


@pytest.mark.parametrize(
    "change",
    [
        {"max_results": 0},
        {"max_results": 50_001},
        {"page_token": "x"},
        {"view_type": 0},
        {"order_by": ["tags.a"]},
        {"filter": "experiment_id = '99999999999999999999'"},
    ],
)
def test_what_cant_be_searched_is_refused(world, change):
    with pytest.raises(TrackingError) as caught:
        search_experiments(world.conn, msgspec.structs.replace(ALL, **change))
    assert caught.value.kind is Kind.INVALID


def test_max_results_must_be_given(world):
    """As in MLflow, where leaving it out means 0."""
    with pytest.raises(TrackingError, match="positive integer"):
        search_experiments(world.conn, SearchExperiments())
