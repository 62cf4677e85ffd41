"""Where artifacts are: locations as MLflow records them, a URI or a plain path."""

from __future__ import annotations

import re
from pathlib import Path

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_TAIL = re.compile(r"[?#]")
_RELATIVE_FILE = re.compile(r"file:([^/].*)")


def below(location: str, *segments: str) -> str:
    """The location of `segments` under `location`; a query string of it stays at the end."""
    cut = _TAIL.search(location) if _SCHEME.match(location) else None
    end = cut.start() if cut else len(location)
    head, tail = location[:end], location[end:]
    slash = "" if not head or head.endswith(("/", ":")) else "/"
    return head + slash + "/".join(segments) + tail


def absolute(location: str) -> str:
    """The location, with a relative path on this machine made absolute, as MLflow's server does."""
    if not _SCHEME.match(location):
        return location if location.startswith("/") else (Path.cwd() / location).as_posix()
    relative = _RELATIVE_FILE.fullmatch(location)
    return f"file://{(Path.cwd() / relative[1]).as_posix()}" if relative else location
