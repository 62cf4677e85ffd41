"""Which part of a result is asked for: page size, page token and view type, as MLflow's clients send them."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from shoso.errors import Kind, TrackingError

MAX_RESULTS = 50_000

_STAGES = {
    "ACTIVE_ONLY": ("active",),
    "DELETED_ONLY": ("deleted",),
    "ALL": ("active", "deleted"),
}
_VIEWS = {1: "ACTIVE_ONLY", 2: "DELETED_ONLY", 3: "ALL"}


def size(max_results: int, most: int = MAX_RESULTS) -> int:
    """The number of results on a page, at least one. Raises TrackingError(INVALID)."""
    if not 1 <= max_results <= most:
        raise TrackingError(
            Kind.INVALID,
            f"Invalid value {max_results} for parameter 'max_results': it must be a positive integer, at most"
            f" {most}.",
        )
    return max_results


def offset(page_token: str) -> int:
    """The number of results on the pages before; 0 without a token. Raises TrackingError(INVALID)."""
    return offset_in(decoded(page_token)) if page_token else 0


def token(start: int) -> str:
    """The token of the page that begins with result number `start`, counted from 0."""
    return encoded({"offset": start})


def encoded(fields: dict[str, Any]) -> str:
    """A page token: base64 of JSON, so that MLflow and Shoso can go on with each other's pages."""
    return base64.b64encode(json.dumps(fields).encode()).decode()


def decoded(page_token: str) -> dict[str, Any]:
    """The fields of a page token. Raises TrackingError(INVALID)."""
    try:
        fields = json.loads(base64.b64decode(page_token))
    except (binascii.Error, ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise foreign()
    return fields


def foreign() -> TrackingError:
    """The error of a page token that isn't one."""
    return TrackingError(Kind.INVALID, "Invalid page_token: it isn't one this server gave out.")


def offset_in(fields: dict[str, Any]) -> int:
    """The offset of a decoded page token. Raises TrackingError(INVALID)."""
    start = fields.get("offset")
    if type(start) is not int or not 0 < start < 2**62:
        raise TrackingError(Kind.INVALID, "Invalid page_token: its offset isn't a positive number.")
    return start


def stages(view_type: int | str) -> tuple[str, ...]:
    """The lifecycle stages in a view, given by number or name. Raises TrackingError(INVALID)."""
    name = {str(number): name for number, name in _VIEWS.items()}.get(str(view_type), str(view_type))
    if name not in _STAGES:
        known = ", ".join(f"{name} ({number})" for number, name in _VIEWS.items())
        raise TrackingError(Kind.INVALID, f"Invalid view type '{view_type}'; there are {known}.")
    return _STAGES[name]
