"""Errors on the wire: one table, both ways."""

from __future__ import annotations

import msgspec
import pytest

from shoso.errors import Kind, store_error
from shoso.server.exchange import fault_reply
from shoso.wire.faults import FAULTS, KIND_HEADER, FaultReply, kind_of

RETRIED = {408, 429, 500, 502, 503, 504}
"""What MLflow's clients send again, for about four minutes."""

PASSING = {Kind.THROTTLED, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.UNEXPECTED}
"""What may be over in four minutes, or is a fault of the server's own."""


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_travels(kind):
    assert 400 <= FAULTS[kind].status < 600
    assert FAULTS[kind].error_code.isupper()


@pytest.mark.parametrize("kind", Kind)
def test_what_will_fail_again_is_nothing_that_clients_repeat(kind):
    assert (FAULTS[kind].status in RETRIED) == (kind in PASSING)


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_comes_back_as_it_went(kind):
    reply = fault_reply(store_error(kind, "A sentence."))
    header = dict(reply.headers)[KIND_HEADER.encode()].decode()
    assert kind_of(reply.status, header) is kind
    assert msgspec.json.decode(reply.body, type=FaultReply).message == "A sentence."


@pytest.mark.parametrize("named", [None, "", "nonsense"])
def test_a_status_alone_is_the_kind_that_is_likely(named):
    assert kind_of(404, named) is Kind.NOT_FOUND
    assert kind_of(507, named) is Kind.NO_SPACE
    assert kind_of(418, named) is Kind.UNEXPECTED


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.2, b"1"), (7, b"7"), (None, None), (float("inf"), b"86400")]
)
def test_the_pause_that_a_store_asked_for_is_handed_on(seconds, header):
    reply = fault_reply(store_error(Kind.THROTTLED, "Later.", retry_after=seconds))
    assert dict(reply.headers).get(b"retry-after") == header


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "RESOURCE_ALREADY_EXISTS", Kind.DUPLICATE),
        (400, "INVALID_PARAMETER_VALUE", Kind.INVALID),
        (400, "BAD_REQUEST", Kind.INCOMPLETE),
        (404, "RESOURCE_DOES_NOT_EXIST", Kind.NOT_FOUND),
        (404, "ENDPOINT_NOT_FOUND", Kind.NO_ROUTE),
        (404, "", Kind.NOT_FOUND),
        (403, "a code of tomorrow", Kind.FORBIDDEN),
        (500, "INVALID_STATE", Kind.UNEXPECTED),
        (408, "", Kind.TIMEOUT),
        (502, "", Kind.UNAVAILABLE),
        (599, "", Kind.UNEXPECTED),
    ],
)
def test_a_reply_of_mlflows_has_a_kind_by_its_status_and_code(status, code, kind):
    assert kind_of(status, None, code) is kind
    assert kind_of(status, "no kind of ours", code) is kind
    assert kind_of(status, "corrupt", code) is Kind.CORRUPT
