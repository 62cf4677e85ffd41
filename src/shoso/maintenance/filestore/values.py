"""Params, tags and metrics: a file for each, its key the path below the folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeVar

from shoso.maintenance.filestore.files import Problems, Unreadable, decoded, leaves, opened, text

T = TypeVar("T")

LINE_MAX = 4096
"""Bytes of a line of a metric's file."""

KEY_MAX = 250
"""Characters of a key, as in the database."""

Point = tuple[str, float, int, int]
"""Key, value, timestamp and step."""

_KEY = re.compile(r"[/\w.\- :]+")
_INT64 = range(-(2**63), 2**63)


def texts(folder: Path, problems: Problems) -> list[tuple[str, str]]:
    """Keys and values; what can't be read is a problem, and left out."""
    found = []
    for key, path in leaves(folder, problems):
        try:
            found.append((checked(key), text(path)))
        except Unreadable as error:
            problems.note(Path(path), error)
    return found


def lines(folder: Path, problems: Problems, read: Callable[[str, list[str]], T | None]) -> Iterator[T]:
    """What `read` makes of key and words of each line of each file; a line it refuses is a problem.

    Of several lines of a file that are wrong the first is told, with their number.
    """
    for key, path in leaves(folder, problems):
        try:
            checked(key)
            yield from _of_file(key, path, problems, read)
        except Unreadable as error:
            problems.note(Path(path), error)


def checked(key: str) -> str:
    """A key that a database and MLflow's clients take. Raises Unreadable."""
    if not _KEY.fullmatch(key):
        raise Unreadable("Its name can't be a key: it has a character that none may have.")
    if len(key) > KEY_MAX:
        raise Unreadable(f"Its name is a key of more than {KEY_MAX} characters.")
    return key


def point(key: str, words: list[str]) -> Point | None:
    """`timestamp value [step [dataset digest]]`; old versions knew no step. None if it is neither."""
    if len(words) not in {2, 3, 5}:
        return None
    return key, float(words[1]), whole(words[0]), whole(words[2]) if len(words) > 2 else 0


def _of_file(
    key: str, path: str, problems: Problems, read: Callable[[str, list[str]], T | None]
) -> Iterator[T]:
    number = wrong = first = 0
    with opened(path) as file:
        for number, line in enumerate(_whole_lines(file), 1):
            if (found := _parsed(key, line, read)) is not None:
                yield found
            else:
                wrong, first = wrong + 1, first or number
    if wrong:
        problems.note(
            Path(path), f"Line {first} is no point of a metric ({wrong} of {number} lines are not)."
        )
    if not number:
        problems.note(Path(path), "It has no points.")


def _whole_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, or breaks off at the end of the file, nothing is left."""
    while line := file.readline(LINE_MAX):
        if line.endswith(b"\n"):
            yield line
            continue
        yield b""
        while line and not line.endswith(b"\n"):
            line = file.readline(LINE_MAX)


def _parsed(key: str, line: bytes, read: Callable[[str, list[str]], T | None]) -> T | None:
    try:
        return read(key, decoded(line).strip().split(" "))
    except (ValueError, Unreadable):
        return None


def whole(word: str) -> int:
    """A number of 64 bits. Raises ValueError."""
    number = int(word)
    if number not in _INT64:
        raise ValueError(word)
    return number
