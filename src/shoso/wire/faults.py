"""Error kind ↔ HTTP status + MLflow error_code: one table, both ways.

MLflow's clients retry 408, 429, 500, 502, 503 and 504 for about four minutes, so whatever will fail again in
the same way is one of the other codes.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from shoso.errors import Kind


class Fault(NamedTuple):
    """How a kind of error travels."""

    status: int
    error_code: str


FAULTS: dict[Kind, Fault] = {
    Kind.INVALID: Fault(400, "INVALID_PARAMETER_VALUE"),
    Kind.INVALID_KEY: Fault(400, "INVALID_PARAMETER_VALUE"),
    Kind.INCOMPLETE: Fault(400, "BAD_REQUEST"),
    Kind.DUPLICATE: Fault(400, "RESOURCE_ALREADY_EXISTS"),
    Kind.REJECTED: Fault(400, "BAD_REQUEST"),  # where MLflow shows what its database refused
    Kind.UNAUTHENTICATED: Fault(401, "UNAUTHENTICATED"),
    Kind.FORBIDDEN: Fault(403, "PERMISSION_DENIED"),
    Kind.NOT_FOUND: Fault(404, "RESOURCE_DOES_NOT_EXIST"),
    Kind.NO_ROUTE: Fault(404, "ENDPOINT_NOT_FOUND"),
    Kind.WRONG_METHOD: Fault(405, "BAD_REQUEST"),
    Kind.EXISTS: Fault(409, "RESOURCE_CONFLICT"),
    Kind.CHANGED: Fault(412, "ABORTED"),
    Kind.TOO_LARGE: Fault(413, "INVALID_PARAMETER_VALUE"),
    Kind.RANGE: Fault(416, "INVALID_PARAMETER_VALUE"),
    Kind.CORRUPT: Fault(422, "DATA_LOSS"),
    Kind.CONFIG: Fault(424, "INVALID_STATE"),  # the storage behind the server: nothing that repeating mends
    Kind.THROTTLED: Fault(429, "REQUEST_LIMIT_EXCEEDED"),
    Kind.UNEXPECTED: Fault(500, "INTERNAL_ERROR"),
    Kind.UNSUPPORTED: Fault(501, "NOT_IMPLEMENTED"),
    Kind.UNAVAILABLE: Fault(503, "TEMPORARILY_UNAVAILABLE"),
    Kind.TIMEOUT: Fault(504, "DEADLINE_EXCEEDED"),
    Kind.NO_SPACE: Fault(507, "RESOURCE_EXHAUSTED"),
}

KIND_HEADER = "shoso-error"
"""Carries the kind exactly, also where there is no body (HEAD): a status alone is ambiguous."""


class FaultReply(Struct, frozen=True):
    """The body of every error."""

    error_code: str
    message: str


def kind_of(status: int, named: str | None, error_code: str = "") -> Kind:
    """The kind behind a reply: the one named in `shoso-error`, else the first that travels so.

    MLflow's server names none: status and error_code together say it, or the status alone.
    """
    if named is not None and named in _KIND_VALUES:
        return Kind(named)
    return _BY_FAULT.get(Fault(status, error_code), _BY_STATUS.get(status, Kind.UNEXPECTED))


_KIND_VALUES = {kind.value for kind in Kind}
_BY_STATUS: dict[int, Kind] = {408: Kind.TIMEOUT, 502: Kind.UNAVAILABLE}  # no server of ours, but proxies
_BY_FAULT: dict[Fault, Kind] = {}
for _kind, _fault in FAULTS.items():
    _BY_STATUS.setdefault(_fault.status, _kind)
    _BY_FAULT.setdefault(_fault, _kind)
