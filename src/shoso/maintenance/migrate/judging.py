"""Which of two places has what was written last, by what is known of the time when both had the same."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from shoso.client.places import Place
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError
from shoso.maintenance.migrate.book import is_still
from shoso.transfer import Settled
from shoso.transfer.comparison import digest_of


class Verdict(enum.Enum):
    """SAME; DUE at the other place, which lacks it, or has it as it was; or there is something LATER there.

    UNSURE where both were written since, or nothing is known of them: nobody can tell which one is meant.
    """

    SAME = enum.auto()
    DUE = enum.auto()
    LATER = enum.auto()
    UNSURE = enum.auto()


async def judge(here: Place, there: Place, group: Sequence[Settled]) -> list[Verdict]:
    """What each of these is. Objects are read where their versions say too little. Raises StoreError."""
    return [await _judge(here, there, one) for one in group]


async def _judge(here: Place, there: Place, one: Settled) -> Verdict:
    if one.same:
        return Verdict.SAME
    if one.there is None:
        return Verdict.DUE
    if (done := one.done) is None:
        return Verdict.UNSURE
    ours = is_still(one.meta, done.source, done.digest)
    theirs = is_still(one.there, done.target, done.digest)
    if ours and theirs:  # and yet they aren't the same: one of them is damaged
        return Verdict.UNSURE
    if ours != theirs and done.source and done.target:
        return Verdict.LATER if ours else Verdict.DUE
    if ours or await _has(here, one.meta, done.digest):
        return Verdict.LATER
    return Verdict.DUE if theirs or await _has(there, one.there, done.digest) else Verdict.UNSURE


async def _has(place: Place, meta: ObjectMeta, digest: str | None) -> bool:
    """Whether the object has these bytes, read from end to end."""
    if digest is None:
        return False
    try:
        return meta.digest == digest if meta.digest else await digest_of(place.store, meta) == digest
    except StoreError as error:
        if error.kind in {Kind.NOT_FOUND, Kind.CHANGED}:  # somebody is at it now
            return False
        raise
