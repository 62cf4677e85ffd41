"""What an import came to, and who is told on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from shoso.maintenance.filestore import Problem


@dataclass(slots=True)
class Counts:
    """What is new in the target, or would be; `there` are the runs and logged models that were there whole.

    `traces` are left out. `files` and `bytes` are artifacts that were copied.
    """

    experiments: int = 0
    runs: int = 0
    params: int = 0
    tags: int = 0
    points: int = 0
    models: int = 0
    versions: int = 0
    there: int = 0
    traces: int = 0
    files: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Moved:
    """An experiment that has another id in the target."""

    name: str
    experiment_id: int
    new_id: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an import came to; of `failed` problems the first thousand are kept."""

    counts: Counts
    moved: Sequence[Moved]
    problems: Sequence[Problem]
    failed: int
    seconds: float


class Told(Protocol):
    """Who is told how far it is."""

    def planned(self, number: int) -> None:
        """So many more there are: of the folders of an import, of the items of a plan."""

    def done(self, number: int) -> None:
        """So many more of them are through."""
