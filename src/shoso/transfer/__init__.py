"""The copy engine: one verb for uploads, downloads, migration and backup.

    listing   both ends, side by side, as they stream
    plan      what is unchanged; small objects in batches, large ones in parts (pure)
    engine    one sliding window of jobs, each a coroutine of `batches`, `streams` or `parts`

Beside it, by the same selections: `verify` reads everything and compares it, `compare` tells whether a copy
has everything, `remove` deletes.

A copy that failed or was stopped goes on where it was by being made again.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoso.transfer.agreement import Comparison, Settle, Settled, compare
    from shoso.transfer.engine import copy
    from shoso.transfer.policy import Policy, Unchanged
    from shoso.transfer.progress import Progress, Silent
    from shoso.transfer.removal import Removal, remove
    from shoso.transfer.report import CopyError, Report
    from shoso.transfer.selection import Selection
    from shoso.transfer.verification import Verification, verify

_PLACES = {
    "Comparison": "agreement",
    "CopyError": "report",
    "Policy": "policy",
    "Progress": "progress",
    "Removal": "removal",
    "Report": "report",
    "Selection": "selection",
    "Settle": "agreement",
    "Settled": "agreement",
    "Silent": "progress",
    "Unchanged": "policy",
    "Verification": "verification",
    "compare": "agreement",
    "copy": "engine",
    "remove": "removal",
    "verify": "verification",
}

__all__ = [
    "Comparison",
    "CopyError",
    "Policy",
    "Progress",
    "Removal",
    "Report",
    "Selection",
    "Settle",
    "Settled",
    "Silent",
    "Unchanged",
    "Verification",
    "compare",
    "copy",
    "remove",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: who only needs a window needs no engine."""
    if (module := _PLACES.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value
