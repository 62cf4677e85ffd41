"""Room for a file, taken before its first byte comes: a full disk is known at once."""

from __future__ import annotations

import errno
import os
from functools import cache
from typing import Any

_NOT_HERE = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


def reserve(file: int, size: int) -> None:
    """Take `size` bytes of the disk for an open file. Raises ENOSPC, EDQUOT, EFBIG.

    Where the file system can't set bytes aside, its free ones are counted. It's the system call itself:
    `os.posix_fallocate` would write to every block there.
    """
    if size <= 0:
        return
    from ctypes import get_errno

    if (fallocate := _fallocate()) is not None:
        if fallocate(file, 0, 0, size) == 0:
            return
        if (number := get_errno()) not in _NOT_HERE:
            raise OSError(number, os.strerror(number))
    require_room(file, size)


def require_room(file: int, size: int) -> None:
    """Raise ENOSPC where the file system has fewer bytes than `size` left."""
    volume = os.fstatvfs(file)
    if size > volume.f_bavail * volume.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@cache
def _fallocate() -> Any:
    """fallocate(2); None where there is none (macOS)."""
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function
