"""Searching logged models; the grammar and the orders differ a little from those of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, exists, or_, select

from shoso.errors import Kind, TrackingError
from shoso.metadata import models, paging
from shoso.metadata.clauses import absent_last, compare, parts
from shoso.metadata.dialects.texts import same
from shoso.metadata.filters import MAX_ORDERS, Comparison, at_most, parse_filter
from shoso.metadata.lifecycle import DELETED
from shoso.metadata.schema import logged_model_metrics, logged_model_params, logged_model_tags, logged_models
from shoso.metadata.search import experiment_numbers
from shoso.metadata.searchable import LOGGED_MODELS
from shoso.wire.decode import missing
from shoso.wire.entities import LoggedModel
from shoso.wire.replies import LoggedModelPage
from shoso.wire.requests import ModelDataset, ModelOrderBy, SearchLoggedModels

_DEFAULT_RESULTS = 100
_KEYED = {
    "param": (
        logged_model_params.c.model_id,
        logged_model_params.c.param_key,
        logged_model_params.c.param_value,
    ),
    "tag": (logged_model_tags.c.model_id, logged_model_tags.c.tag_key, logged_model_tags.c.tag_value),
}


MAX_DATASETS = 100
"""Each is a term in the condition of every metric; SQLite's expressions have at most 1,000 levels."""


def search_logged_models(
    conn: Connection, request: SearchLoggedModels, *, deleted: bool = False
) -> LoggedModelPage:
    """A page of the models that match and aren't deleted, or are. Raises TrackingError(INVALID)."""
    stage = logged_models.c.lifecycle_stage
    if not request.experiment_ids:
        raise missing("experiment_ids")
    size, start = _size(request.max_results), _offset(request)
    comparisons = parse_filter(request.filter, LOGGED_MODELS)
    at_most(MAX_DATASETS, len(request.datasets), "datasets")
    conditions = [_condition(one, request.datasets) for one in comparisons]
    if request.datasets and not any(one.entity == "metric" for one in comparisons):
        conditions.append(_measured(_on_one_of(request.datasets)))
    query = select(logged_models.c.model_id).where(
        logged_models.c.experiment_id.in_(experiment_numbers(conn, request.experiment_ids)),
        stage == DELETED if deleted else stage != DELETED,
        *conditions,
    )
    ids = conn.scalars(query.order_by(*_order(request.order_by)).offset(start).limit(size + 1)).all()
    found = [model for part in parts(ids[:size]) for model in _load(conn, part)]
    return LoggedModelPage(
        models=found or (), next_page_token=_token(request, start + size) if len(ids) > size else None
    )


# -- pages ------------------------------------------------------------------------------------------------


def _size(max_results: int) -> int:
    """MLflow knows no limit here; asking for more than a page can hold gives the largest page and a token."""
    return paging.size(min(max_results, paging.MAX_RESULTS) or _DEFAULT_RESULTS)


def _token(request: SearchLoggedModels, offset: int) -> str:
    return paging.encoded({**_search_of(request), "offset": offset})


def _offset(request: SearchLoggedModels) -> int:
    """The offset in the token, which must be of this very search. Raises TrackingError(INVALID)."""
    if not request.page_token:
        return 0
    fields = paging.decoded(request.page_token)
    for name, value in _search_of(request).items():
        if fields.get(name) != value:
            raise TrackingError(
                Kind.INVALID, f"The page_token is of a search with another {name}: {fields.get(name)}"
            )
    return paging.offset_in(fields)


def _search_of(request: SearchLoggedModels) -> dict[str, Any]:
    """What a token says about its search, with MLflow's names and nulls."""
    orders = [
        {
            "field_name": one.field_name,
            "ascending": one.ascending,
            "dataset_name": one.dataset_name or None,
            "dataset_digest": one.dataset_digest or None,
        }
        for one in request.order_by
    ]
    return {
        "experiment_ids": request.experiment_ids,
        "filter_string": request.filter or None,
        "order_by": orders or None,
    }


# -- conditions -------------------------------------------------------------------------------------------


def _condition(wanted: Comparison, datasets: Sequence[ModelDataset]) -> ColumnElement[bool]:
    if wanted.entity == "attribute":
        return compare(logged_models.c[wanted.key], wanted.comparator, wanted.value)
    if wanted.entity == "metric":
        row = logged_model_metrics.c
        condition = compare(row.metric_value, wanted.comparator, wanted.value)
        return _measured(
            same(row.metric_name, wanted.key), condition, *([_on_one_of(datasets)] if datasets else [])
        )
    owner, key, value = _KEYED[wanted.entity]
    rows = select(key).where(owner == logged_models.c.model_id, same(key, wanted.key))
    return exists(rows.where(compare(value, wanted.comparator, wanted.value)))


def _measured(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """The model has a point like that, at whatever step."""
    row = logged_model_metrics.c
    return exists(select(row.metric_name).where(row.model_id == logged_models.c.model_id, *conditions))


def _on_one_of(datasets: Sequence[ModelDataset]) -> ColumnElement[bool]:
    return or_(*(_on(one.dataset_name, one.dataset_digest) for one in datasets))


def _on(name: str, digest: str) -> ColumnElement[bool]:
    """The point was measured on that dataset; no digest means any."""
    row = logged_model_metrics.c
    return (
        and_(same(row.dataset_name, name), same(row.dataset_digest, digest))
        if digest
        else same(row.dataset_name, name)
    )


# -- orders -----------------------------------------------------------------------------------------------


def _order(orders: Sequence[ModelOrderBy]) -> list[ColumnElement[Any]]:
    """In the order asked for, then the newest first, then by id, so that pages never overlap."""
    at_most(MAX_ORDERS, len(orders), "fields to order by")
    clauses: list[ColumnElement[Any]] = []
    named = set()
    for one in orders:
        column = _order_column(one)
        named.add(column.key)
        clauses += absent_last(column, one.ascending)
    if "creation_timestamp_ms" not in named:
        clauses.append(logged_models.c.creation_timestamp_ms.desc())
    if "model_id" not in named:
        clauses.append(logged_models.c.model_id.asc())
    return clauses


def _order_column(one: ModelOrderBy) -> ColumnElement[Any]:
    entity, dot, key = one.field_name.partition(".")
    if dot and (entity != "metrics" or not key):
        raise TrackingError(
            Kind.INVALID, f"Can't order by '{one.field_name}': before the dot stands 'metrics'."
        )
    if dot:
        return _latest(key, one)
    field = LOGGED_MODELS.fields["attribute"].get(one.field_name)
    if field is None:
        known = ", ".join(LOGGED_MODELS.fields["attribute"])
        raise TrackingError(
            Kind.INVALID, f"Can't order by '{one.field_name}'; there are metrics.<name>, {known}."
        )
    return logged_models.c[field.name]


def _latest(key: str, one: ModelOrderBy) -> ScalarSelect[Any]:
    """The model's latest value of a metric, on the dataset if one is named."""
    row = logged_model_metrics.c
    query = select(row.metric_value).where(
        row.model_id == logged_models.c.model_id, same(row.metric_name, key)
    )
    if one.dataset_name:
        query = query.where(same(row.dataset_name, one.dataset_name))
    if one.dataset_digest:
        query = query.where(same(row.dataset_digest, one.dataset_digest))
    latest = (row.metric_timestamp_ms.desc(), row.metric_step.desc(), row.run_id.asc())
    return query.order_by(*latest).limit(1).correlate(logged_models).scalar_subquery()


def _load(conn: Connection, ids: Sequence[str]) -> list[LoggedModel]:
    """The models with these ids, in that order, with all that belongs to them."""
    rows = conn.execute(select(logged_models).where(logged_models.c.model_id.in_(ids))).all()
    loaded = {model.info.model_id: model for model in models.from_rows(conn, rows)}
    return [loaded[id_] for id_ in ids if id_ in loaded]
