"""Policies: which runs stay, as a TOML file says it; what it says wrongly is named, with what to write.

[[policy]]
experiments = "digits-*"
keep_best = {metric = "val_loss", n = 5, order = "min"}
keep_last = 10
keep_tags = ["keep", "stage=prod"]
keep_for = "90d"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from shoso.core.amounts import age
from shoso.errors import ConfigError

FOREVER = "forever"

Number = Annotated[int, Meta(ge=1, le=10**9)]
Text = Annotated[str, Meta(min_length=1)]


class Best(Struct, frozen=True, forbid_unknown_fields=True):
    """The `n` runs with the least (min) or the greatest (max) latest value of the metric."""

    metric: Text
    n: Number
    order: Literal["min", "max"]


class Policy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which runs stay of the experiments whose names match; a run stays that any of the rules keeps."""

    experiments: Text
    keep_best: Best | None = None
    keep_last: Number | None = None
    keep_registered: bool | None = None
    keep_tags: list[Text] = []
    keep_for: str | None = None

    @property
    def registered(self) -> bool:
        """Whether what registered versions are made from stays: unless it is said otherwise."""
        return self.keep_registered is not False

    def since(self, now: int) -> int:
        """What ended after that millisecond stays."""
        if self.keep_for is None:
            return now
        seconds = age(self.keep_for)
        return 0 if seconds is None else now - int(seconds * 1000)

    def tags(self) -> list[tuple[str, str | None]]:
        """Keys and values of the tags that keep a run; None is any value."""
        pairs = [tag.partition("=") for tag in self.keep_tags]
        return [(key, value if found else None) for key, found, value in pairs]


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    policy: Annotated[list[Policy], Meta(min_length=1)]


EXAMPLES = {
    "experiments": 'experiments = "digits-*"',
    "keep_best": 'keep_best = {metric = "val_loss", n = 5, order = "min"}',
    "keep_last": "keep_last = 10",
    "keep_registered": "keep_registered = false",
    "keep_tags": 'keep_tags = ["keep", "stage=prod"]',
    "keep_for": 'keep_for = "90d"',
}
"""Every key, as it is written."""


def load(path: Path) -> list[Policy]:
    """The policies of a file. Raises ConfigError, which names the key and what to write; OSError."""
    import tomllib

    try:
        given = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"is no TOML: {error}.") from None
    _check_keys(path, given)
    try:
        policies = msgspec.convert(given, _File).policy
    except msgspec.ValidationError as error:
        raise ConfigError(str(path), _explained(str(error))) from None
    for number, policy in enumerate(policies, 1):
        _check(path, number, policy)
    return policies


def matching(policies: Sequence[Policy], name: str) -> int | None:
    """Which policy is for the experiment of that name: the first that matches it."""
    found = (at for at, policy in enumerate(policies) if fnmatchcase(name, policy.experiments))
    return next(found, None)


def _check_keys(path: Path, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for keys that there aren't, and for a file without policies."""
    for key in given.keys() - {"policy"}:
        raise ConfigError(str(path), _unknown(key, "", ["policy"]))
    if not (policies := given.get("policy")):
        raise ConfigError(str(path), f"has no policy; write [[policy]], and below it {_written()}.")
    for number, policy in enumerate(policies if isinstance(policies, list) else [], 1):
        if isinstance(policy, dict):
            for key in policy.keys() - EXAMPLES.keys():
                raise ConfigError(str(path), _unknown(key, f" in policy {number}", [*EXAMPLES]))


def _unknown(key: str, where: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(key, known, 1)
    fix = f"write {close[0]}" if close else f"there are {', '.join(known)}"
    return f"has the key '{key}'{where}, which nobody knows; {fix}."


def _explained(message: str) -> str:
    """What msgspec says, by policy and key: "Expected `int`, got `str` - at `$.policy[0].keep_last`"."""
    what, _, where = message.partition(" - at ")
    found = re.match(r"`\$\.policy(?:\[(\d+)\](?:\.(\w+))?)?", where)
    if found is None or found[1] is None:
        return f"has no list of policies; write [[policy]], and below it {_written()}."
    key = found[2] or (named[1] if (named := re.search(r"field `(\w+)`", what)) else "")
    example = EXAMPLES.get(key)
    write = f"; write it like {example}" if example else f"; below [[policy]] stand {_written()}"
    detail = what.replace("`", "'").replace(" | null", "")
    return f"has a wrong value in policy {int(found[1]) + 1}, {key or 'policy'}: {detail}{write}."


def _check(path: Path, number: int, policy: Policy) -> None:
    if policy.keep_for not in {None, FOREVER} and age(policy.keep_for or "") is None:
        message = f"has a wrong value in policy {number}, keep_for: '{policy.keep_for}' is no time;"
        raise ConfigError(str(path), f"{message} write it like 90d, 1d12h or {FOREVER}.")
    if any(not key for key, _ in policy.tags()):
        message = f"has a wrong value in policy {number}, keep_tags: a tag without a key; write"
        raise ConfigError(str(path), f"{message} {EXAMPLES['keep_tags']}.")
    if policy == Policy(policy.experiments):
        rules = ", ".join(key for key in EXAMPLES if key != "experiments")
        message = f"says in policy {number} of '{policy.experiments}' nothing that stays; add one of {rules}."
        raise ConfigError(str(path), message)


def _written() -> str:
    return f"{EXAMPLES['experiments']} and {EXAMPLES['keep_last']}"
