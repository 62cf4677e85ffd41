"""Files and folders for the commands."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def tree(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """The folder, with these files in it, which nobody is writing at the moment."""
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        os.utime(folder / path, (1_700_000_000, 1_700_000_000))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, the hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(root: Path, *names: str) -> None:
    """Flip a bit of the file below `root` whose path has all these names in it, as a disk does: unseen."""
    [path] = [path for path in root.rglob(names[-1]) if set(names) <= set(path.parts)]
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
