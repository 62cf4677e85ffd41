"""What to copy: an object or a folder, by globs."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shoso.core.keys import ROOT, Key

_TOKEN = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|.", re.DOTALL)
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True, slots=True)
class Selection:
    """The object or folder `key` of the source, which becomes `to` in the destination.

    An object that would become the root keeps its name. Of a folder, `include` takes what matches one of its
    globs (none: everything) and `exclude` leaves out what matches one, by the path below `key`. `*` and `?`
    stay within a segment, `**` doesn't; a glob without a slash is compared with every segment, one with a
    slash from the start of the path; what matches a folder matches everything in it.
    """

    key: Key = ROOT
    to: Key = ROOT
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def filter(self) -> Filter:
        """The globs, made ready."""
        return Filter(self.include, self.exclude)


class Filter:
    """Says of a path whether it's selected."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _compiled(include)
        self._exclude = _compiled(exclude)

    def __call__(self, path: str) -> bool:
        """Whether `path` is to be copied."""
        if self._include is not None and not self._include.fullmatch(path):
            return False
        return self._exclude is None or not self._exclude.fullmatch(path)


def _compiled(globs: Sequence[str]) -> re.Pattern[str] | None:
    """One pattern that matches what any of them does; None where there are none."""
    if not globs:
        return None
    return re.compile("|".join(f"(?:{_translated(glob)})" for glob in globs), re.DOTALL)


def _translated(glob: str) -> str:
    body = glob.rstrip("/")
    anchored = "/" in body
    pattern = "".join(map(_token, _TOKEN.findall(body.lstrip("/"))))
    return f"{'' if anchored else '(?:.*/)?'}{pattern}(?:/.*)?"


def _token(token: str) -> str:
    if token in _WILD:
        return _WILD[token]
    if len(token) > 1:
        return "(?!/)" + fnmatch.translate(token)[4:-3]  # a class, as fnmatch reads it: (?s:…)\Z
    return re.escape(token)
