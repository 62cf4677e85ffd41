"""Plans: what would be deleted, a line of JSON each, to be looked at before it is applied.

    {"type": "plan", …}    first: what was asked for, when, of which database
    {"type": "retention", …} the same of a plan of `shoso retention`, with its policies
    {"type": "item", …}    what goes: how many objects, bytes, where, why
    {"type": "kept", …}    what doesn't go though it was asked for, and why
    {"type": "total", …}   last: sums

A plan appears whole or not at all. Whoever takes lines of items out of it has the rest applied; lines that
are added are refused, unless they are of what is deleted and has these very artifacts.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import force_setattr

from shoso.core.locations import shown, without_password
from shoso.errors import ConfigError
from shoso.maintenance.retention.policies import Policy
from shoso.metadata.holdings import Kind

VERSION = 1

P = TypeVar("P", "Plan", "Retention")

ORPHAN, UPLOAD = "orphan", "upload"
"""Kinds of items without a row."""

_IDS = {Kind.RUN: ".+", Kind.MODEL: ".+", Kind.EXPERIMENT: "[0-9]{1,18}", ORPHAN: ".+", UPLOAD: ".+"}
"""Kinds of items, and how the ids of such look."""


def new_id() -> str:
    """The id of a new plan."""
    return secrets.token_hex(6)


class Plan(Struct, frozen=True, tag="plan"):
    """The first line. `id` names the plan, `made` is in milliseconds, `database` is as it may be shown."""

    id: str
    made: int
    database: str
    asked: dict[str, str]
    version: int = VERSION

    def names(self, item: Item) -> bool:
        """Whether the item, or the experiment that it is in, was asked for by its id."""
        ids = {Kind.RUN: "run-ids", Kind.MODEL: "logged-model-ids"}
        return item.id in self._ids(ids.get(Kind(item.kind), "")) or item.experiment_id in self._ids(
            "experiment-ids"
        )

    def _ids(self, option: str) -> list[str]:
        return self.asked.get(option, "").split(",") if option in self.asked else []


class Item(Struct, frozen=True, tag="item", omit_defaults=True):
    """What goes: a run, a model, an experiment, an orphan or an upload, with everything at `location`.

    `since` is when it was deleted, in milliseconds; `newest` when its last object was written, in seconds.
    `contents` stands for all its objects and their versions. `trash` is the folder that they were moved to.
    """

    kind: str
    id: str
    reason: str
    location: str
    name: str = ""
    experiment_id: str = ""
    since: int | None = None
    objects: int = 0
    bytes: int = 0
    newest: float = 0.0
    contents: str = ""
    trash: str = ""

    def __post_init__(self) -> None:
        """Refuse what there is no such thing of, and keep no password, wherever MLflow's row has one.

        Raises ValueError, which is a line's that can't be read.
        """
        force_setattr(self, "location", without_password(self.location))
        if self.kind not in _IDS or not re.fullmatch(_IDS[self.kind], self.id):
            raise ValueError(f"There is no {self.kind} {self.id}.")


class Kept(Struct, frozen=True, tag="kept", omit_defaults=True):
    """What stays, and why; `failed` where it could not be looked at."""

    kind: str
    id: str
    reason: str
    name: str = ""
    experiment_id: str = ""
    failed: bool = False


class Total(Struct, frozen=True, tag="total"):
    """How much goes, and how many items of each kind; how many stay, and how many of these had failed."""

    items: dict[str, int]
    objects: int
    bytes: int
    kept: int
    failed: int


class Retention(Struct, frozen=True, tag="retention"):
    """The first line of a plan of `shoso retention`: the same, and the policies that it was made by."""

    id: str
    made: int
    database: str
    policy: list[Policy]
    version: int = VERSION


class Stays(Struct, frozen=True, tag="stays"):
    """How many runs of an experiment stay, by the rule of the policy (the first is 1) that keeps them."""

    experiment_id: str
    name: str
    policy: int
    runs: dict[str, int]


def require(plan: Plan | Retention, database: str) -> None:
    """Raise ConfigError unless the plan is of that database: what nobody refers to there is needed here."""
    if shown(database) != plan.database:
        message = f"'{shown(database)}' isn't the database of the plan; write it as then: {plan.database}"
        raise ConfigError("--backend-store-uri", message)


Line = Plan | Retention | Item | Kept | Stays | Total

_DECODER = msgspec.json.Decoder(Line)
_ENCODER = msgspec.json.Encoder()


class Draft:
    """A plan as it is written; it has its name only once it is whole."""

    def __init__(self, path: Path, plan: Plan | Retention) -> None:
        self._path = path
        self._file: IO[bytes] = tempfile.NamedTemporaryFile(  # noqa: SIM115 - closed by whoever opened it
            dir=path.parent, prefix=f".{path.name}.", delete=False
        )
        self._items: dict[str, int] = {}
        self._objects = self._bytes = self._kept = self._failed = 0
        self._put(plan)

    def add(self, line: Item | Kept | Stays) -> None:
        """Write a line."""
        if isinstance(line, Item):
            self._items[line.kind] = self._items.get(line.kind, 0) + 1
            self._objects += line.objects
            self._bytes += line.bytes
        elif isinstance(line, Kept):
            self._kept += 1
            self._failed += line.failed
        self._put(line)

    def finish(self) -> Total:
        """Give the plan its name, durably; what it comes to."""
        total = Total(self._items, self._objects, self._bytes, self._kept, self._failed)
        self._put(total)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        Path(self._file.name).replace(self._path)
        return total

    def discard(self) -> None:
        """Leave nothing behind of a plan that isn't whole."""
        with suppress(OSError):  # a full disk takes the rest no better now
            self._file.close()
        with suppress(FileNotFoundError):
            Path(self._file.name).unlink()

    def _put(self, line: Line) -> None:
        self._file.write(_ENCODER.encode(line) + b"\n")


def read(path: Path) -> tuple[Plan, Iterator[Item]]:
    """The plan and what goes by it, line by line. Raises ConfigError for what is no plan."""
    return _read(path, Plan)


def read_retention(path: Path) -> tuple[Retention, Iterator[Item]]:
    """The same of a plan of `shoso retention`."""
    return _read(path, Retention)


_MAKERS: dict[type, str] = {Plan: "gc", Retention: "retention"}
"""The commands that make plans, and apply them."""


def _read(path: Path, kind: type[P]) -> tuple[P, Iterator[Item]]:
    found, maker = lines(path), _MAKERS[kind]
    first = next(found, None)
    if not isinstance(first, kind):
        other = _MAKERS.get(type(first))
        fix = f"apply it with: shoso {other} apply" if other else f"make one with: shoso {maker} plan"
        lacks = " by its first line, which must stay in it" if isinstance(first, Item | Kept | Total) else ""
        raise ConfigError(str(path), f"is no plan of {maker}{lacks}; {fix}.")
    if first.version != VERSION:
        message = f"is a plan of another version of Shoso ({first.version}); make it again with:"
        raise ConfigError(str(path), f"{message} shoso {maker} plan.")
    return first, (line for line in found if isinstance(line, Item))


def lines(path: Path) -> Iterator[Line]:
    """Every line. Raises ConfigError for what is no line of a plan."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise ConfigError(str(path), f"line {number} is no line of a plan.") from None
