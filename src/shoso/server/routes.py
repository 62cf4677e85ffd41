"""What the server answers to: a table of routes, and the way from a path to one of them."""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from shoso.errors import Kind, TrackingError
from shoso.server.exchange import AnyReply, Exchange, json_reply
from shoso.wire.decode import convert, decode_body, decode_query, parse_json

if TYPE_CHECKING:
    from shoso.server.services import Services

Endpoint = Callable[["Services", Exchange, dict[str, str]], Awaitable[AnyReply]]
Handler = Callable[["Services", Any], Awaitable[object]]

API = ("/api/2.0", "/ajax-api/2.0")
API_3 = ("/api/3.0", "/ajax-api/3.0")
OWN = ("/api/shoso/1",)

_ASKED_BY_QUERY = {"GET", "HEAD", "DELETE"}


class Area(enum.Enum):
    """Which half of the server a route belongs to; each can be switched off."""

    ALWAYS = "always"
    TRACKING = "tracking"
    ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path, who answers, and the shapes of request and reply.

    None is bytes: `asked` are the fields that such a call has in its query, `media` the type of its reply.
    """

    method: str
    path: str
    endpoint: Endpoint
    area: Area
    request: type | None
    reply: type | None
    summary: str
    asked: type | None = None
    media: str = "application/json"


def call(
    method: str,
    path: str,
    handler: Handler,
    request: type,
    reply: type,
    *,
    roots: Sequence[str] = API,
    area: Area = Area.TRACKING,
) -> list[Route]:
    """A JSON call: parse `request` from body, query or path, and reply with what `handler` returns."""

    async def endpoint(services: Services, exchange: Exchange, params: dict[str, str]) -> AnyReply:
        asked = await parse_request(exchange, request, params)
        exchange.subject = subject_of(asked)
        return json_reply(await handler(services, asked))

    summary = _summary(handler)
    return [Route(method, root + path, endpoint, area, request, reply, summary) for root in roots]


def raw(
    method: str,
    path: str,
    endpoint: Endpoint,
    *,
    roots: Sequence[str] = API,
    area: Area = Area.ARTIFACTS,
    request: type | None = None,
    asked: type | None = None,
    reply: type | None = None,
    media: str = "*/*",
) -> list[Route]:
    """A call that moves bytes, or speaks plain text."""
    summary = _summary(endpoint)
    return [
        Route(method, root + path, endpoint, area, request, reply, summary, asked, media) for root in roots
    ]


async def parse_request(exchange: Exchange, shape: type, params: dict[str, str]) -> Any:
    """The request struct, by MLflow's rules: the query string of a GET wins over its body."""
    if exchange.method in _ASKED_BY_QUERY and exchange.scope["query_string"]:
        return decode_query([*exchange.query(), *params.items()], shape)
    if exchange.method in {"POST", "PUT"}:
        _require_json(exchange)
    body = await exchange.body()
    if not params:
        return decode_body(body, shape)
    fields = parse_json(body)
    return convert({**fields, **params} if isinstance(fields, dict) else fields, shape)


def subject_of(request: object) -> dict[str, str]:
    """The run, experiment or model that a request is about, for the access log."""
    for name in ("run_id", "run_uuid", "experiment_id", "model_id"):
        if value := getattr(request, name, ""):
            return {name.replace("run_uuid", "run_id"): value}
    return {}


class Router:
    """Finds routes: whole paths in a table, paths with parameters by their patterns."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in self.routes:
            table = patterns if "{" in route.path else self._fixed
            table.setdefault(route.path, {})[route.method] = route
        self._patterns = [(_pattern(path), methods) for path, methods in patterns.items()]

    def find(self, method: str, path: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parameters, decoded once. Raises NO_ROUTE, WRONG_METHOD."""
        methods = self._fixed.get(path)
        params: dict[str, str] = {}
        if methods is None:
            methods, params = self._match(raw_path)
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allowed = ", ".join(sorted(methods))
            raise TrackingError(Kind.WRONG_METHOD, f"{method} is not answered here; use {allowed}.")
        return route, params

    def _match(self, raw_path: str) -> tuple[dict[str, Route], dict[str, str]]:
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(raw_path):
                return methods, {name: _decoded(text) for name, text in found.groupdict().items()}
        raise TrackingError(Kind.NO_ROUTE, "No such endpoint on this server.")


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise TrackingError(Kind.INVALID, "Invalid path: it is not valid UTF-8.") from None


def _pattern(path: str) -> re.Pattern[str]:
    """`{name}` is one segment, `{name:path}` the rest."""
    parts = re.split(r"(\{\w+(?::path)?\})", path)
    return re.compile("".join(_group(part) if part.startswith("{") else re.escape(part) for part in parts))


def _group(part: str) -> str:
    name, _, rest = part[1:-1].partition(":")
    return f"(?P<{name}>.*)" if rest else f"(?P<{name}>[^/]+)"


def _require_json(exchange: Exchange) -> None:
    kind = (exchange.header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise TrackingError(Kind.INVALID, "Bad Request. Content-Type must be 'application/json'.")


def _summary(function: Callable[..., Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]
