"""Findings: what is wrong with what, by name, what would repair it, and what was done."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Protocol

from shoso.errors import ShosoError
from shoso.maintenance.fsck.repairs import Copies
from shoso.maintenance.inventory import DAY


class Kind(enum.StrEnum):
    """What can be found."""

    MISSING = "missing"
    """An object that was stored isn't there."""

    SIZE = "size"
    """An object has another size than the one that was stored."""

    DIGEST = "digest"
    """The bytes of an object aren't those that were stored."""

    UNREADABLE = "unreadable"
    """An object is there and can't be read."""

    SOURCE = "source"
    """A version of a registered model is made of what isn't there."""

    MODEL = "model"
    """A logged model is finished and has no artifacts."""

    LOGGED = "logged"
    """A run has logged a model whose artifacts aren't there."""

    ALIAS = "alias"
    """An alias is of a version that isn't there."""

    ORPHAN = "orphan"
    """Objects that no row refers to."""

    UPLOAD = "upload"
    """An upload in parts that nobody goes on with."""

    RECORD = "record"
    """The server's record of an object that is gone with its run."""

    CLAIM = "claim"
    """A deletion by gc that was begun and not finished."""


Fix = Callable[[], Awaitable[str]]
"""Repairs, and says what it did; "" if it couldn't."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong; `remedy` is what the user may do, `done` what was done."""

    kind: Kind
    name: str
    problem: str
    remedy: str = ""
    done: str = ""
    fix: Fix | None = field(default=None, repr=False, compare=False)


class Told(Protocol):
    """Who is told how far it is."""

    def planned(self, number: int) -> None:
        """So many objects more are to be read."""
        ...

    def done(self, number: int) -> None:
        """So many more are."""
        ...


class Untold:
    """Tells nobody."""

    def planned(self, number: int) -> None:
        """See Told."""

    def done(self, number: int) -> None:
        """See Told."""


@dataclass(frozen=True, slots=True)
class Data:
    """How to read objects: what `share` of them, which `seed` chooses; at most `rate` bytes a second."""

    share: float = 1.0
    seed: str = ""
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What to check, whether to repair, and by which copy of the storage; kinds in `ignored` aren't told.

    `replace` lets the copy replace also what somebody wrote since it was stored: it may be meant to be new.

    What nobody refers to, or goes on with, is found when it is older than `age`, in seconds.
    """

    repair: bool = False
    source: str = ""
    replace: bool = False
    data: Data | None = None
    ignored: Collection[Kind] = ()
    age: float = DAY
    told: Told = field(default_factory=Untold)


@dataclass(slots=True)
class Totals:
    """Objects and bytes that are there, what was found, and how much of it was repaired.

    `unchecked` is what refers to places that can't be looked at from here. Of the objects that were `read`
    (`read_bytes`), `unrecorded` had no digest to compare with, and of so many it was `recorded` then; a check
    that was interrupted had read so many `before`.
    """

    objects: int = 0
    bytes: int = 0
    found: int = 0
    repaired: int = 0
    unchecked: int = 0
    read: int = 0
    read_bytes: int = 0
    before: int = 0
    unrecorded: int = 0
    recorded: int = 0


Tell = Callable[[Finding], None]


class Report:
    """Repairs what is found, where that is asked for, tells it and counts."""

    def __init__(self, asked: Asked, tell: Tell, copies: Copies | None = None) -> None:
        self.asked, self.totals, self.copies = asked, Totals(), copies
        self._tell = tell

    async def add(self, finding: Finding) -> None:
        """Take in what was found."""
        if finding.kind in self.asked.ignored:
            return
        done = await self._repaired(finding)
        self.totals.found += 1
        self.totals.repaired += bool(done.done)
        self._tell(done)

    async def _repaired(self, finding: Finding) -> Finding:
        if not self.asked.repair or finding.fix is None:
            return finding
        try:
            return replace(finding, done=await finding.fix())
        except ShosoError as error:
            return replace(finding, remedy=f"It couldn't be repaired: {error.message}")
