"""The server as processes: one that listens and answers, or several that share a socket."""

from __future__ import annotations

import asyncio
import errno
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from uvicorn.supervisors import Multiprocess

from shoso.errors import ConfigError
from shoso.server.app import App, create_app
from shoso.server.lines import Lines, LinesHandler
from shoso.server.probe import check_destination
from shoso.server.protocol import Protocol
from shoso.server.services import open_services
from shoso.settings import ServerSettings

_log = logging.getLogger("shoso.server")

GRACE = 30
"""Seconds that a stopping server waits for requests under way."""

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than the 60 s of common proxies, so they close first."""

BACKLOG = 2048

HEALTH = 60
"""Seconds in which a worker must give a sign of life: a machine under load may need 5 s to import."""


def serve(settings: ServerSettings) -> None:
    """Listen and answer until SIGTERM or SIGINT. Raises ConfigError before anything is answered."""
    signal.signal(signal.SIGTERM, _stop)
    listener = listen(settings)
    try:
        asyncio.run(check_destination(settings))
        if settings.workers == 1:
            _serve_alone(settings, listener)
        else:
            _serve_together(settings, listener)
    finally:
        listener.close()


def _serve_alone(settings: ServerSettings, listener: socket.socket) -> None:
    config = _config(_app(settings))
    _announce(settings, listener)
    _Server(config).run(sockets=[listener])


def _serve_together(settings: ServerSettings, listener: socket.socket) -> None:
    # Open and close once here: a wrong setting is one sentence, not one a worker for ever.
    asyncio.run(_open_and_close(settings))
    lines = _print_logs(settings)
    config = _config(partial(_app, settings), factory=True, workers=settings.workers)
    _announce(settings, listener)
    workers = _Workers(config, sockets=[listener])
    workers.signal_queue.extend(_unheard)
    workers.run()
    lines.close()


class _Server(uvicorn.Server):
    """Ends by itself after a signal, with exit code 0: uvicorn's would raise the signal once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)
        self.should_exit |= bool(_unheard)
        yield


class _Workers(Multiprocess):
    """Stops to listen when the workers are told to stop: else new clients wait for nobody."""

    def keep_subprocess_alive(self) -> None:
        for worker in self.processes:
            # Each worker has its end of its pipe by now. Held open here too, it would never be at its end: a
            # worker killed between two signs of life would be waited for, a signal to stop with it.
            worker.child_conn.close()
        super().keep_subprocess_alive()

    def terminate_all(self) -> None:
        for listener in self.sockets:
            listener.close()
        super().terminate_all()


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
    except OSError as error:
        listener.close()
        flag = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        where = f"{settings.host}:{settings.port}"
        message = f"can't listen on {where} ({error.strerror}); choose another {flag}."
        raise ConfigError(flag, message) from None
    return listener


def _app(settings: ServerSettings) -> App:
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_after, args=[parent], daemon=True).start()
    return create_app(settings, _print_logs(settings))


def _end_after(parent: multiprocessing.process.BaseProcess) -> None:
    """Stop this worker when its parent is gone, killed perhaps: nobody else would."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _print_logs(settings: ServerSettings) -> Lines:
    lines = Lines()
    logging.basicConfig(level=logging.INFO, handlers=[LinesHandler(lines, settings.log_format)])
    return lines


def _config(app: object, **more: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
        timeout_worker_healthcheck=HEALTH,
        **more,  # type: ignore[arg-type]
    )


async def _open_and_close(settings: ServerSettings) -> None:
    await open_services(settings).close()


def _announce(settings: ServerSettings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    where = f"http://{shown}:{port}{settings.static_prefix}"
    _log.info("Shoso listens on %s (pid %d)", where, os.getpid())


_unheard: list[int] = []
"""Signals to stop that came before the server ran: Python drops what is raised in a collection of garbage."""


def _stop(number: int, frame: object) -> None:
    """Before and after the server runs, a signal to stop ends the process as asked."""
    _unheard.append(number)
    raise SystemExit(0)
