"""The server as processes: one that listens and answers, or several that share a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from functools import partial

import uvicorn
from uvicorn.supervisors import Multiprocess

from shoso.errors import ConfigError
from shoso.server import App, create_app
from shoso.server.services import open_services
from shoso.settings import ServerSettings

GRACE = 30
"""Seconds that a stopping server waits for requests under way."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than the 60 s of common proxies, so they close first."""

BACKLOG = 2048


def serve(settings: ServerSettings) -> None:
    """Listen and answer until SIGTERM or SIGINT. Raises ConfigError before anything is answered."""
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    try:
        if settings.workers == 1:
            config = _config(_app(settings))
            _announce(settings, host, port)
            uvicorn.Server(config).run(sockets=[listener])
        else:
            # Open and close once here: a wrong setting is one sentence, not one a worker for ever.
            asyncio.run(_open_and_close(settings))
            config = _config(partial(_app, settings), factory=True, workers=settings.workers)
            _announce(settings, host, port)
            Multiprocess(config, sockets=[listener]).run()
    finally:
        listener.close()


def listen(settings: ServerSettings) -> socket.socket:
    """A listening socket. Raises ConfigError naming --host or --port."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise ConfigError(
            "--host", f"'{settings.host}' is no address of this machine ({error.strerror})."
        ) from None
    # The protocol is named: for a socket with protocol 0, asyncio leaves Nagle's algorithm on (44 ms a call).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigError(
            "--port",
            f"can't listen on {settings.host}:{settings.port} ({error}); choose another --port or --host.",
        ) from None
    listener.set_inheritable(True)
    return listener


def _app(settings: ServerSettings) -> App:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    return create_app(settings)


def _config(app: object, **more: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        **more,  # type: ignore[arg-type]
    )


async def _open_and_close(settings: ServerSettings) -> None:
    await open_services(settings).close()


def _announce(settings: ServerSettings, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    where = f"http://{shown}:{port}{settings.static_prefix}"
    sys.stderr.write(f"Shoso listens on {where} (pid {os.getpid()})\n")
