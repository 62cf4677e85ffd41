"""The limits, beside the real MLflow's validators."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoso.errors import Kind, TrackingError
from shoso.metadata import rules
from shoso.wire.requests import LogBatch, LogMetric, MetricInput, ParamInput, TagInput

KEYS = [
    "a", "a/b", "a.b", "a b", "a-b", "a_b", "a:b", "é", "日本", "a" * 250, "a" * 251, "/a", "a/", "a//b",
    "a/../b", "./a", "a/./b", ".", "..", "..a", "../a", ".a", "a..", "a\\b", "a%b", "a\tb", "a;b", "a=b", "#",
    "a'b", "a@b", "\0",
]  # fmt: skip


@pytest.fixture(scope="module")
def theirs():
    """MLflow's validators."""
    from mlflow.utils import validation

    return validation


def refused(call, *args, **kwargs):
    """The message if the call refuses, by our error or MLflow's."""
    from mlflow.exceptions import MlflowException

    try:
        call(*args, **kwargs)
    except TrackingError as error:
        return error.message if error.kind is Kind.INVALID else error.kind
    except MlflowException as error:
        return error.message if error.error_code == "INVALID_PARAMETER_VALUE" else error.error_code
    return None


def point(key="k", timestamp=0):
    return MetricInput(key, 1.0, timestamp)


@pytest.mark.parametrize("key", KEYS)
def test_keys_are_refused_as_mlflow_refuses_them_in_its_words(key, theirs):
    assert refused(rules.metric, point(key)) == refused(theirs._validate_metric, key, 1.0, 0, 0)
    ours = refused(rules.param, ParamInput(key, "v"), truncate=True)
    assert ours == refused(theirs._validate_param, key, "v")
    assert refused(rules.tag, TagInput(key, "v"), truncate=True) == refused(theirs._validate_tag, key, "v")
    assert refused(rules.experiment_tag, TagInput(key, "v")) == refused(
        theirs._validate_experiment_tag, key, "v"
    )


@given(st.text("ab/.:- \\\n\0é%", max_size=12))
@example("a\n")
def test_any_key_is_refused_exactly_when_mlflow_refuses_it(key):
    from mlflow.utils import validation

    if not key:
        return  # the wire refuses it before
    ours, mlflows = refused(rules.metric, point(key)), refused(validation._validate_metric_name, key)
    if key.endswith("\n"):
        assert ours, "a line break at the end slips through MLflow's pattern"
    else:
        assert (ours is None) == (mlflows is None)


def test_an_empty_key_is_a_missing_one():
    assert refused(rules.metric, point("")).startswith("Missing value for required parameter 'name'")
    assert refused(rules.tag, TagInput("", "v"), truncate=True).startswith("Missing value for required")


def test_the_path_of_a_fault_in_a_batch_is_named(theirs):
    bad = LogBatch("r", [point(), point("a//b")])
    ours = refused(rules.batch, bad, truncate=True)
    assert ours == refused(theirs._validate_metric, "a//b", 1.0, 0, 0, path="metrics[1]")
    assert "'params[1].key'" in refused(
        rules.batch, LogBatch("r", [], [ParamInput("a"), ParamInput("/b")]), truncate=True
    )
    assert "'tags[0].key'" in refused(rules.batch, LogBatch("r", [], [], [TagInput("a//b")]), truncate=True)


@pytest.mark.parametrize("timestamp", [-1, -(2**63)])
def test_a_negative_time_is_refused(timestamp):
    assert "Timestamp must be a nonnegative long" in refused(rules.metric, point(timestamp=timestamp))
    assert "'metrics[0].timestamp'" in refused(
        rules.batch, LogBatch("r", [point(timestamp=timestamp)]), truncate=True
    )


def test_any_double_and_step_may_be_logged():
    for value in (float("nan"), float("inf"), -1e308, 0.0):
        rules.metric(LogMetric(key="k", value=value, timestamp=2**63 - 1, step=-(2**63)))


@pytest.mark.parametrize(
    ("rule", "shape", "limit", "name"),
    [(rules.param, ParamInput, 6000, "Param value"), (rules.tag, TagInput, 8000, "value")],
)
def test_a_long_value_is_cut_or_refused_as_the_policy_says(rule, shape, limit, name):
    fitting = shape("k", "x" * limit)
    assert rule(fitting, truncate=True) is fitting
    assert rule(fitting, truncate=False) is fitting
    assert rule(shape("k", "x" * limit + "y"), truncate=True) == fitting
    assert refused(rule, shape("k", "x" * (limit + 1)), truncate=False) == (
        f"'{name}' exceeds the maximum length of {limit} characters"
    )


def test_the_tags_of_a_new_run_may_have_any_characters_in_their_keys():
    odd = TagInput("a//b;c", "x" * 9000)
    assert rules.first_tag(odd, truncate=True) == TagInput("a//b;c", "x" * 8000)
    assert refused(rules.first_tag, TagInput("k" * 251, ""), truncate=True)


def test_tags_of_experiments_are_never_cut():
    rules.experiment_tag(TagInput("k" * 250, "x" * 20_000))
    assert refused(rules.experiment_tag, TagInput("k", "x" * 20_001)) == (
        "'value' exceeds the maximum length of 20000 characters"
    )


@pytest.mark.parametrize(
    ("metrics", "params", "tags", "what"),
    [
        (1000, 0, 0, None),
        (1001, 0, 0, "1000 metrics. Got 1001 metrics"),
        (0, 100, 100, None),
        (0, 101, 0, "100 params"),
        (0, 0, 101, "100 tags"),
        (900, 50, 50, None),
        (900, 51, 50, "1000 metrics, params, and tags. Got 1001"),
    ],
)
def test_a_batch_has_a_size(metrics, params, tags, what, theirs):
    request = LogBatch(
        "r",
        [point()] * metrics,
        [ParamInput(f"p{n}") for n in range(params)],
        [TagInput(f"t{n}") for n in range(tags)],
    )
    message = refused(rules.batch, request, truncate=True)
    assert message == refused(
        theirs._validate_batch_log_limits, request.metrics, request.params, request.tags
    )
    assert (what is None and message is None) or what in message


def test_a_param_comes_once_in_a_batch(theirs):
    params = [ParamInput("a", "1"), ParamInput("b", "1"), ParamInput("a", "1")]
    message = refused(rules.batch, LogBatch("r", [], params), truncate=True)
    assert message == refused(theirs._validate_param_keys_unique, params)


@pytest.mark.parametrize(
    "text", ["a" * 32, "x", "A-_9", "a" * 256, "a" * 257, "-a", "a/b", "", "a b", "ä", "aä"]
)
def test_ids_of_runs(text, theirs):
    assert (refused(rules.run_id, text) is None) == (refused(theirs._validate_run_id, text) is None)


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("12", 12), ("-1", -1), ("9" * 18, 10**18 - 1)])
def test_ids_of_experiments(text, number, theirs):
    assert rules.experiment_id(text) == theirs._parse_experiment_id(text) == number


@pytest.mark.parametrize("text", ["", "x", "1.0", " 1", "1_0", "٣", "1" * 19, "0x1", "--1"])
def test_what_is_no_id_of_an_experiment(text):
    assert refused(rules.experiment_id, text) == (
        f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer."
    )


@pytest.mark.parametrize("name", ["", "x", "a//b", "n" * 500, "n" * 501])
def test_names_of_experiments(name, theirs):
    assert refused(rules.experiment_name, name) == refused(theirs._validate_experiment_name, name)


def test_a_location_has_a_length():
    rules.artifact_location("s3://" + "b" * 2043)
    assert "2048" in refused(rules.artifact_location, "s3://" + "b" * 2044)


def test_an_experiment_has_so_many_custom_views():
    keys = [f"{rules.CUSTOM_VIEW}.{n}" for n in range(51)]
    rules.custom_views([*keys[:50], "other"])
    assert "50 custom views" in refused(rules.custom_views, keys)
