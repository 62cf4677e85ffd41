"""What a folder is mounted from: whether another machine answers for it, and how far its locks reach."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctypes import CDLL

MOUNTS = Path("/proc/self/mountinfo")

_EMPTY_PATH, _FORCE_SYNC, _MTIME = 0x1000, 0x2000, 0x40  # linux/fcntl.h, linux/stat.h
_STATX_SIZE = 256

_TICKS = (0.0, 0.001, 0.002, 0.004, 0.008)
"""Seconds until a folder is touched again: more than the 10 ms between two times of a Linux server in all."""

_OCTAL = re.compile(r"\\([0-7]{3})")
"""A blank, and what else would end a field."""

_LOCAL_LOCKS = {"nolock", "local_lock=all", "local_lock=flock"}


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: its type and its options, as the kernel names them; both empty if unknown."""

    kind: str = ""
    options: frozenset[str] = frozenset()

    @property
    def remote(self) -> bool:
        """Whether a file server answers."""
        return self.kind in {"nfs", "nfs4"}

    @property
    def shared_locks(self) -> bool:
        """Whether a lock holds on every machine that mounts the same, not on this one only."""
        return not self.options & _LOCAL_LOCKS

    def settle(self, folder: int) -> None:
        """Make durable what names an open folder has, and have every machine see them from now on.

        A client of NFS 3 learns from a folder's time that it has changed. Two changes in one tick of the
        server's clock leave one time: who looked between them would not see the second until a third comes.
        """
        os.fsync(folder)
        if self.kind == "nfs":
            with suppress(OSError):
                _touch(folder)


def refresh(folder: int) -> None:
    """Have the kernel ask the file server about an open folder: what it remembers of it may be a minute old.

    When the folder has changed, the names in it, known and missing ones, are forgotten. Best effort.
    """
    from ctypes import create_string_buffer

    if (statx := getattr(_libc(), "statx", None)) is not None:
        statx(folder, b"", _EMPTY_PATH | _FORCE_SYNC, _MTIME, create_string_buffer(_STATX_SIZE))


def _touch(folder: int) -> None:
    """Have an open folder change in a tick of its own."""
    before = os.stat(folder).st_ctime_ns
    for pause in _TICKS:
        time.sleep(pause)
        os.utime(folder)
        if os.stat(folder).st_ctime_ns != before:
            return


@cache
def _libc() -> CDLL:
    from ctypes import CDLL

    return CDLL(None)


def mount_of(folder: int) -> Mount:
    """The mount that an open folder is on."""
    device = os.fstat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _lines():
        place, _, source = line.partition(" - ")
        if place.split(" ")[2] == number:
            kind, _, options = source.split(" ", 2)
            return Mount(kind, frozenset(options.split(",")))
    return Mount()


def on_device(path: str) -> str:
    """Where a path without links is on the device that is mounted there, by whichever mount: `8:1/srv/data`.

    The path itself where nobody says what is mounted.
    """
    found = ("", "", "")
    for line in _lines():
        mount, _, source = line.partition(" - ")
        _, _, device, root, point, *_ = mount.split(" ")
        top = _unescaped(point).rstrip("/")
        if f"{path}/".startswith(f"{top}/") and len(top) >= len(found[2]):  # of several the last covers all
            found = device, _unescaped(_exported(source) or root).strip("/"), top
    device, root, top = found
    return "/".join(filter(None, (device, root, path.removeprefix(top).strip("/"))))


def _lines() -> list[str]:
    """A line for each mount, proc_pid_mountinfo(5); none where there is no such file: no Linux."""
    try:
        return [line for line in os.fsdecode(MOUNTS.read_bytes()).split("\n") if line]
    except OSError:
        return []


def _exported(source: str) -> str:
    """The folder of an NFS server that is mounted; "" of others. Its mounts all say that their root is /."""
    kind, name, *_ = source.split(" ")
    return name[name.find(":/") + 1 :] if kind.startswith("nfs") else ""


def _unescaped(field: str) -> str:
    return _OCTAL.sub(lambda one: chr(int(one[1], 8)), field)
