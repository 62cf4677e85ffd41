"""A thread stopped where the test wants it, so that a race is run the same way every time."""

from __future__ import annotations

import asyncio
import os
import threading
from types import ModuleType

import pytest


class Held:
    """Stops the first call of `os.<name>` in its thread until `go`; `reached` is set when it's there."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str, module: ModuleType = os) -> None:
        self._loop = asyncio.get_running_loop()
        self._real = getattr(module, name)
        self._first = threading.Lock()
        self.reached = asyncio.Event()
        self.go = threading.Event()
        patch.setattr(module, name, self)

    def __call__(self, *args, **kwargs):
        if self._first.acquire(blocking=False):
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self.go.wait(30)
        return self._real(*args, **kwargs)
