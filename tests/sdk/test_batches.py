"""What is logged, before it leaves: numbers, texts, and batches of the size that a server takes."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from shoso.client import batches
from shoso.client.batches import Batch, split
from shoso.client.entities import Metric, Param, RunTag
from shoso.core.clock import now_ms
from shoso.errors import Kind, TrackingError
from shoso.metadata import rules
from shoso.wire.entities import encode


def refused(make) -> str:
    with pytest.raises(TrackingError) as caught:
        make()
    assert caught.value.kind is Kind.INVALID
    return str(caught.value)


def sizes(metrics: int, params: int, tags: int) -> list[tuple[int, int, int]]:
    whole = Batch(
        "r",
        batches.points([Metric(f"m{n}", n, 0) for n in range(metrics)]),
        batches.params({f"p{n}": n for n in range(params)}),
        batches.tags({f"t{n}": n for n in range(tags)}),
    )
    parts = [*split(whole)]
    for field in ("metrics", "params", "tags"):
        assert [each for part in parts for each in getattr(part, field)] == [*getattr(whole, field)]
    assert {part.run_id for part in parts} <= {"r"}
    return [(len(part.metrics), len(part.params), len(part.tags)) for part in parts]


def test_limits_are_the_servers():
    assert batches.PAIRS_MAX == rules.BATCH_PARAMS_MAX == rules.BATCH_TAGS_MAX
    assert batches.BATCH_MAX == rules.BATCH_MAX == rules.BATCH_METRICS_MAX


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((0, 0, 0), []),
        ((1, 0, 0), [(1, 0, 0)]),
        ((1000, 0, 0), [(1000, 0, 0)]),
        ((1001, 0, 0), [(1000, 0, 0), (1, 0, 0)]),
        ((1000, 100, 100), [(800, 100, 100), (200, 0, 0)]),
        ((0, 101, 250), [(0, 100, 100), (0, 1, 100), (0, 0, 50)]),
    ],
)
def test_a_batch_is_cut_at_the_limits(asked, expected):
    assert sizes(*asked) == expected


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (True, 1.0),
        ("2.5", 2.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (np.array(4.0), 4.0),
        (np.array([[5.0]]), 5.0),
        (-math.inf, -math.inf),
    ],
)
def test_whatever_is_one_number_is_a_metric(value, number):
    assert batches.number("m", value) == number


@pytest.mark.parametrize("value", [None, "much", [1.0], np.array([1.0, 2.0]), {}, 1j, 10**400])
def test_whatever_isnt_one_number_is_refused(value):
    assert "Metric 'loss' must be one number" in refused(lambda: batches.number("loss", value))


def test_a_large_value_isnt_shown_in_full():
    assert len(refused(lambda: batches.number("loss", [0.0] * 100_000))) < 200


@pytest.mark.parametrize(
    ("value", "text"), [(math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
def test_what_json_has_no_number_for_travels_as_text(value, text):
    assert msgspec.json.decode(encode(batches.metric("m", value)))["value"] == text


def test_steps_and_timestamps_are_whole_numbers():
    point = batches.metric("m", 1, timestamp=np.int64(5), step=np.int32(3))
    assert (point.timestamp, point.step) == (5, 3)
    assert type(point.step) is int
    assert "step of metric 'm'" in refused(lambda: batches.metric("m", 1, step=1.5))
    assert "timestamp of metric 'm'" in refused(lambda: batches.metric("m", 1, timestamp="now"))


def test_a_point_is_of_now_at_step_0():
    before = now_ms()
    point = batches.metric("m", 1)
    assert before <= point.timestamp <= now_ms()
    assert point.step == 0


def test_values_become_text():
    assert batches.params({"a": None, "b": [1], "c": 0.5}) == batches.params(
        [Param("a", "None"), Param("b", "[1]"), Param("c", "0.5")]
    )
    assert [(tag.key, tag.value) for tag in batches.tags([RunTag("a", True)])] == [("a", "True")]


@pytest.mark.parametrize("key", [1, None, b"lr"])
def test_a_name_that_is_no_text_is_refused(key):
    assert "name of a param must be a text" in refused(lambda: batches.params({key: 1}))
    assert "name of a metric must be a text" in refused(lambda: batches.metric(key, 1))


def test_half_a_character_is_refused():
    assert "value of tag 'path' is not valid Unicode" in refused(lambda: batches.tags({"path": "\udc80"}))
