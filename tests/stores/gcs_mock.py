"""A server that answers as the reference of Cloud Storage's JSON API says, one request after another.

For what no emulator does: refusals, sessions that can be cancelled, checksums in the last request.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


Reply = tuple[int, str, dict[str, str]]
"""Status, body, headers."""


@dataclass
class Mock:
    """Answers with `replies` in turn (responses, or functions that make one of a request), then with {}."""

    replies: list[Reply | Callable[[Seen], Reply]] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    tokens: int = 0
    token_status: int = 200

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/token", self._token)
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _token(self, request: web.Request) -> web.Response:
        self.tokens += 1
        if self.token_status != 200:
            return web.json_response({"error": "invalid_grant"}, status=self.token_status)
        token = {"access_token": f"secret-token-{self.tokens}", "expires_in": 3600, "token_type": "Bearer"}
        return web.json_response(token)

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            body = await request.read()
        except ConnectionError:  # the body was cut off; nobody waits for an answer
            return web.Response()
        seen = Seen(request.method, request.rel_url.raw_path, dict(request.query), headers, body)
        self.seen.append(seen)
        reply = self.replies.pop(0) if self.replies else (200, "{}", {})
        status, text, named = reply(seen) if callable(reply) else reply
        return web.Response(status=status, text=text, headers=named)


def refusal(status: int, reason: str = "", message: str = "", **headers: str) -> Reply:
    """An error as the API words it."""
    error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
    return status, json.dumps({"error": error}), {name.replace("_", "-"): headers[name] for name in headers}


def stored(**more: Any) -> Reply:
    """An object as the API describes it."""
    described = {
        "name": "key", "size": "0", "generation": "1795776927783438", "metageneration": "1",
        "timeCreated": "2026-11-27T10:55:27.776Z", "contentType": "application/octet-stream", **more,
    }  # fmt: skip
    return 200, json.dumps(described), {}
