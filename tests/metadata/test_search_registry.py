"""Searching the registry: the same entries in the same order as MLflow's own store finds in the same file."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from sqlalchemy import update
from tests.metadata import places

from shoso.errors import Kind, TrackingError
from shoso.metadata import search_registry
from shoso.metadata.schema import model_versions, registered_models
from shoso.wire.registry import IS_PROMPT, SearchModelVersions, SearchRegisteredModels

KINDS = places.PLACES
NAMES = ["m", "M", "model-a", "model_b", "学習", "É", "it's", "50%", "a b", "prompt 1", "prompt 2"]
TEXTS = ["x", "X", "it's", "10%", "", "a b", "true"]
RUNS = ["r1", "R1", ""]


@pytest.fixture(scope="module")
def world(common_place):
    """A registry in a database that MLflow wrote, open for MLflow and for us."""
    with common_place.registry() as store, common_place.connect() as conn:
        for number, name in enumerate(NAMES):
            write(store, name, number)
        for table in (registered_models, model_versions):
            for name in NAMES:
                change = update(table).where(table.c.name == name)
                conn.execute(change.values(last_updated_time=ord(name[0]) % 4))
        conn.execute(update(model_versions).values(creation_time=10 - model_versions.c.version % 3))
        yield SimpleNamespace(store=store, conn=conn, kind=common_place.kind)


def write(store, name: str, number: int) -> None:
    """A model with 0 to 3 versions, whose fields follow from its number, so that they mix and tie."""
    prompt = {IS_PROMPT: "true"} if name.startswith("prompt") else {}
    tags = prompt | ({"k": TEXTS[number % len(TEXTS)]} if number % 4 else {}) | {"a b": "c"}
    store.create_registered_model(name, [RegisteredModelTag(*tag) for tag in tags.items()])
    for version in range(number % 4):
        tags = prompt | ({"k": TEXTS[(number + version) % len(TEXTS)]} if version else {})
        given = [ModelVersionTag(*tag) for tag in tags.items()]
        store.create_model_version(name, f"s3://b/{version}", RUNS[number % len(RUNS)], given)
    if number % 4 == 3:
        store.delete_model_version(name, 2)


def ours(search, conn, request) -> list[tuple] | None:
    """What is on all pages, in order; None for a refusal."""
    found: list[tuple] = []
    while True:
        try:
            page = search(conn, request)
        except TrackingError:
            return None
        entries = getattr(page, "registered_models", None) or getattr(page, "model_versions", ())
        found += [(entry.name, getattr(entry, "version", "")) for entry in entries]
        if page.next_page_token is None:
            return found
        assert len(entries) == request.max_results
        request = msgspec.structs.replace(request, page_token=page.next_page_token)


def theirs(search, request) -> list[tuple] | None:
    """The same by MLflow, on one page."""
    try:
        page = search(request.filter, max_results=1000, order_by=request.order_by)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        return None
    return [(entry.name, str(getattr(entry, "version", ""))) for entry in page]


def require_the_same(world, request, *, models: bool) -> list[tuple] | None:
    if models:
        found = ours(search_registry.search_models, world.conn, request)
        assert found == theirs(world.store.search_registered_models, request), request
    else:
        found = ours(search_registry.search_versions, world.conn, request)
        assert found == theirs(world.store.search_model_versions, request), request
    return found


def quoted(text: str) -> str:
    return '"' + text + '"' if "'" in text else f"'{text}'"


TEXT = st.sampled_from([*NAMES, *TEXTS, "m%", "%a%", "_", "s3://b/1", "s3%", "false", *RUNS]).map(quoted)
PATTERN = st.sampled_from(["=", "!=", "LIKE", "ILIKE"])
LIST = st.lists(TEXT.filter(lambda text: text != "''"), min_size=1, max_size=3)
TAG = st.sampled_from(["tags.k", "tag.k", "tags.`a b`", 'tags."k"', f"tags.`{IS_PROMPT}`", "tags.absent"])


def listed(keys: list[str]):
    values = st.builds(lambda found: "(" + ", ".join(found) + ")", LIST)
    return st.builds("{} {} {}".format, st.sampled_from(keys), st.sampled_from(["IN", "NOT IN"]), values)


MODEL_CONDITION = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["name", "attribute.name"]), PATTERN, TEXT),
    st.builds("{} {} {}".format, TAG, PATTERN, TEXT),
    listed(["name"]),
)
VERSION_CONDITION = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["name", "run_id", "source_path"]), PATTERN, TEXT),
    st.builds("{} {} {}".format, TAG, PATTERN, TEXT),
    st.builds(
        "version_number {} {}".format, st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(0, 4)
    ),
    listed(["name", "run_id"]),
)
DIRECTION = st.sampled_from(["", " ASC", " DESC", " desc"])


def orders(*keys: str):
    one = st.builds("{}{}".format, st.sampled_from(keys), DIRECTION)
    return st.lists(one, max_size=2, unique_by=lambda text: text.split()[0])


@given(
    st.lists(MODEL_CONDITION, max_size=3).map(" AND ".join),
    orders("name", "last_updated_timestamp"),
    st.integers(1, 12),
)
@example(f"tags.`{IS_PROMPT}` = 'true'", [], 1)
@example(f"tags.`{IS_PROMPT}` != 'false' and name LIKE '%1'", ["timestamp"], 1)
@example(f"tags.`{IS_PROMPT}` = 'false'", ["timestamp DESC"], 5)
@settings(max_examples=50, deadline=None)
def test_models_are_found_as_mlflow_finds_them(world, text, order, size):
    assume(not places.mlflow_errs(world.kind, text))
    require_the_same(world, SearchRegisteredModels(text, size, order), models=True)


@given(
    st.lists(VERSION_CONDITION, max_size=3).map(" AND ".join),
    orders("name", "version_number", "creation_timestamp", "last_updated_timestamp"),
    st.integers(1, 20),
)
@example(f"tags.`{IS_PROMPT}` = 'true'", [], 1)
@example("version_number = '2'", ["creation_timestamp"], 5)
@settings(max_examples=50, deadline=None)
def test_versions_are_found_as_mlflow_finds_them(world, text, order, size):
    assume(not places.mlflow_errs(world.kind, text))
    require_the_same(world, SearchModelVersions(text, size, order), models=False)


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "nonsense = 'x'",
        "name > 'x'",
        "name = m",
        "name = 5",
        "name = 'a' OR name = 'b'",
        "params.a = 'x'",
        "tags.k IN ('x')",
        "tags.k = 5",
        "name IN ()",
        "last_updated_timestamp > 5",
    ],
)
def test_what_mlflow_refuses_is_refused(world, text):
    assert require_the_same(world, SearchRegisteredModels(text), models=True) is None
    assert require_the_same(world, SearchModelVersions(text), models=False) is None


@pytest.mark.parametrize("text", ["version_number = 1.5", "version_number LIKE '1'", "source_path IN ('a')"])
def test_what_mlflow_refuses_of_versions_is_refused(world, text):
    assert require_the_same(world, SearchModelVersions(text), models=False) is None


@pytest.mark.parametrize("order", ["nonsense", "creation_timestamp", "name UP", "run_id"])
def test_other_orders_are_refused(world, order):
    assert require_the_same(world, SearchRegisteredModels(order_by=[order]), models=True) is None


@pytest.mark.parametrize("order", ["nonsense", "timestamp", "name UP", "run_id", "source_path"])
def test_other_orders_of_versions_are_refused(world, order):
    assert require_the_same(world, SearchModelVersions(order_by=[order]), models=False) is None


@pytest.mark.parametrize(
    ("search", "request_"),
    [
        (search_registry.search_models, SearchRegisteredModels(max_results=1001)),
        (search_registry.search_models, SearchRegisteredModels(max_results=0)),
        (search_registry.search_models, SearchRegisteredModels(page_token="?")),
        (search_registry.search_versions, SearchModelVersions(max_results=200_001)),
        (search_registry.search_versions, SearchModelVersions(max_results=-1)),
        (search_registry.search_versions, SearchModelVersions(page_token="eyJ4IjogMX0=")),
    ],
)
def test_pages_outside_the_limits_are_refused(world, search, request_):
    with pytest.raises(TrackingError) as failure:
        search(world.conn, request_)
    assert failure.value.kind is Kind.INVALID
