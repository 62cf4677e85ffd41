"""What the jobs of a copy share: both ends, the window, and who is told what became of an object."""

from __future__ import annotations

from dataclasses import dataclass

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.transfer.plan import Item
from shoso.transfer.policy import Policy
from shoso.transfer.report import Tally
from shoso.transfer.window import Window

_NEAR = {"file", "folder", "memory"}


@dataclass(frozen=True, slots=True)
class Route:
    """From `src` to `dst`."""

    src: Store
    dst: Store
    policy: Policy
    window: Window
    tally: Tally

    @property
    def near(self) -> bool:
        """Whether reading the source again costs little, and it may be changed in place by anybody."""
        return self.src.info.scheme in _NEAR

    def finish(self, item: Item, written: ObjectMeta) -> None:
        """An object has arrived."""
        self.tally.succeed()
        self.policy.progress.finished(item.to, written.size)

    def skip(self, to: Key, size: int) -> None:
        """An object is there already."""
        self.tally.skipped += 1
        self.policy.progress.skipped(to, size)
