"""Our parser against MLflow's own: what it refuses we refuse, what it accepts we read in the same way.

What differs on purpose is in DEVIATIONS, each with its reason.
"""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoso.errors import TrackingError
from shoso.metadata.filters import parse_filter, parse_order
from shoso.metadata.searchable import RUNS

with warnings.catch_warnings(action="ignore"):
    from mlflow.utils.search_utils import SearchUtils

# text → why our reading of it is another one
DEVIATIONS = {
    # Accepted though MLflow refuses: the meaning can't be mistaken.
    " ": "a blank filter is no filter, as the empty one",
    "params.a IS  NOT   NULL": "blanks between words are blanks",
    "metrics.a > 1e+3": "MLflow's logged models and every language take that number",
    "metrics.a > .5e3": "the same",
    "`params.a` = 'x'": "MLflow's order_by takes a field that is quoted as a whole",
    "\"params\".a = 'x'": "MLflow's order_by takes a quoted entity",
    "params.0 = 'x'": "digits are a key like any other; MLflow takes .0 for a number",
    "params.layer.0 = 'x'": "the same",
    # Refused though MLflow accepts: it can match nothing, or fails in the database.
    "params. = 'x'": "no key is empty",
    "params.`` = 'x'": "the same",
    "params. a = 'x'": "MLflow looks for the key ' a', which no key is",
    "params.[a] = 'x'": "MLflow looks for the key '[a]' with the brackets",
    "params.a('x') = 'y'": "MLflow looks for the key \"a('x')\"",
    "run_id = ('a')": "MLflow gives a list to '=', which the database refuses",
    "dataset.name = ('a')": "the same",
    "run_id IN (('a'))": "a list in a list",
    # Read in another way.
    "params.`a`.`b` = 'x'": "MLflow's filter keeps inner backticks, its order_by doesn't",
    "run_id IN ('a''b')": "MLflow reads lists as Python: 'ab'; here as elsewhere quotes are literal",
    r"run_id IN ('a\nb')": "the same: a backslash is a backslash",
    "params.`a` = 'x' params.b IS NULL": "MLflow looks for a key \"`a` = 'x' params.b\" that is absent",
    "metrics.created > 1": "MLflow applies the attributes' aliases to all: the metric 'start_time'",
}
ORDER_DEVIATIONS = {
    " metrics.a ": "blanks around a field are blanks",
    "`run name`": "a field that can be filtered by this name can be ordered by it",
    "`metrics.a`": "MLflow takes it with DESC behind it only",
    "metrics.": "no key is empty",
    "metrics.0": "digits are a key like any other",
    "metrics.`a ` desc": "MLflow cuts blanks and quotes off the ends of a quoted key, if there's a direction",
    "metrics.created": "MLflow orders by the metric 'start_time'",
    'metrics.a "desc"': "a quoted direction is a mistake",
    'metrics.`a"b` desc': "a plain bug: MLflow answers 500",
    r"tags.`a\\b` desc": "MLflow reads backslashes as a shell does if there's a direction, else not",
}


def theirs(text: str) -> list[tuple] | None:
    """What MLflow's runs search makes of a filter; None if it refuses, be it by mistake."""
    try:
        found = [_checked(one) for one in SearchUtils.parse_search_filter(text)]
    except Exception:  # noqa: BLE001 - whatever it raises is a refusal
        return None
    return found


def _checked(one: dict) -> tuple:
    kind, key, comparator, value = one["type"], one["key"], one["comparator"].upper(), one["value"]
    checks = (SearchUtils.is_metric, SearchUtils.is_param, SearchUtils.is_tag, SearchUtils.is_dataset)
    if not any(check(kind, comparator) for check in checks):
        SearchUtils.is_attribute(kind, key, comparator)
    value = float(value) if kind == "metric" else value
    return kind.replace("parameter", "param"), SearchUtils.translate_key_alias(key), comparator, value


def ours(text: str) -> list[tuple] | None:
    try:
        found = parse_filter(text, RUNS)
    except TrackingError:
        return None
    return [(one.entity, one.key, one.comparator, one.value) for one in found]


def their_order(text: str) -> tuple | None:
    try:
        kind, key, ascending = SearchUtils.parse_order_by_for_search_runs(text)
    except Exception:  # noqa: BLE001 - whatever it raises is a refusal
        return None
    # The SQL store refuses datasets later on.
    return (
        None
        if kind == "dataset"
        else (kind.replace("parameter", "param"), SearchUtils.translate_key_alias(key), ascending)
    )


def our_order(text: str) -> tuple | None:
    try:
        (one,) = parse_order([text], RUNS)
    except TrackingError:
        return None
    return one.entity, one.key, one.ascending


@pytest.mark.parametrize("text", DEVIATIONS)
def test_deviations_of_filters_are_still_deviations(text):
    assert ours(text) != theirs(text)


@pytest.mark.parametrize("text", ORDER_DEVIATIONS)
def test_deviations_of_orders_are_still_deviations(text):
    assert our_order(text) != their_order(text)


@pytest.mark.parametrize(
    "text",
    """
AND
AND params.a='x'
params.a='x' AND
params.a='x' AND AND params.b='y'
params.a='x' params.b='y'
metrics.a>1 metrics.b>2
params.a='x';
params.a='x'; params.b='y'
params.a == 'x'
params.a <> 'x'
params.a=`x`
params.a=x
params.a='it''s'
params.a='it\\'s'
params.a="it's"
params.a='a\\' AND params.b='c'
params.a='C:\\dir\\'
params.a b='x'
params.a.b.c='x'
params.a-b='x'
metrics.a/b > 1
metrics.1a > 1
metrics._a>1
params.größe='x'
params.学習率='x'
params.`a``b`='x'
params."a`b"='x'
metrics.a > 1.
metrics.a>-.5
metrics.a > +1
metrics.a>0x1F
metrics.a>--1
metrics.a>- 1
metrics.a>1_0
metrics.a>nan
metrics.a>inf
metrics.a>'1'
metrics.a LIKE 1
metrics.a > 1 > 2
metrics.a > 1AND metrics.b > 2
1 < metrics.a
'x' = params.a
params.a iLike 'x%'
params.a NOT LIKE 'x'
params.a RLIKE 'x'
params.a is null
metrics.a IS NULL
status IS NULL
params.a isnull
run_id in ('a')
run_id not  in ('a')
run_id IN ()
run_id IN ('a',)
run_id IN (a)
run_id IN (1)
run_id IN ('')
run_id IN ("a",'b')
run_id IN 'a'
status IN ('a')
params.a IN ('a')
dataset.name IN ('a')
dataset.foo='x'
dataset.name > 'x'
Status='X'
ATTRIBUTE.status='x'
start_time>1.5
start_time>'1'
start_time IN (1)
attributes.created>1
`run name`='x'
run name='x'
name='x'
lifecycle_stage='active'
run_uuid='x'
params.a = 'x' OR params.b='y'
(params.a='x')
NOT params.a='x'
params.a='x' AND (params.b='y')
params.a='x' -- c
params.a='x' /* c */
params.a='x' # c
params . a='x'
params='x'
.a='x'
params.a=
params.a
='x'
params.a='x
params.a='x''
tags.mlflow.user='x'
tags.select='x'
tags.'a b'='x'
tags.a='x'AND tags.b='y'
params.a = 'x', params.b='y'
params.a:b='x'
params.a$b='x'
params.a#b='x'
tags.a AS b = 'x'
tags.a = 'x' 'y'
tags.a='x' b
tags.a = N'x'
tags.a=$1
tags.a=null
tags.a=true
tags.a='x' LIKE 'y'
params.a ! = 'x'
params.a =! 'x'
metrics.a => 1
metrics.a~1
""".strip().splitlines(),
)
def test_a_filter_is_read_as_mlflow_reads_it(text):
    assert ours(text) == theirs(text)


@pytest.mark.parametrize(
    "text",
    """
metrics.a
metrics.a DESC
metrics.a  AsC
metrics.`a b` DESC
metrics."a b" desc
metrics.'a b'
metrics.a b
metrics.a b desc
metrics.a DESC NULLS LAST
start_time
`start_time`
"start_time"
'start_time'
Created desc
run name
run_name
experiment_id
timestamp
timestamp desc
dataset.name

metrics.a, metrics.b
metrics.a;
metrics.a-b
metrics.`a'b` desc
metrics."a'b" asc
metrics.a.b.c desc
foo
foo.bar
metrics
metrics.1a desc
params.学習率 desc
desc
metrics.desc desc
`metrics`.a desc
`metrics.a` desc
metrics.`a`.`b` desc
metrics.a -- c
metrics.a DESC ASC
tags.`a\\b`
Metrics.a
run.status desc
""".strip("\n").splitlines(),
)
def test_an_order_is_read_as_mlflow_reads_it(text):
    assert our_order(text) == their_order(text)


# -- generated --------------------------------------------------------------------------------------------

WORDS = st.from_regex(r"[abXY_é学][a9Z0_ß学]{0,3}", fullmatch=True)
QUOTED_KEY = st.text("ab .-/:'学%", min_size=1, max_size=5)
KEYS = st.one_of(
    WORDS,
    st.lists(WORDS, min_size=2, max_size=3).map(".".join),
    QUOTED_KEY.map(lambda key: f"`{key}`"),
    QUOTED_KEY.map(lambda key: f'"{key}"'),
)
ENTITIES = st.sampled_from([*sorted(SearchUtils._VALID_IDENTIFIERS), "model", "Tags"])
ATTRIBUTES = st.sampled_from(
    [*sorted(SearchUtils.VALID_SEARCH_ATTRIBUTE_KEYS), "name", "digest", "context", "x"]
)
FIELDS = st.one_of(
    st.builds("{}.{}".format, ENTITIES, KEYS),
    st.builds(
        "{}.`{}`".format, st.sampled_from(["attribute", "attributes", "attr", "run", "dataset"]), ATTRIBUTES
    ),
    ATTRIBUTES.map(lambda key: f"`{key}`" if " " in key else key),
)
COMPARATORS = st.sampled_from(
    [
        "=",
        "!=",
        "<",
        "<=",
        ">",
        ">=",
        "==",
        "<>",
        "LIKE",
        "like",
        "ILIKE",
        "IN",
        "in",
        "NOT IN",
        "NOT LIKE",
        "RLIKE",
    ]
)
TEXTS = st.one_of(
    st.text('ab"%_学 .\\', max_size=5).map(lambda text: f"'{text}'"),
    st.text("ab'%_学 .=", max_size=5).map(lambda text: f'"{text}"'),
)
NUMBERS = st.one_of(
    st.integers(-(10**6), 10**15).map(str),
    st.decimals(-1000, 1000, places=3).map(str),
    st.sampled_from(["1e5", "-2.5E-3", "0", "-0", "1.", ".5", "1a"]),
)
LISTS = st.lists(st.text("ab% 学", max_size=3).map(lambda text: f"'{text}'"), max_size=3).map(
    lambda texts: f"({', '.join(texts)})"
)
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, FIELDS, COMPARATORS, st.one_of(TEXTS, NUMBERS, LISTS)),
    st.builds("{} {}".format, FIELDS, st.sampled_from(["IS NULL", "is null", "IS NOT NULL", "IS 'a'"])),
)
FILTERS = st.lists(COMPARISONS, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" AND ", " and ", "\nAND\t", " OR "]).map(lambda by: by.join(parts))
)


CUT_BY_MLFLOW = re.compile(r"""\.[`"][ ']|[ '][`"]""")


def differs_on_purpose(text: str) -> bool:
    """A list after another comparator than IN: MLflow lets the database refuse it."""
    return "(" in text and "IN (" not in text.upper()


@settings(max_examples=250, deadline=None)
@given(FILTERS)
@example("tags.a = 'x\\' AND tags.b = 'y'")
def test_generated_filters_are_read_as_mlflow_reads_them(text):
    if not differs_on_purpose(text):
        assert ours(text) == theirs(text)


@settings(max_examples=150, deadline=None)
@given(st.builds("{}{}".format, FIELDS, st.sampled_from(["", " ASC", " desc", " foo", " DESC ASC", ","])))
def test_generated_orders_are_read_as_mlflow_reads_them(text):
    if not CUT_BY_MLFLOW.search(text) and "`run name`" not in text.lower():
        assert our_order(text) == their_order(text)
