"""How to copy: sizes, how much at once, what counts as unchanged, who is told."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shoso.transfer.progress import Progress, Silent

MIB = 1024 * 1024


class Unchanged(enum.Enum):
    """What becomes of an object that the destination has already: SKIP what is the same, or SEND it again."""

    SKIP = "skip"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Policy:
    """Sizes in bytes.

    part_size     of a part; larger where the store wants it, or would need too many
    parts_from    the size from which an object goes in parts
    parallel      requests under way at once
    window        bytes begun and not yet acknowledged
    journal       the folder of journals, by which a copy goes on later; None for no journal
    dry_run       list and compare, but copy nothing
    over          path → the version there that may be written over, "" for none; None: over any version
    """

    part_size: int = 32 * MIB
    parts_from: int = 64 * MIB
    parallel: int = 8
    window: int = 256 * MIB
    journal: Path | None = None
    progress: Progress = field(default_factory=Silent)
    dry_run: bool = False
    unchanged: Unchanged = Unchanged.SKIP
    over: Mapping[str, str] | None = None
