"""The server, composed on this page: routes, services, access, log, and the way of a request through them."""

from __future__ import annotations

import logging
import time

from shoso.errors import Kind, ShosoError, TrackingError
from shoso.server import (
    artifacts,
    batches,
    imports,
    models,
    multipart,
    objects,
    openapi,
    plain,
    registry,
    signing,
    tracking,
)
from shoso.server.access import Access, preflight_headers
from shoso.server.access_log import AccessLog
from shoso.server.exchange import (
    AnyReply,
    Disconnected,
    Exchange,
    Receive,
    Reply,
    Scope,
    Send,
    fault_reply,
)
from shoso.server.lines import Lines
from shoso.server.routes import Route, Router
from shoso.server.services import Services, open_services
from shoso.settings import ServerSettings

_log = logging.getLogger("shoso.server")

CLIENT_GONE = 499
"""What the access log says of a client that left; nobody is told it."""


def create_app(settings: ServerSettings, lines: Lines | None = None) -> App:
    """The ASGI application, its database and stores open; its log goes to `lines`. Raises ConfigError."""
    described = calls()
    router = Router([*described, *openapi.routes(described)])
    return App(
        open_services(settings), router, Access(settings), AccessLog(settings.log_format, lines or Lines())
    )


def calls() -> list[Route]:
    """Every call there is, but for the one that describes them."""
    return [
        *plain.routes(),
        *tracking.routes(),
        *models.routes(),
        *registry.routes(),
        *artifacts.routes(),
        *multipart.routes(),
        *objects.routes(),
        *batches.routes(),
        *signing.routes(),
        *imports.routes(),
    ]


class App:
    """The way of a request: caller → route → area → endpoint → reply → log."""

    def __init__(self, services: Services, router: Router, access: Access, log: AccessLog) -> None:
        self.services = services
        self.router = router
        self._access = access
        self._log = log
        self._prefix = services.settings.static_prefix
        self._silence = services.settings.request_silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()
        exchange = Exchange(scope, receive, send, scope["path"], self._silence)
        try:
            await self._serve(exchange)
        except Disconnected:
            exchange.status = CLIENT_GONE
        self._log.record(exchange, time.perf_counter() - start)

    async def _serve(self, exchange: Exchange) -> None:
        reply = await self._reply(exchange)
        extra = self._access.headers + self._access.cors_headers(exchange)
        try:
            await exchange.answer(reply, extra)
        except ShosoError as error:
            if exchange.sent:
                # The reply is under way: ending it short is the only way left to say that it's wrong.
                _log.error("%s: %s", exchange.route, error)
            else:
                await exchange.answer(fault_reply(error), extra)

    async def _reply(self, exchange: Exchange) -> AnyReply:
        try:
            raw_path = self._strip_prefix(exchange)
            self._access.admit_caller(exchange)
            if exchange.method == "OPTIONS":
                return Reply(204, preflight_headers(exchange))
            route, params = self.router.find(exchange.method, exchange.path, raw_path)
            exchange.route = route.path
            self._access.admit_to(route)
            return await route.endpoint(self.services, exchange, params)
        except ShosoError as error:
            if error.kind is Kind.UNEXPECTED:
                _log.error("%s: %s", exchange.route, error, exc_info=error)
            return fault_reply(error)
        except Disconnected:
            raise
        except Exception as error:  # noqa: BLE001  (a bug of ours must not end the connection unexplained)
            _log.error("%s failed", exchange.route, exc_info=error)
            return fault_reply(
                TrackingError(Kind.UNEXPECTED, "Internal error; the server's log has the details.")
            )

    def _strip_prefix(self, exchange: Exchange) -> str:
        """Take the static prefix off the path; the rest of it as sent, not yet decoded."""
        raw_path: str = exchange.scope["raw_path"].decode("latin-1")
        prefix = self._prefix
        if not prefix:
            return raw_path
        if not (raw_path + "/").startswith(prefix + "/"):
            message = f"No such endpoint: this server's paths start with {prefix} (--static-prefix)."
            raise TrackingError(Kind.NO_ROUTE, message)
        exchange.path = exchange.path[len(prefix) :] or "/"
        return raw_path[len(prefix) :] or "/"

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.services.close()
        self._log.close()
        await send({"type": "lifespan.shutdown.complete"})
