"""The OpenAPI document, made from the route table and the very structs that requests are parsed with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from shoso import __version__
from shoso.server.exchange import AnyReply, Exchange, json_reply
from shoso.server.routes import OWN, Area, Route, raw
from shoso.server.services import Services
from shoso.wire.faults import FaultReply

_REF = "#/components/schemas/{name}"
_BYTES = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def routes(described: Sequence[Route]) -> list[Route]:
    """The route that shows the document of the others."""
    show = partial(_show, described)
    show.__doc__ = "This document."
    return raw("GET", "/openapi.json", show, roots=OWN, area=Area.ALWAYS)


async def _show(
    described: Sequence[Route], services: Services, exchange: Exchange, params: dict[str, str]
) -> AnyReply:
    return json_reply(document(described, services.settings.static_prefix))


def document(described: Sequence[Route], prefix: str = "") -> dict[str, Any]:
    """OpenAPI 3.1 for these routes."""
    shapes = [shape for route in described for shape in (route.request, route.reply) if shape is not None]
    schemas, components = msgspec.json.schema_components([*shapes, FaultReply], ref_template=_REF)
    named = dict(zip([*shapes, FaultReply], schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in described:
        operation = _operation(route, named)
        paths.setdefault(route.path.replace(":path}", "}"), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shoso", "version": __version__},
        "servers": [{"url": prefix or "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, named: dict[type, Any]) -> dict[str, Any]:
    in_query = route.method == "GET" and route.request is not None
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.area.value],
        "parameters": [*_path_parameters(route), *(_query_parameters(route) if in_query else [])],
        "responses": {
            "200": {"description": "Done", "content": _content(route.reply, named)},
            "4XX": {
                "description": "The request can't be carried out",
                "content": _content(FaultReply, named),
            },
        },
    }
    if route.method in {"POST", "PUT", "PATCH"}:
        operation["requestBody"] = {"required": True, "content": _content(route.request, named)}
    return operation


def _content(shape: type | None, named: dict[type, Any]) -> dict[str, Any]:
    return _BYTES if shape is None else {"application/json": {"schema": named[shape]}}


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for segment in route.path.split("{")[1:]:
        name = segment.partition("}")[0].removesuffix(":path")
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    in_path = {parameter["name"] for parameter in _path_parameters(route)}
    schema = msgspec.json.schema(route.request)
    shape = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for name, field in shape["properties"].items():
        if name not in in_path:
            required = name in shape.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": field}
