"""Searching runs and experiments: filter text → comparisons → one statement that finds the ids of a page.

First the ids, then what belongs to them: a row that is sorted away costs no more than its id. Conditions on
params, tags and metrics are EXISTS by primary key, those that leave the fewest runs first: SQLite checks them
in that order, run by run (docs/decisions/0003-search.md has the figures).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    case,
    exists,
    false,
    or_,
    select,
    true,
)

from shoso.errors import Kind, TrackingError
from shoso.metadata import datasets, experiments, paging, runs, schema
from shoso.metadata.clauses import absent_last, compare, directed, parts
from shoso.metadata.dialects import texts
from shoso.metadata.dialects.texts import same
from shoso.metadata.edges import DATASET, RUN
from shoso.metadata.filters import MAX_VALUES, Comparison, Order, at_most, parse_filter, parse_order
from shoso.metadata.searchable import EXPERIMENTS, RUNS
from shoso.metadata.workspace import SERVED, served_experiments
from shoso.wire.entities import Experiment, Run
from shoso.wire.replies import ExperimentPage, RunPage
from shoso.wire.requests import SearchExperiments, SearchRuns

_RUN_COLUMNS = {"run_id": "run_uuid", "run_name": "name"}
_KEYED = {"metric": schema.latest_metrics, "param": schema.params, "tag": schema.tags}
_INDEXED = {schema.params, schema.tags}
"""Those that `shoso db index` makes indexes by value on."""


def search_runs(conn: Connection, request: SearchRuns) -> RunPage:
    """A page of the runs that match. Raises TrackingError(INVALID)."""
    size, start = paging.size(request.max_results), paging.offset(request.page_token)
    comparisons = parse_filter(request.filter, RUNS)
    orders = _without_duplicates(parse_order(request.order_by, RUNS))
    experiment_ids = experiment_numbers(conn, request.experiment_ids)
    if not experiment_ids:
        return RunPage()
    on_datasets = sum(one.entity == "dataset" for one in comparisons)
    at_most(MAX_VALUES, on_datasets * len(experiment_ids), "experiments times conditions on datasets")
    query = select(schema.runs.c.run_uuid).where(
        schema.runs.c.experiment_id.in_(experiment_ids),
        schema.runs.c.lifecycle_stage.in_(paging.stages(request.run_view_type)),
        *(_run_condition(one, experiment_ids) for one in sorted(comparisons, key=_cost)),
    )
    ids = conn.scalars(_ordered_runs(query, orders).offset(start).limit(size + 1)).all()
    found = [run for part in parts(ids[:size]) for run in _load_runs(conn, part)]
    return RunPage(runs=found or (), next_page_token=paging.token(start + size) if len(ids) > size else None)


def search_experiments(conn: Connection, request: SearchExperiments) -> ExperimentPage:
    """A page of the experiments that match. Raises TrackingError(INVALID)."""
    size, start = paging.size(request.max_results), paging.offset(request.page_token)
    comparisons = parse_filter(request.filter, EXPERIMENTS)
    orders = parse_order(request.order_by or ["creation_time DESC", "experiment_id ASC"], EXPERIMENTS)
    query = select(schema.experiments.c.experiment_id).where(
        SERVED,
        schema.experiments.c.lifecycle_stage.in_(paging.stages(request.view_type)),
        *(_experiment_condition(one) for one in comparisons),
    )
    ids = conn.scalars(_ordered_experiments(query, orders).offset(start).limit(size + 1)).all()
    found = [one for part in parts(ids[:size]) for one in _load_experiments(conn, part)]
    token = paging.token(start + size) if len(ids) > size else None
    return ExperimentPage(experiments=found or (), next_page_token=token)


def experiment_numbers(conn: Connection, ids: Iterable[str]) -> list[int]:
    """The experiments to search in that are there, each once, by number. Raises TrackingError(INVALID)."""
    numbers = list(dict.fromkeys(experiments.number(text) for text in ids))
    at_most(MAX_VALUES, len(numbers), "experiments to search in")
    return served_experiments(conn, numbers)


# -- conditions -------------------------------------------------------------------------------------------


def _cost(comparison: Comparison) -> tuple[bool, bool, bool]:
    """Columns of the run itself before look-ups; equality before ranges before what holds for nearly all."""
    comparator = comparison.comparator
    return comparison.entity != "attribute", comparator not in {"=", "IN"}, comparator in {"!=", "NOT IN"}


def _run_condition(wanted: Comparison, experiment_ids: list[int]) -> ColumnElement[bool]:
    if wanted.entity == "dataset":
        return _on_dataset(wanted, experiment_ids)
    if wanted.entity != "attribute":
        return _keyed(wanted, _KEYED[wanted.entity], schema.runs.c.run_uuid)
    if wanted.key == "run_name":
        # Runs from before MLflow 1.30 have their name in the tag only.
        named = Comparison("tag", runs.RUN_NAME, wanted.comparator, wanted.value)
        return _keyed(named, schema.tags, schema.runs.c.run_uuid)
    return compare(_run_column(wanted.key), wanted.comparator, wanted.value)


def _run_column(attribute: str) -> ColumnElement[Any]:
    return schema.runs.c[_RUN_COLUMNS.get(attribute, attribute)]


def _keyed(wanted: Comparison, table: Table, owner: Column[Any]) -> ColumnElement[bool]:
    """The owner has a row of that key whose value compares; IS NULL: it has no row of that key."""
    rows = select(table.c.key).where(table.c[owner.name] == owner, same(table.c.key, wanted.key))
    if wanted.comparator == "IS NULL":
        return ~exists(rows)
    if wanted.comparator != "IS NOT NULL":
        rows = rows.where(_value_condition(wanted, table))
    return exists(rows)


def _value_condition(wanted: Comparison, table: Table) -> ColumnElement[bool]:
    """NaN, stored as 0 with a flag, is unequal to everything and in no relation to anything."""
    column = table.c.value
    condition = compare(column, wanted.comparator, wanted.value)
    if wanted.entity != "metric":
        short = wanted.comparator == "=" and texts.is_short(str(wanted.value))
        return texts.short(condition, column) if short and table in _INDEXED else condition
    if wanted.comparator == "!=":
        return or_(condition, table.c.is_nan == true())
    return and_(condition, table.c.is_nan == false())


def _on_dataset(wanted: Comparison, experiment_ids: list[int]) -> ColumnElement[bool]:
    """The run read a dataset like that; datasets belong to the experiment of the runs that read them."""
    data, edges = schema.datasets.c, schema.inputs.c
    if wanted.key == "context":
        return _in_context(wanted)
    readers = (
        select(edges.destination_id)
        .join(schema.datasets, data.dataset_uuid == edges.source_id)
        .where(data.experiment_id.in_(experiment_ids))
        .where(edges.source_type == DATASET, edges.destination_type == RUN)
        .where(compare(data[wanted.key], wanted.comparator, wanted.value))
    )
    return schema.runs.c.run_uuid.in_(readers)


def _in_context(wanted: Comparison) -> ColumnElement[bool]:
    """The run read a dataset in a context like that."""
    edges, notes = schema.inputs.c, schema.input_tags.c
    uses = (
        select(notes.name)
        .join(schema.inputs, edges.input_uuid == notes.input_uuid)
        .where(edges.destination_type == RUN, edges.destination_id == schema.runs.c.run_uuid)
        .where(edges.source_type == DATASET, notes.name == datasets.CONTEXT)
        .where(compare(notes.value, wanted.comparator, wanted.value))
    )
    return exists(uses)


def _experiment_condition(wanted: Comparison) -> ColumnElement[bool]:
    if wanted.entity == "tag":
        return _keyed(wanted, schema.experiment_tags, schema.experiments.c.experiment_id)
    return compare(schema.experiments.c[wanted.key], wanted.comparator, wanted.value)


# -- orders -----------------------------------------------------------------------------------------------


def _without_duplicates(orders: tuple[Order, ...]) -> tuple[Order, ...]:
    seen = {(one.entity, one.key) for one in orders}
    if len(seen) != len(orders):
        fields = ", ".join(f"{one.entity}.{one.key}" for one in orders)
        raise TrackingError(Kind.INVALID, f"order_by names a field twice: {fields}")
    return orders


def _ordered_runs(query: Select[Any], orders: Sequence[Order]) -> Select[Any]:
    """In the order asked for, then the latest start first, then by id, so that pages never overlap."""
    clauses: list[ColumnElement[Any]] = []
    for order in orders:
        query, more = _run_order(query, order)
        clauses += more
    attributes = {order.key for order in orders if order.entity == "attribute"}
    if "start_time" not in attributes:
        clauses += absent_last(schema.runs.c.start_time, ascending=False)
    if "run_id" not in attributes:
        clauses.append(schema.runs.c.run_uuid.asc())
    return query.order_by(*clauses)


def _run_order(query: Select[Any], order: Order) -> tuple[Select[Any], list[ColumnElement[Any]]]:
    if order.entity == "attribute":
        return query, absent_last(_run_column(order.key), order.ascending)
    row = _KEYED[order.entity].alias()
    query = query.outerjoin(row, and_(row.c.run_uuid == schema.runs.c.run_uuid, same(row.c.key, order.key)))
    if order.entity != "metric":
        return query, absent_last(row.c.value, order.ascending)
    last = case((row.c.is_nan == true(), 1), (row.c.value.is_(None), 2), else_=0)
    return query, [last, directed(row.c.value, order.ascending)]


def _ordered_experiments(query: Select[Any], orders: Sequence[Order]) -> Select[Any]:
    """In the order asked for, then the newest first; a field named again says nothing new."""
    directions: dict[str, bool] = {}
    for order in orders:
        directions.setdefault(order.key, order.ascending)
    directions.setdefault("experiment_id", False)
    clauses = (absent_last(schema.experiments.c[key], ascending) for key, ascending in directions.items())
    return query.order_by(*(clause for part in clauses for clause in part))


# -- loading ----------------------------------------------------------------------------------------------


def _load_runs(conn: Connection, ids: Sequence[str]) -> list[Run]:
    """The runs with these ids, in that order, with all that belongs to them."""
    rows = conn.execute(select(schema.runs).where(schema.runs.c.run_uuid.in_(ids))).all()
    loaded = {run.info.run_id: run for run in runs.from_rows(conn, rows)}
    return [loaded[id_] for id_ in ids if id_ in loaded]


def _load_experiments(conn: Connection, ids: Sequence[int]) -> list[Experiment]:
    """The experiments with these ids, in that order, with their tags."""
    table = schema.experiments
    rows = conn.execute(select(table).where(table.c.experiment_id.in_(ids))).all()
    loaded = {one.experiment_id: one for one in experiments.from_rows(conn, rows)}
    return [loaded[str(id_)] for id_ in ids if str(id_) in loaded]
