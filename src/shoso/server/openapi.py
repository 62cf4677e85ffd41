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
_BYTES = {"type": "string", "format": "binary"}
_OF_OBJECTS = {
    "206": {"description": "The range that was asked for", "content": {"*/*": {"schema": _BYTES}}},
    "304": {"description": "Still the version that the client has"},
}


def routes(described: Sequence[Route]) -> list[Route]:
    """The route that shows the document of the others."""
    show = partial(_show, described)
    show.__doc__ = "This document."
    return raw("GET", "/openapi.json", show, roots=OWN, area=Area.ALWAYS, media="application/json")


async def _show(
    described: Sequence[Route], services: Services, exchange: Exchange, params: dict[str, str]
) -> AnyReply:
    return json_reply(document(described, services.settings.static_prefix))


def document(described: Sequence[Route], prefix: str = "") -> dict[str, Any]:
    """OpenAPI 3.1 for these routes."""
    shapes = [shape for route in described for shape in (route.request, route.reply) if shape is not None]
    schemas, components = msgspec.json.schema_components([*shapes, FaultReply], ref_template=_REF)
    named: dict[type | None, Any] = dict(zip([*shapes, FaultReply], schemas, strict=True))
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


def _operation(route: Route, named: dict[type | None, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.area.value],
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": {
            "200": {"description": "Done", **_content(named.get(route.reply), route.media)},
            **(_OF_OBJECTS if (route.method, route.media) == ("GET", "*/*") else {}),
            "4XX": {"description": "The request can't be carried out", **_content(named[FaultReply])},
            "5XX": {"description": "The server can't carry it out", **_content(named[FaultReply])},
        },
    }
    if route.method in {"POST", "PUT", "PATCH"}:
        body = _content(named.get(route.request), "*/*")
        operation["requestBody"] = {"required": True, **body}
    return operation


def _content(schema: dict[str, Any] | None, media: str = "") -> dict[str, Any]:
    """A body of that schema, as JSON; without one, bytes of a media type, or nothing."""
    if schema is not None:
        return {"content": {"application/json": {"schema": schema}}}
    schema = {"type": "object"} if media == "application/json" else _BYTES
    return {"content": {media: {"schema": schema}}} if media else {}


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for segment in route.path.split("{")[1:]:
        name = segment.partition("}")[0].removesuffix(":path")
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(route: Route) -> Iterable[dict[str, Any]]:
    asked = route.asked or (route.request if route.method in {"GET", "DELETE"} else None)
    if asked is None:
        return
    in_path = {parameter["name"] for parameter in _path_parameters(route)}
    schema = msgspec.json.schema(asked)
    shape = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    for name, field in shape["properties"].items():
        if name not in in_path:
            required = name in shape.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": field}
