"""The library's clients, one for each cluster that a process opens, and the threads that wait for answers.

It is the synchronous client: that one lets go of the interpreter's lock while it waits. The asynchronous one
is driven with the lock held. Where the connection to the NameNode ends while one call waits and another
begins, the library waits for the lock and the new call for the library, and the process stands still for ever
(docs/decisions/0011-hdfs.md).

The `raw` client is used because the files of the other close themselves when they are collected, and keep
whichever thread that is waiting for the cluster.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import hdfs_native

from shoso.core.threads import Threads

if TYPE_CHECKING:
    from hdfs_native._internal import RawClient

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 128
"""Calls of a client that may be under way: besides those that somebody waits for, files that the library is
still closing (half a second each), and what was given up and will be answered late or never."""

PARTING = 2.0
"""Seconds that the end of the process waits for the calls under way: one that returns to an interpreter that
has ended aborts the process."""


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached: the address, the user and all that the library is told."""

    address: str
    user: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    principal: str | None = None
    ticket_cache: str | None = None

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for those that can share a client; a forked process has none of its threads."""
        fixed = frozenset(self.properties.items())
        return os.getpid(), self.address, self.user, fixed, self.principal, self.ticket_cache


class Client:
    """A client and its threads; `raw` is the library's, and connects with its first call."""

    def __init__(self, access: Access) -> None:
        self.raw: RawClient = hdfs_native.Client(
            access.address,
            dict(access.properties),
            kerberos_principal=access.principal,
            kerberos_cache=access.ticket_cache,
        ).inner
        # Never let go, not even at the end of the process: it would wait for its runtime's threads, one of
        # which may be looking up an address, with the interpreter's lock held.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.raw))
        self._threads = Threads(THREADS, "shoso-hdfs")

    def start(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do it in a thread."""
        return self._threads.submit(work, *args, **kwargs)

    def close(self, seconds: float = 0) -> None:
        """Let the threads end, and wait so long for that; what is begun later has a thread of its own."""
        self._threads.close(seconds)


_clients: dict[tuple[object, ...], Client] = {}


def client(access: Access) -> Client:
    """The client for that."""
    if (found := _clients.get(access.identity)) is None:
        found = _clients[access.identity] = Client(access)
    return found


def retire(access: Access, dead: Client) -> None:
    """Use that client no more: the next call gets a new one."""
    if _clients.get(access.identity) is dead:
        _clients.pop(access.identity).close()


@atexit.register
def _part() -> None:
    deadline = time.monotonic() + PARTING
    for (process, *_), kept in _clients.items():
        if process == os.getpid():
            kept.close(max(0.0, deadline - time.monotonic()))
