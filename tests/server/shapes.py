"""Bodies made from the very structs that requests are decoded to: right ones, and ones wrong in one field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import NODEFAULT, inspect

WRONG: dict[type, list[Any]] = {
    inspect.StrType: [5, 1.5, True, [], {}, ["x"], {"x": 1}],
    inspect.IntType: ["x", "", 1.5, True, [], {}, 10**30, -(2**63) - 1, "1e", [1]],
    inspect.FloatType: ["x", "", True, [], {}, [1.0], 10**400],
    inspect.BoolType: ["x", 2, [], {}, 1.5],
    inspect.ListType: ["x", 5, {}, True, {"key": "value"}],
    inspect.StructType: ["x", 5, [], True],
}


class Body(NamedTuple):
    """A body with one field as it mustn't be; `name` is what the refusal must call it."""

    name: str
    fields: dict[str, Any]


def right(shape: type) -> dict[str, Any]:
    """The least body that the struct takes."""
    return _right(inspect.type_info(shape))


def wrong(shape: type) -> Iterator[Body]:
    """The body with each field in turn of another type, at every depth."""
    kind = inspect.type_info(shape)
    for name, value in _wrong(kind):
        yield Body(name, right(shape) | value)


def lacking(shape: type) -> Iterator[Body]:
    """The body with each required field in turn left out, null, and empty where that counts as missing."""
    fields = right(shape)
    for field in inspect.type_info(shape).fields:
        if field.default is NODEFAULT and field.default_factory is NODEFAULT:
            absent = [{}, {field.encode_name: None}]
            absent += [{field.encode_name: ""}] if getattr(field.type, "min_length", None) else []
            for value in absent:
                yield Body(
                    field.encode_name, {k: v for k, v in fields.items() if k != field.encode_name} | value
                )


def _right(kind: Any) -> Any:
    match kind:
        case inspect.Metadata():
            return _right(kind.type)
        case inspect.StructType():
            needed = [f for f in kind.fields if f.default is NODEFAULT and f.default_factory is NODEFAULT]
            return {field.encode_name: _right(field.type) for field in needed}
        case inspect.ListType():
            return [_right(kind.item_type)]
        case inspect.UnionType():
            return _right(kind.types[0])
    return {inspect.StrType: "x", inspect.IntType: 1, inspect.FloatType: 1.0, inspect.BoolType: True}[
        type(kind)
    ]


def _wrong(kind: inspect.StructType) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in kind.fields:
        for place, value in _wrong_values(field.type):
            yield field.encode_name + place, {field.encode_name: value}


def _wrong_values(kind: Any) -> Iterator[tuple[str, Any]]:
    """Values that the type doesn't take, each with where it is wrong."""
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        yield from (("", value) for value in ([], {}, [1]))
        return
    yield from (("", value) for value in WRONG[type(kind)])
    if isinstance(kind, inspect.StructType):
        right = _right(kind)
        yield from (("." + name, right | value) for name, value in _wrong(kind))
    if isinstance(kind, inspect.ListType):
        for place, value in _wrong_values(kind.item_type):
            yield f"[0]{place}", [value]
            yield f"[1]{place}", [_right(kind.item_type), value]
