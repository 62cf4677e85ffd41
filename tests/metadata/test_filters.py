"""The grammar of filters and order_by: what is read, and that the rest is refused with its reason."""

from __future__ import annotations

import pytest

from shoso.errors import Kind, TrackingError
from shoso.metadata.filters import (
    MAX_COMPARISONS,
    MAX_ORDERS,
    MAX_PATTERN,
    MAX_VALUES,
    Comparison,
    Order,
    parse_filter,
    parse_order,
)
from shoso.metadata.searchable import EXPERIMENTS, LOGGED_MODELS, RUNS


def one(text: str, search=RUNS) -> tuple:
    (found,) = parse_filter(text, search)
    return found.entity, found.key, found.comparator, found.value


def refusal(text: str, search=RUNS) -> str:
    with pytest.raises(TrackingError) as caught:
        parse_filter(text, search)
    assert caught.value.kind is Kind.INVALID
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.loss > 0.5", ("metric", "loss", ">", 0.5)),
        ("metric.loss>-.5", ("metric", "loss", ">", -0.5)),
        ("metrics.`val loss` <= 1e-3", ("metric", "val loss", "<=", 0.001)),
        ("metrics.loss = 99999999999999999999", ("metric", "loss", "=", 1e20)),
        ("metrics.1a < 1.", ("metric", "1a", "<", 1.0)),
        ("params.lr = '0.1'", ("param", "lr", "=", "0.1")),
        ('parameter."a.b c" != "it\'s"', ("param", "a.b c", "!=", "it's")),
        ("param.a.b.c LIKE 'x%'", ("param", "a.b.c", "LIKE", "x%")),
        ("params.größe ilike '学%'", ("param", "größe", "ILIKE", "学%")),
        ("tags.mlflow.user IS NULL", ("tag", "mlflow.user", "IS NULL", None)),
        ("tag.`mlflow.user` is  not\nnull", ("tag", "mlflow.user", "IS NOT NULL", None)),
        ("tags.a = 'it''s'", ("tag", "a", "=", "it''s")),
        (r"tags.a = 'C:\dir\'", ("tag", "a", "=", "C:\\dir\\")),
        ("tags.a = ''", ("tag", "a", "=", "")),
        ("status = 'FINISHED'", ("attribute", "status", "=", "FINISHED")),
        ("attributes.`Run name` = 'x'", ("attribute", "run_name", "=", "x")),
        ("`run name` = 'x'", ("attribute", "run_name", "=", "x")),
        ("run.created > 1700000000000", ("attribute", "start_time", ">", 1700000000000)),
        ("attr.end_time > 1.5", ("attribute", "end_time", ">", 1.5)),
        ("run_id in ('a', \"b\",)", ("attribute", "run_id", "IN", ("a", "b"))),
        ("run_id NOT  IN('a')", ("attribute", "run_id", "NOT IN", ("a",))),
        ("datasets.context = 'train'", ("dataset", "context", "=", "train")),
        ("dataset.digest NOT IN ('a')", ("dataset", "digest", "NOT IN", ("a",))),
    ],
)
def test_a_comparison_of_runs_is_read(text, expected):
    assert one(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name ILIKE '%x%'", ("attribute", "name", "ILIKE", "%x%")),
        ("attribute.creation_time >= 5", ("attribute", "creation_time", ">=", 5)),
        ("experiment_id = '12'", ("attribute", "experiment_id", "=", 12)),
        ("experiment_id NOT IN ('1', '2')", ("attribute", "experiment_id", "NOT IN", (1, 2))),
        ("tags.team IS NULL", ("tag", "team", "IS NULL", None)),
    ],
)
def test_a_comparison_of_experiments_is_read(text, expected):
    assert one(text, EXPERIMENTS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = 'model'", ("attribute", "name", "=", "model")),
        ("name = model", ("attribute", "name", "=", "model")),
        ('name = "model"', ("attribute", "name", "=", "model")),
        ("attributes.model_id = m-12ab", ("attribute", "model_id", "=", "m-12ab")),
        ("params.lr IN (0.1, '0.2')", ("param", "lr", "IN", ("0.1", "0.2"))),
        ("metrics.`a b` > 1", ("metric", "a b", ">", 1.0)),
        ("creation_time > 5", ("attribute", "creation_timestamp_ms", ">", 5)),
        ("status = 2", ("attribute", "status", "=", 2)),
        ("status = 'READY'", ("attribute", "status", "=", 2)),
        ("status != LOGGED_MODEL_UPLOAD_FAILED", ("attribute", "status", "!=", 3)),
        ("experiment_id = 7", ("attribute", "experiment_id", "=", 7)),
    ],
)
def test_a_comparison_of_logged_models_is_read(text, expected):
    assert one(text, LOGGED_MODELS) == expected


@pytest.mark.parametrize("text", ["", " ", "AND", " and \n AND "])
def test_a_filter_without_comparisons_filters_nothing(text):
    assert parse_filter(text, RUNS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "params.a = 'AND' AND metrics.b > 1",
        "params.a='AND'and metrics.b>1 AND",
        "AND params.a = 'AND' AND AND metrics.b > 1",
        "params.a = 'AND' metrics.b > 1",
    ],
)
def test_comparisons_are_joined_by_and(text):
    assert parse_filter(text, RUNS) == (
        Comparison("param", "a", "=", "AND"),
        Comparison("metric", "b", ">", 1.0),
    )


@pytest.mark.parametrize(
    ("text", "piece", "advice"),
    [
        ("params.a = 'x' OR params.b = 'y'", "OR", "AND"),
        ("NOT params.a = 'x'", "NOT", "AND"),
        ("(params.a = 'x')", "(", "AND"),
        ("params.a-b = 'x'", "a-b", "backticks"),
        ("params.a = x", "x", "in quotes"),
        ("params.a = 1", "1", "in quotes"),
        ("params.a = `x`", "`x`", "in quotes"),
        ("metrics.a > '1'", "'1'", "a number"),
        ("metrics.a > nan", "nan", "a number"),
        ("metrics.a > 1e999", "1e999", "a number"),
        ("metrics.a > 1AND", "1AND", "a number"),
        ("start_time > 9999999999999999999", "start_time", "64 bits"),
        ("metrics.a LIKE 1", "LIKE", ">="),
        ("metrics.a IS NULL", "IS NULL", ">="),
        ("status > 'x'", "'>'", "LIKE"),
        ("status IN ('x')", "'IN'", "LIKE"),
        ("params.a NOT LIKE 'x'", "NOT LIKE", "ILIKE"),
        ("params.a == 'x'", "==", "="),
        ("params.a isnull", "ISNULL", "IS NULL"),
        ("run_id IN 'a'", "'a'", "in parentheses"),
        ("run_id IN ()", "run_id", "empty"),
        ("run_id IN (a)", "found a", "in quotes"),
        ("run_id IN ('a' 'b')", "'b'", "a comma"),
        ("run_id IN ('a'", "run_id", "a comma"),
        ("model.a = 'x'", "model.a", "metrics"),
        ("Params.a = 'x'", "Params.a", "params"),
        ("name = 'x'", "name", "run_name"),
        ("dataset.foo = 'x'", "dataset.foo", "digest"),
        ("params. = 'x'", "params.", "<key>"),
        ("params.`` = 'x'", "params.``", "no key"),
        ("'x' = params.a", "'x'", "a field"),
        ("params.a", "params.a", "a comparator"),
        ("params.a =", "params.a =", "a value"),
        ("params.a IS NOT", "IS NOT", "NULL"),
        ("params.a = 'x", "'x", "read"),
        ("params.a = 'x';", ";", "read"),
        ("params.a = 'x' -- c", "--", "quoted"),
    ],
)
def test_a_filter_that_cant_be_read_is_refused_with_the_piece_and_what_is_allowed(text, piece, advice):
    message = refusal(text)
    assert piece in message
    assert advice in message


def test_a_text_that_no_database_takes_is_refused():
    assert "UTF-8" in refusal("params.a = '\ud800'")


@pytest.mark.parametrize(
    ("search", "text"),
    [
        (EXPERIMENTS, "experiment_id = 1"),
        (EXPERIMENTS, "experiment_id = 'one'"),
        (EXPERIMENTS, "experiment_id LIKE '1'"),
        (EXPERIMENTS, "creation_time > 1.5"),
        (EXPERIMENTS, "name IN ('a')"),
        (EXPERIMENTS, "attributes.name = 'a'"),
        (EXPERIMENTS, "metrics.a > 1"),
        (LOGGED_MODELS, "attribute.name = 'a'"),
        (LOGGED_MODELS, "metric.a > 1"),
        (LOGGED_MODELS, "tags.a IS NULL"),
        (LOGGED_MODELS, "name > 'a'"),
        (LOGGED_MODELS, "status = DONE"),
        (LOGGED_MODELS, "metadata = 'a'"),
        (LOGGED_MODELS, "metrics.a > b"),
    ],
)
def test_each_search_has_its_own_fields_and_comparators(search, text):
    assert search.what in refusal(text, search) or "compared" in refusal(text, search)


def test_comparisons_are_bounded():
    many = " AND ".join(["params.a = 'x'"] * MAX_COMPARISONS)
    assert len(parse_filter(many, RUNS)) == MAX_COMPARISONS
    assert str(MAX_COMPARISONS) in refusal(many + " AND params.a = 'x'")


def test_values_in_all_lists_together_are_bounded():
    values = ",".join(["'a'"] * (MAX_VALUES - 1))
    assert len(parse_filter(f"run_id IN ({values}) AND dataset.name IN ('a')", RUNS)) == 2
    assert str(MAX_VALUES) in refusal(f"run_id IN ({values}) AND dataset.name IN ('a', 'b')")


def test_patterns_are_bounded():
    assert one(f"tags.a LIKE '{'x' * MAX_PATTERN}'")
    assert str(MAX_PATTERN) in refusal(f"tags.a LIKE '{'x' * MAX_PATTERN}%'")


def test_orders_are_bounded():
    assert len(parse_order(["metrics.a"] * MAX_ORDERS, RUNS)) == MAX_ORDERS
    with pytest.raises(TrackingError, match=str(MAX_ORDERS)):
        parse_order(["metrics.a"] * (MAX_ORDERS + 1), RUNS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("metrics.loss", ("metric", "loss", True)),
        ("metrics.`val loss` desc", ("metric", "val loss", False)),
        ("`metrics.loss` DESC", ("metric", "loss", False)),
        ("Created ASC", ("attribute", "start_time", True)),
        ("attributes.run_name\ndesc", ("attribute", "run_name", False)),
        ("params.desc desc", ("param", "desc", False)),
        (" tags.'a b' ", ("tag", "a b", True)),
    ],
)
def test_an_order_is_read(text, expected):
    assert parse_order([text], RUNS) == (Order(*expected),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "desc",
        "metrics.a foo",
        "metrics.a DESC ASC",
        "metrics.a, metrics.b",
        "metrics.a-b",
        "dataset.name",
    ],
)
def test_an_order_that_cant_be_read_is_refused(text):
    with pytest.raises(TrackingError) as caught:
        parse_order([text], RUNS)
    assert caught.value.kind is Kind.INVALID


def test_experiments_are_not_ordered_by_tags():
    with pytest.raises(TrackingError, match="ordered by attribute"):
        parse_order(["tags.a"], EXPERIMENTS)
