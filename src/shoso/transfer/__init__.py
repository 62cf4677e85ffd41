"""The copy engine: one verb for uploads, downloads, migration and backup.

    listing   both ends, side by side, as they stream
    plan      what is unchanged; small objects in batches, large ones in parts (pure)
    engine    one sliding window of jobs, each a coroutine of `batches`, `streams` or `parts`

Beside it, by the same selections: `verify` reads everything and compares it, `compare` tells whether a copy
has everything, `remove` deletes.

A copy that failed or was stopped goes on where it was by being made again.
"""

from shoso.transfer.agreement import Comparison, Settle, Settled, compare
from shoso.transfer.engine import copy
from shoso.transfer.policy import Policy, Unchanged
from shoso.transfer.progress import Progress, Silent
from shoso.transfer.removal import Removal, remove
from shoso.transfer.report import CopyError, Report
from shoso.transfer.selection import Selection
from shoso.transfer.verification import Verification, verify

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
