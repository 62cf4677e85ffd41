"""The folder of journals: one file for a source and a destination, written by one copy at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from shoso.core.digest import digest
from shoso.core.store import Store
from shoso.transfer.journal import Journal
from shoso.transfer.selection import Selection

OLD = 30 * 86400.0
"""Seconds after which a journal that nobody has used is removed."""

_log = logging.getLogger("shoso.transfer")


def open_journal(folder: Path | None, src: Store, dst: Store, selection: Selection) -> Journal:
    """The journal of this copy; one that keeps nothing where there is no folder, or it can't be written.

    So does a second copy of the same at the same time. The caller closes it.
    """
    if folder is None:
        return Journal()
    path = folder / _name(src, dst, selection)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder)
        return _opened(path)
    except BlockingIOError:
        _log.info("Another copy of the same is under way; this one can't be gone on with if it breaks off.")
    except OSError as error:
        why = error.strerror
        _log.warning("No journal in %s (%s): a copy that breaks off will begin again.", folder, why)
    return Journal()


def _name(src: Store, dst: Store, selection: Selection) -> str:
    ends = (src.info.name, selection.key, dst.info.name, selection.to)
    return digest("\0".join(ends).encode())[:32] + ".jsonl"


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
