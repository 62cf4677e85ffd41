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


_STATUSES: dict[Kind, int] = {
    Kind.INVALID: 400,
    Kind.INVALID_KEY: 400,
    Kind.INCOMPLETE: 400,
    Kind.DUPLICATE: 400,
    Kind.REJECTED: 400,  # where MLflow shows what its database refused
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.NO_ROUTE: 404,
    Kind.WRONG_METHOD: 405,
    Kind.EXISTS: 409,
    Kind.CHANGED: 412,
    Kind.TOO_LARGE: 413,
    Kind.RANGE: 416,
    Kind.CORRUPT: 422,
    Kind.CONFIG: 424,  # the storage behind the server: nothing that repeating mends
    Kind.THROTTLED: 429,
    Kind.UNEXPECTED: 500,
    Kind.UNSUPPORTED: 501,
    Kind.UNAVAILABLE: 503,
    Kind.TIMEOUT: 504,
    Kind.NO_SPACE: 507,
}

FAULTS: dict[Kind, Fault] = {kind: Fault(status, kind.error_code) for kind, status in _STATUSES.items()}

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
