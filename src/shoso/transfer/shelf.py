"""The folder of journals: a file for a source and a destination, written by one copy at a time.

Copies of the same at the same time have further files; what of these a copy leaves behind that is killed, the
next one clears away.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from shoso.core.digest import digest
from shoso.core.store import Store
from shoso.transfer.journal import Journal
from shoso.transfer.selection import Selection

OLD = 30 * 86400.0
"""Seconds after which a journal that nobody has used is removed."""

COPIES = 8
"""Copies of the same at the same time that have a journal each."""

_log = logging.getLogger("shoso.transfer")


def open_journal(folder: Path | None, src: Store, dst: Store, selection: Selection) -> Journal:
    """The journal of this copy; one that keeps nothing where there is no folder, or it can't be written.

    So does that of too many copies of the same at the same time. The caller closes it.
    """
    if folder is None:
        return Journal()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder)
        for path in _places(folder, src, dst, selection):
            with suppress(BlockingIOError):
                return _opened(path)
        _log.info("Other copies of the same are under way; this one can't be gone on with if it breaks off.")
    except OSError as error:
        why = error.strerror
        _log.warning("No journal in %s (%s): a copy that breaks off will begin again.", folder, why)
    return Journal()


def left_behind(folder: Path | None, src: Store, dst: Store, selection: Selection) -> Iterator[Journal]:
    """The journals of copies of the same that have ended; the caller ends what is under way in them."""
    if folder is None:
        return
    first, *more = _places(folder, src, dst, selection)
    for path in (first, *more):
        with suppress(OSError), closing(_opened(path) if path.is_file() else Journal()) as journal:
            if journal.kept:
                yield journal
                if path in more and not journal.uploads and not journal.begun:
                    path.unlink()


def _places(folder: Path, src: Store, dst: Store, selection: Selection) -> list[Path]:
    """The file of this copy, then those of others of the same at the same time."""
    ends = (src.info.name, selection.key, dst.info.name, selection.to)
    name = digest("\0".join(ends).encode())[:32]
    return [folder / f"{name}{'' if at == 1 else f'-{at}'}.jsonl" for at in range(1, COPIES + 1)]


def _opened(path: Path) -> Journal:
    """The journal, locked and without much that is outdated. Raises BlockingIOError where it is in use."""
    journal = Journal(_locked(path))
    os.utime(path)
    if journal.wasteful:
        with suppress(OSError):
            journal = _rewritten(path, journal)
    return journal


def _locked(path: Path) -> int:
    """The file, open and locked, under its name still. Raises BlockingIOError, OSError."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _require_name(file, path)
    except BaseException:
        os.close(file)
        raise
    return file


def _require_name(file: int, path: Path) -> None:
    """Raise BlockingIOError where the name is another file's by now."""
    if os.fstat(file).st_ino != path.stat().st_ino:
        raise BlockingIOError


def _rewritten(path: Path, journal: Journal) -> Journal:
    """The same in a new file, which is locked before it has the name. Raises OSError."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    file = _locked(draft)
    try:
        with os.fdopen(os.dup(file), "wb") as out:
            out.writelines(journal.live())
        draft.replace(path)
    except BaseException:
        os.close(file)
        raise
    journal.close()
    return Journal(file)


def _sweep(folder: Path) -> None:
    """Remove the journals that nobody has used for long."""
    for path in (*folder.glob("*.jsonl"), *folder.glob("*.new")):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - OLD:
                file = _locked(path)
                path.unlink()
                os.close(file)
