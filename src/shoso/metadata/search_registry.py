"""Searching the model registry. Prompts are in it, but they are found only by who asks for them.

As in MLflow, who asks gives a condition on the tag IS_PROMPT that only prompts meet. Any other condition on
that tag is left out, for no model has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, Select, Table, exists, select

from shoso.metadata import paging
from shoso.metadata.clauses import absent_last, compare
from shoso.metadata.dialects.texts import same
from shoso.metadata.entries import shown_models, shown_versions
from shoso.metadata.filters import Comparison, parse_filter, parse_order
from shoso.metadata.registry_rules import DELETED
from shoso.metadata.schema import (
    WORKSPACE,
    model_version_tags,
    model_versions,
    registered_model_tags,
    registered_models,
)
from shoso.metadata.searchable import (
    MODEL_VERSIONS,
    ORDERED_REGISTERED_MODELS,
    ORDERED_VERSIONS,
    REGISTERED_MODELS,
    Searchable,
)
from shoso.wire.registry import (
    IS_PROMPT,
    RegisteredModelPage,
    SearchModelVersions,
    SearchRegisteredModels,
    VersionPage,
)

MODELS_MAX = 1000
VERSIONS_MAX = 200_000
"""Results on a page, as MLflow has them."""


class _Search(NamedTuple):
    """Where to look: the table, that of its tags, and the columns by which the two belong together."""

    table: Table
    tags: Table
    key: tuple[str, ...]
    filtered: Searchable
    ordered: Searchable
    columns: dict[str, str]
    """The columns of attributes that are called otherwise."""

    last: tuple[tuple[str, bool], ...]
    """What decides in the end, each with whether it ascends, so that pages never overlap."""


_MODELS = _Search(
    registered_models,
    registered_model_tags,
    ("workspace", "name"),
    REGISTERED_MODELS,
    ORDERED_REGISTERED_MODELS,
    {"last_updated_timestamp": "last_updated_time"},
    (("name", True),),
)
_VERSIONS = _Search(
    model_versions,
    model_version_tags,
    ("workspace", "name", "version"),
    MODEL_VERSIONS,
    ORDERED_VERSIONS,
    {
        "source_path": "source",
        "version_number": "version",
        "creation_timestamp": "creation_time",
        "last_updated_timestamp": "last_updated_time",
    },
    (("name", True), ("version", False)),
)


def search_models(conn: Connection, request: SearchRegisteredModels) -> RegisteredModelPage:
    """A page of the registered models that match. Raises TrackingError(INVALID)."""
    size = paging.size(request.max_results, MODELS_MAX)
    rows, token = _page(conn, _MODELS, request, size, ())
    return RegisteredModelPage(shown_models(conn, rows) or (), token)


def search_versions(conn: Connection, request: SearchModelVersions) -> VersionPage:
    """A page of the versions that match and aren't deleted. Raises TrackingError(INVALID)."""
    size = paging.size(request.max_results, VERSIONS_MAX)
    there = model_versions.c.current_stage != DELETED
    rows, token = _page(conn, _VERSIONS, request, size, ["last_updated_timestamp DESC"], there)
    return VersionPage(shown_versions(conn, rows) or (), token)


def _page(
    conn: Connection,
    search: _Search,
    request: SearchRegisteredModels | SearchModelVersions,
    size: int,
    order: Sequence[str],
    *conditions: ColumnElement[bool],
) -> tuple[Sequence[Row[Any]], str | None]:
    """The rows of a page, and the token of the next; `order` is that of who asks for none."""
    start = paging.offset(request.page_token)
    query = (
        select(search.table)
        .where(search.table.c.workspace == WORKSPACE, *conditions)
        .where(*_conditions(search, parse_filter(request.filter, search.filtered)))
        .order_by(*_order(search, request.order_by or order))
    )
    rows = conn.execute(query.offset(start).limit(size + 1)).all()
    return rows[:size], paging.token(start + size) if len(rows) > size else None


def _conditions(search: _Search, comparisons: Iterable[Comparison]) -> list[ColumnElement[bool]]:
    comparisons = [*comparisons]
    about = [one for one in comparisons if (one.entity, one.key) == ("tag", IS_PROMPT)]
    if about and _asks_for_prompts(about[0]):
        return [_condition(search, one) for one in comparisons]
    return [~_is_prompt(search), *(_condition(search, one) for one in comparisons if one not in about)]


def _asks_for_prompts(one: Comparison) -> bool:
    return (one.comparator, str(one.value).lower()) in {("=", "true"), ("!=", "false")}


def _is_prompt(search: _Search) -> ColumnElement[bool]:
    """A model that is one, or a version of what has a version that is one."""
    tag = search.tags.c
    return exists(_tagged(search, search.key[:2]).where(tag.key == IS_PROMPT, tag.value == "true"))


def _condition(search: _Search, wanted: Comparison) -> ColumnElement[bool]:
    if wanted.entity == "attribute":
        column = search.table.c[search.columns.get(wanted.key, wanted.key)]
        return compare(column, wanted.comparator, wanted.value)
    tag = search.tags.c
    held = compare(tag.value, wanted.comparator, wanted.value)
    return exists(_tagged(search, search.key).where(same(tag.key, wanted.key), held))


def _tagged(search: _Search, key: Iterable[str]) -> Select[Any]:
    same = [search.tags.c[name] == search.table.c[name] for name in key]
    return select(search.tags.c.key).where(*same)


def _order(search: _Search, texts: Sequence[str]) -> list[ColumnElement[Any]]:
    """In the order asked for, then as the table says; a field named again says nothing new."""
    directions: dict[str, bool] = {}
    for order in parse_order(texts, search.ordered):
        directions.setdefault(search.columns.get(order.key, order.key), order.ascending)
    for name, ascending in search.last:
        directions.setdefault(name, ascending)
    clauses = (absent_last(search.table.c[name], ascending) for name, ascending in directions.items())
    return [clause for part in clauses for clause in part]
