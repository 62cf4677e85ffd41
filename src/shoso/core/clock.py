"""The clock of the database and of the wire."""

from __future__ import annotations

import time


def now_ms() -> int:
    """The time, in milliseconds since the epoch, as MLflow has times."""
    return time.time_ns() // 1_000_000
