"""Who may do what: the one choke point that every request passes before its route is called.

Today: which Host headers are ours (DNS rebinding), which origins' pages may call, and which half of the
server is switched on. Principals and permissions will be asked here too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from shoso.errors import Kind, TrackingError
from shoso.server.exchange import Exchange, Header
from shoso.server.routes import Area, Route
from shoso.settings import ServerSettings

LOCAL_NAMES = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}
PRIVATE = [ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
"""Addresses, not patterns of text: anybody can own the name 10.evil.example and point it here."""

EXEMPT = {"/health", "/version"}
"""Probes come by whatever name a load balancer uses, and tell nothing."""

_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]*)?")

CHANGING = {"POST", "PUT", "PATCH", "DELETE"}


class Access:
    """Decides before anything is read or done; raises FORBIDDEN or NO_ROUTE."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        hosts = tuple(host.lower() for host in settings.allowed_hosts)
        self._host_allowed = lru_cache(256)(
            lambda host: _matches(host.lower(), hosts) if hosts else _is_ours(host.lower())
        )
        self._origins = settings.cors_allowed_origins
        self.headers: list[Header] = [(b"x-content-type-options", b"nosniff")]
        if settings.x_frame_options != "NONE":
            self.headers.append((b"x-frame-options", settings.x_frame_options.encode()))

    def admit_caller(self, exchange: Exchange) -> None:
        """Refuse a request that was sent here under another name, or by a page of another origin."""
        if exchange.path not in EXEMPT and not self._host_allowed(exchange.header(b"host") or ""):
            message = (
                "Invalid Host header - possible DNS rebinding attack detected. If the name is this server's,"
                " add it to --allowed-hosts."
            )
            raise TrackingError(Kind.FORBIDDEN, message)
        origin = exchange.header(b"origin")
        if origin and exchange.method in CHANGING and not self._origin_allowed(origin):
            message = "Cross-origin request blocked. Add the origin to --cors-allowed-origins to allow it."
            raise TrackingError(Kind.FORBIDDEN, message)

    def admit_to(self, route: Route) -> None:
        """Refuse a route of a half that is switched off."""
        if route.area is Area.TRACKING and self._settings.artifacts_only:
            raise _disabled(route, "--artifacts-only", "without it")
        if route.area is Area.ARTIFACTS and not self._settings.serve_artifacts:
            raise _disabled(route, "--no-serve-artifacts", "with --serve-artifacts")

    def cors_headers(self, exchange: Exchange) -> list[Header]:
        """What lets the page of an allowed origin read the reply."""
        origin = exchange.header(b"origin")
        if not origin:
            return []
        if not self._origin_allowed(origin):
            return [(b"vary", b"Origin")]
        if "*" in self._origins:
            return [(b"access-control-allow-origin", b"*")]
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"vary", b"Origin"),
        ]

    def _origin_allowed(self, origin: str) -> bool:
        return _is_local(origin) or _matches(origin, self._origins)


def preflight_headers(exchange: Exchange) -> list[Header]:
    """What a browser may send; the headers are named, for with credentials `*` means none."""
    asked = exchange.header(b"access-control-request-headers") or "*"
    return [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", asked.encode("latin-1")),
        (b"access-control-max-age", b"600"),
    ]


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is the text; `*` stands for any text, everything else for itself."""
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) for pattern in patterns)


def _is_ours(host: str) -> bool:
    """Whether a Host header can only mean this machine or its private network."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found[1] or found[2]
    try:
        return name in LOCAL_NAMES or any(ip_address(name) in network for network in PRIVATE)
    except ValueError:
        return False


def _is_local(origin: str) -> bool:
    try:
        return urlsplit(origin).hostname in {"localhost", "127.0.0.1", "::1"}
    except ValueError:
        return False


def _disabled(route: Route, flag: str, instead: str) -> TrackingError:
    return TrackingError(
        Kind.NO_ROUTE,
        f"Endpoint {route.path} is disabled because the server runs with {flag}; start it {instead}.",
    )
