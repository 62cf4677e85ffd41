"""How to copy: sizes, how much at once, what counts as unchanged, who is told."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from shoso.transfer.progress import Progress, Silent

MIB = 1024 * 1024


class Unchanged(enum.Enum):
    """What becomes of an object that the destination has already.

    SKIP it if it's the same, or SEND it all the same; or KEEP what was written there later than here, as the
    journal knows, or as their times say.
    """

    SKIP = "skip"
    SEND = "send"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Policy:
    """Sizes in bytes.

    part_size     of a part; larger where the store wants it, or would need too many
    parts_from    the size from which an object goes in parts
    parallel      requests under way at once
    window        bytes begun and not yet acknowledged
    journal       the folder of journals, by which a copy goes on later; None for no journal
    dry_run       list and compare, but copy nothing
    """

    part_size: int = 32 * MIB
    parts_from: int = 64 * MIB
    parallel: int = 8
    window: int = 256 * MIB
    journal: Path | None = None
    progress: Progress = field(default_factory=Silent)
    dry_run: bool = False
    unchanged: Unchanged = Unchanged.SKIP
