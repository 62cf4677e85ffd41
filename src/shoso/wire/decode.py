"""Bytes and query strings → request structs, by the rules of MLflow's server.

Unknown fields are ignored; numbers may come as text; names may be camelCase, as protobuf's JSON allows; the
body may be a JSON text that holds JSON (an old client's habit). Whatever doesn't fit is a TrackingError of
kind INVALID that names the field: MLflow drops such a field silently or fails later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from shoso.errors import Kind, TrackingError

T = TypeVar("T")

LEVELS = 100
"""How deep a body may be nested; MLflow's deepest request has five levels."""

TOLERATED = 1024 * 1024
"""Bytes of a body that may stray from plain JSON and MLflow's names: taking it in holds up the server."""

_CAMEL_KEY = re.compile(rb'"[a-z]+[A-Z]\w*"\s*:')
_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")


def decode_body(body: bytes, shape: type[T]) -> T:
    """The request in a JSON body; an empty body is `{}`. Raises TrackingError(INVALID)."""
    if len(body) > TOLERATED or _CAMEL_KEY.search(body) is None:
        try:
            return cast("T", _decoder(cast("Hashable", shape)).decode(body or b"{}"))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # the slow way takes what protobuf's JSON and Python's allow, or names the field
    return convert(parse_json(body), shape)


def decode_query(pairs: Iterable[tuple[str, str]], shape: type[T]) -> T:
    """The request in a query string: repeated fields are repeated keys. Raises TrackingError(INVALID)."""
    lists = _list_fields(cast("Hashable", shape))
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in lists:
            values.setdefault(name, []).append(text)
        else:
            values[name] = text
    return convert(values, shape)


def parse_json(body: bytes) -> Any:
    """The JSON value of a body; an empty body is `{}`, a text that holds JSON is parsed again."""
    if len(body) > TOLERATED:
        raise TrackingError(
            Kind.INVALID,
            f"The request doesn't fit this call. (A body over {TOLERATED} bytes must be plain JSON: the API's"
            " own field names, no nulls, NaN as text.)",
        )
    try:
        value = json.loads(body or b"{}")
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise TrackingError(Kind.INVALID, "The request body is not valid JSON.") from None


def convert(value: Any, shape: type[T]) -> T:
    """A decoded JSON value as a request struct. Raises TrackingError(INVALID)."""
    try:
        return msgspec.convert(_plain(value), shape, strict=False)
    except msgspec.ValidationError as error:
        raise _refusal(error) from None


def missing(name: str) -> TrackingError:
    """The error of a required field that isn't there, in MLflow's words."""
    return TrackingError(
        Kind.INVALID,
        f"Missing value for required parameter '{name}'. See the API docs for more information about request"
        " parameters.",
    )


def _plain(value: Any, levels: int = LEVELS) -> Any:
    """Snake-case names, and no nulls: protobuf's JSON reads a null as an unset field."""
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, dict | list):
        return value
    if not levels:
        raise _too_deep()
    if isinstance(value, list):
        return [_plain(item, levels - 1) for item in value]
    renamed: dict[str, Any] = {}
    for name, item in value.items():
        key = _HUMP.sub(lambda hump: "_" + hump.group(1).lower(), _text(name))
        if key in renamed:
            raise TrackingError(Kind.INVALID, f"The request names the field '{key}' twice, as '{name}' too.")
        renamed[key] = _plain(item, levels - 1)
    return {key: item for key, item in renamed.items() if item is not None}


def _text(value: str) -> str:
    """The text, if it is one: Python's JSON takes half a surrogate pair, which nothing can store."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TrackingError(Kind.INVALID, "The request has a text that is not valid Unicode.") from None
    return value


def _too_deep() -> TrackingError:
    return TrackingError(Kind.INVALID, f"The request body is nested deeper than {LEVELS} levels.")


@cache
def _decoder(shape: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast("type[Any]", shape), strict=False)


@cache
def _list_fields(shape: Any) -> frozenset[str]:
    fields = msgspec.structs.fields(shape)
    return frozenset(f.name for f in fields if getattr(f.type, "__origin__", None) is list)


def _refusal(error: msgspec.ValidationError) -> TrackingError:
    text = str(error)
    if found := re.match(r"Object missing required field `(\w+)`(?: - at `\$\.?(.*)`)?", text):
        parent = f"{found.group(2)}." if found.group(2) else ""
        return missing(parent + found.group(1))
    what, _, where = text.partition(" - at `$")
    name = where.strip("`").lstrip(".") or "body"
    if what == "Expected `str` of length >= 1":
        return missing(name)
    return TrackingError(Kind.INVALID, f"Invalid value for parameter '{name}': {what[0].lower()}{what[1:]}.")
