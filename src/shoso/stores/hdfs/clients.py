"""The library's clients: one for each cluster that a process opens, kept for as long as the process lives.

A client owns the threads of its runtime, and waits for them when it is let go, with the interpreter's lock
held. One of them may just be waiting for that lock, to wake a coroutine: then the process stands still for
ever. So none is let go, not even one whose connection is dead; and a process that ends gives the threads a
moment without the lock, since one that waits for it in an interpreter that has ended aborts the process.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from hdfs_native import AsyncClient

_clients: dict[object, AsyncClient] = {}
_retired: list[AsyncClient] = []

PARTING = 0.1
"""Seconds that the end of the process waits."""

atexit.register(time.sleep, PARTING)


@dataclass(frozen=True, slots=True)
class Access:
    """How a cluster is reached: the address, the user and all that the library is told."""

    address: str
    user: str
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)
    principal: str | None = None
    ticket_cache: str | None = None

    @property
    def identity(self) -> object:
        """The same for those that can share a client; a forked process has none of its threads."""
        fixed = frozenset(self.properties.items())
        return os.getpid(), self.address, self.user, fixed, self.principal, self.ticket_cache


def client(access: Access) -> AsyncClient:
    """The client for that; it connects with its first call."""
    if (found := _clients.get(access.identity)) is None:
        found = _clients[access.identity] = AsyncClient(
            access.address,
            dict(access.properties),
            kerberos_principal=access.principal,
            kerberos_cache=access.ticket_cache,
        )
    return found


def retire(access: Access, dead: AsyncClient) -> None:
    """Use that client no more: the next call gets a new one."""
    if _clients.get(access.identity) is dead:
        _retired.append(_clients.pop(access.identity))
