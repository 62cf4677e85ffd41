"""Outcomes of works on many items: what was asked for, or why not, one for each item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from shoso.errors import ShosoError, TrackingError

T = TypeVar("T")
P = ParamSpec("P")


def attempt(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | TrackingError:
    """What `work` gives, or its refusal."""
    try:
        return work(*args, **kwargs)
    except TrackingError as error:
        return error


def only(outcomes: Sequence[T | ShosoError]) -> T:
    """The one outcome, or raised if it's a refusal."""
    [outcome] = outcomes
    if isinstance(outcome, ShosoError):
        raise outcome
    return outcome
