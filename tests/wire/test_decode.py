"""Bytes → requests: whatever comes is a request or a refusal that names the field."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoso.errors import Kind, TrackingError
from shoso.wire import objects, requests
from shoso.wire.decode import LEVELS, decode_body, decode_query

SHAPES = [
    shape
    for module in (requests, objects)
    for shape in vars(module).values()
    if isinstance(shape, type) and issubclass(shape, msgspec.Struct) and shape is not msgspec.Struct
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


def refused(body: bytes, shape: type = requests.LogBatch) -> TrackingError:
    """The refusal of a body."""
    with pytest.raises(TrackingError) as caught:
        decode_body(body, shape)
    assert caught.value.kind is Kind.INVALID
    assert str(caught.value).endswith((".", "request parameters."))
    return caught.value


def fields_of(shape: type):
    """The fields of a request, and a strategy for bodies that name them, with any values."""
    names = [field.name for field in msgspec.structs.fields(shape)]
    return st.dictionaries(st.sampled_from(names) if names else st.text(), JSON, max_size=len(names))


@settings(max_examples=400)
@given(st.sampled_from(SHAPES).flatmap(lambda shape: st.tuples(st.just(shape), fields_of(shape))))
def test_any_values_are_a_request_or_refused(drawn):
    shape, fields = drawn
    try:
        assert isinstance(decode_body(json.dumps(fields).encode(errors="surrogatepass"), shape), shape)
    except TrackingError as error:
        _require_invalid(error)


@settings(max_examples=300)
@given(st.sampled_from(SHAPES), st.binary(max_size=40))
@example(requests.LogBatch, b"\xff")
@example(requests.LogBatch, b'{"run_id":"\xff"}')
@example(requests.LogBatch, b'{"\xff":1}')
@example(requests.LogBatch, b"\xff\xfe{\x00}\x00")
@example(requests.LogBatch, b"\x00")
def test_any_bytes_are_a_request_or_refused(shape, body):
    try:
        assert isinstance(decode_body(body, shape), shape)
    except TrackingError as error:
        _require_invalid(error)


@settings(max_examples=200)
@given(st.sampled_from(SHAPES), st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), max_size=5))
def test_any_query_is_a_request_or_refused(shape, pairs):
    try:
        assert isinstance(decode_query(pairs, shape), shape)
    except TrackingError as error:
        _require_invalid(error)


def _require_invalid(error: TrackingError) -> None:
    assert error.kind is Kind.INVALID
    error.message.encode()  # half a surrogate pair in it could not be sent


DEEP = {
    "lists": b"[" * 100_000,
    "ended lists": b"[" * 100_000 + b"]" * 100_000,
    "a field": b'{"run_id":' + b"[" * 600 + b"]" * 600 + b"}",
    "objects": b'{"run_id":"r","params":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    "an unknown field": b'{"run_id":"r","foo":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "lists in lists": b'{"run_id":"r","metrics":' + b"[" * 400 + b"]" * 400 + b"}",
    "in a text": json.dumps("[" * 100_000).encode(),
    "camel case": b'{"runId":"r","params":' + b"[" * 400 + b"]" * 400 + b"}",
}


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_a_body_nested_too_deeply_is_refused(body):
    assert f"{LEVELS} levels" in str(refused(body))


@pytest.mark.parametrize("text", [rb"\ud800", rb"\udc00\ud800", rb"a\ud83d"])
def test_half_a_surrogate_pair_is_no_text(text):
    assert "Unicode" in str(refused(b'{"run_id":"' + text + b'"}'))
    assert "Unicode" in str(refused(b'{"runId":"r","tags":[{"key":"' + text + b'"}]}'))


def test_a_whole_surrogate_pair_is():
    assert decode_body(rb'{"run_id":"\ud83d\ude00"}', requests.LogBatch).run_id == "😀"


NUMBERS = [
    (b"1", 1.0),
    (b"-0.0", -0.0),
    (b'"1.5"', 1.5),
    (b"1e308", 1e308),
    (b"1e999", math.inf),
    (b"NaN", math.nan),
    (b'"NaN"', math.nan),
    (b"Infinity", math.inf),
    (b'"Infinity"', math.inf),
    (b"-Infinity", -math.inf),
    (b'"-Infinity"', -math.inf),
    (b"123456789012345678901234567890", 123456789012345678901234567890.0),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_a_double_comes_as_number_or_text(text, value):
    body = b'{"run_id":"r","key":"k","timestamp":1,"value":' + text + b"}"
    decoded = decode_body(body, requests.LogMetric).value
    assert decoded == value or (math.isnan(decoded) and math.isnan(value))


@pytest.mark.parametrize("text", [b'"x"', b"true", b"[]", b"{}", b'""', b"1" * 400, b"9" * 5000])
def test_what_is_no_double_is_refused_by_its_name(text):
    refused(b'{"run_id":"r","key":"k","timestamp":1,"value":' + text + b"}", requests.LogMetric)


INTEGERS = [
    (b"1", 1),
    (b'"1"', 1),
    (b"1.0", 1),
    (b"-9223372036854775808", -(2**63)),
    (b"9223372036854775807", 2**63 - 1),
]


@pytest.mark.parametrize(("text", "value"), INTEGERS)
def test_an_integer_comes_as_number_or_text(text, value):
    body = b'{"run_id":"r","key":"k","value":1,"timestamp":' + text + b"}"
    assert decode_body(body, requests.LogMetric).timestamp == value


@pytest.mark.parametrize(
    "text", [b"1.5", b"9223372036854775808", b"1e30", b"NaN", b"true", b'"x"', b"[]", b"1e999"]
)
def test_what_is_no_64_bit_integer_is_refused_by_its_name(text):
    body = b'{"run_id":"r","key":"k","value":1,"timestamp":' + text + b"}"
    assert "timestamp" in str(refused(body, requests.LogMetric))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"name":null}', b'{"name":""}'])
def test_a_missing_field_is_named_in_mlflows_words(body):
    assert str(refused(body, requests.CreateExperiment)).startswith(
        "Missing value for required parameter 'name'. See the API docs"
    )


def test_a_missing_field_inside_a_list_is_named_with_its_place():
    assert "'metrics[0].key'" in str(refused(b'{"run_id":"r","metrics":[{"value":1,"timestamp":1}]}'))


def test_a_null_is_a_field_that_isnt_there():
    body = b'{"run_id":"r","metrics":null,"params":[{"key":"k","value":null}],"tags":null}'
    decoded = decode_body(body, requests.LogBatch)
    assert decoded == requests.LogBatch("r", [], [requests.ParamInput("k", "")], [])


@pytest.mark.parametrize(
    "body", [b'{"runId":"r"}', b'"{\\"run_id\\": \\"r\\"}"', b'{"run_id":"x","run_id":"r"}']
)
def test_what_protobufs_json_takes_is_taken(body):
    assert decode_body(body, requests.LogBatch).run_id == "r"


@pytest.mark.parametrize("body", [b'{"runId":"a","run_id":"b"}', b'{"run_id":"a","runId":"b"}'])
def test_a_field_named_twice_is_refused(body):
    assert "twice" in str(refused(body))


@pytest.mark.parametrize("body", [b"{", b"nothing", b"{'a': 1}", b'{"a": 1,}', b'"{"', b"\x00", b"{}{}"])
def test_what_is_no_json_is_refused(body):
    assert "not valid JSON" in str(refused(body))


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"true", b'"\\"x\\""', b"[{}]"])
def test_what_is_no_object_is_refused(body):
    assert "'body'" in str(refused(body))


def test_a_repeated_key_of_a_query_is_a_list():
    query = [("filter", "a"), ("order_by", "x"), ("order_by", "y"), ("max_results", "5"), ("foo", "1")]
    decoded = decode_query(query, requests.SearchExperiments)
    assert (decoded.order_by, decoded.max_results, decoded.filter) == (["x", "y"], 5, "a")


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)]
)
def test_a_bool_of_a_query_is_true_or_false_in_any_case(text, value):
    assert (
        decode_query([("model_id", "m"), ("allow_deleted", text)], requests.GetLoggedModel).allow_deleted
        is value
    )


@pytest.mark.parametrize("text", ["yes", "2", "", "t"])
def test_what_is_no_bool_is_refused_by_its_name(text):
    with pytest.raises(TrackingError, match="allow_deleted"):
        decode_query([("model_id", "m"), ("allow_deleted", text)], requests.GetLoggedModel)
