"""What the jobs of a copy share: both ends, the window, and who is told what became of an object."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.errors import StoreError
from shoso.transfer.comparison import near
from shoso.transfer.journal import Done, Journal
from shoso.transfer.plan import Item, version
from shoso.transfer.policy import Policy
from shoso.transfer.report import Tally
from shoso.transfer.window import Window

YOUNG = 2.0
"""Seconds in which a file may change twice and show one time (FAT counts in twos)."""


@dataclass(frozen=True, slots=True)
class Route:
    """From `src` to `dst`."""

    src: Store
    dst: Store
    policy: Policy
    window: Window
    tally: Tally
    journal: Journal
    started: float = field(default_factory=time.time)

    def finish(self, item: Item, meta: ObjectMeta, written: ObjectMeta) -> None:
        """The object has arrived in the version that `meta` describes."""
        self.tally.succeed()
        self.policy.progress.finished(item.to, written.size)
        self._note(item, meta, written)

    def skip(self, item: Item, there: ObjectMeta) -> None:
        """The object is there already, as the digests say."""
        self.tally.skipped += 1
        self.policy.progress.skipped(item.to, there.size)
        self._note(item, item.meta, there)

    def keep(self, item: Item, there: ObjectMeta) -> None:
        """What is there is another object by now, and stays."""
        self.tally.skipped += 1
        self.policy.progress.skipped(item.to, there.size)

    def fail(self, key: Key, error: StoreError) -> None:
        """An object could not be copied; raises the error where no other could."""
        self.policy.progress.failed(key, error)
        self.tally.fail(error)

    def _note(self, item: Item, meta: ObjectMeta, there: ObjectMeta) -> None:
        young = near(self.src) and meta.modified > self.started - YOUNG
        source = "" if young else version(meta)
        self.journal.note(Done(item.path, source, version(there), there.digest or meta.digest))
