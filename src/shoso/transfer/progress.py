"""Progress: told as a copy goes on; whoever wants a bar draws it elsewhere."""

from __future__ import annotations

from typing import Protocol

from shoso.core.keys import Key
from shoso.errors import StoreError


class Progress(Protocol):
    """Each planned object is skipped, finished or failed in the end, unless the copy is given up.

    Calls come from the loop of the copy and must not block. A key is the destination's, a size in bytes.
    """

    def planned(self, key: Key, size: int) -> None:
        """An object is to be there; there are more and more of them while a folder is listed."""
        ...

    def skipped(self, key: Key, size: int) -> None:
        """It is there already."""
        ...

    def moved(self, size: int) -> None:
        """So many bytes more have passed, of whichever object; fewer than none where one starts over."""
        ...

    def finished(self, key: Key, size: int) -> None:
        """It has arrived, whole and verified."""
        ...

    def failed(self, key: Key, error: StoreError) -> None:
        """It could not be copied."""
        ...


class Silent:
    """Tells nobody."""

    def planned(self, key: Key, size: int) -> None:
        """See Progress."""

    def skipped(self, key: Key, size: int) -> None:
        """See Progress."""

    def moved(self, size: int) -> None:
        """See Progress."""

    def finished(self, key: Key, size: int) -> None:
        """See Progress."""

    def failed(self, key: Key, error: StoreError) -> None:
        """See Progress."""


class Meter:
    """What has passed of an object or a part, told once, however often a retry reads it again."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._told = 0

    def at(self, position: int) -> None:
        """The bytes up to `position` have passed."""
        if position > self._told:
            self._progress.moved(position - self._told)
            self._told = position

    def undo(self) -> None:
        """All of it will pass once more."""
        if self._told:
            self._progress.moved(-self._told)
            self._told = 0
