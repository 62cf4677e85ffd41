"""Progress: told as a copy goes on; whoever wants a bar draws it elsewhere."""

from __future__ import annotations

from typing import Protocol

from shoso.core.keys import Key


class Progress(Protocol):
    """Calls come from the loop of the copy and must not block; a key is the destination's."""

    def planned(self, key: Key, size: int) -> None:
        """An object is going to be copied; what is planned grows while the folder is listed."""
        ...

    def skipped(self, key: Key, size: int) -> None:
        """An object is there already."""
        ...

    def moved(self, size: int) -> None:
        """So many bytes more have passed; fewer than none where an object starts over."""
        ...

    def finished(self, key: Key, size: int) -> None:
        """An object is in the destination, whole and verified."""
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
