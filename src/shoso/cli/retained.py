"""What `--json` of `shoso retention` prints, and what that of `shoso gc` has in common with it."""

from __future__ import annotations

from msgspec import Struct


class Stayed(Struct, frozen=True):
    """What stays: `refused`, as others need it, it has changed, or a policy keeps it now; else it failed."""

    kind: str
    id: str
    refused: bool
    message: str


class Leaving(Struct, frozen=True):
    """A run, or a logged model of one, that no policy keeps; `bytes` of its `objects`, and why it goes."""

    kind: str
    id: str
    name: str
    experiment_id: str
    reason: str
    location: str
    objects: int
    bytes: int


class Staying(Struct, frozen=True):
    """What stays though it was looked at: `runs` of an experiment, by the rule of its policy, from 1."""

    experiment_id: str
    name: str
    policy: int
    runs: dict[str, int]


class Retaining(Struct, frozen=True):
    """What a plan of retention comes to: items that would go by kind, their objects and bytes.

    A preview names them in `going`, and has no `plan`. Of what is `kept` for another reason than a rule,
    `failed` could not be looked at.
    """

    plan: str | None
    items: dict[str, int]
    objects: int
    bytes: int
    kept: list[Stayed]
    failed: int
    stays: list[Staying]
    going: list[Leaving]


class Retired(Struct, frozen=True):
    """What a plan of retention marked deleted, or what was restored, by kind; what `stayed`, and why.

    `gone` counts what was deleted, or active, before. Of what stayed, the first thousand are in `problems`.
    """

    plan: str
    items: dict[str, int]
    objects: int
    bytes: int
    gone: int
    stayed: int
    problems: list[Stayed]
    seconds: float
