"""Names as HDFS takes them: it allows every character but a colon.

A colon is kept as U+A789, a letter that looks like one; that letter itself, and a quote in front of either,
get the quote U+201B in front, so that different names stay different.
"""

from __future__ import annotations

import re

_COLON = "\ua789"
_QUOTE = "\u201b"
_PLAIN = re.compile(f"[:{_COLON}]|{_QUOTE}(?=[:{_COLON}{_QUOTE}])")
_KEPT = re.compile(f"{_QUOTE}([{_COLON}{_QUOTE}])|{_COLON}")
_PATTERN = re.compile(r"[\\*?\[\]{}]")


def kept(name: str) -> str:
    """The name, or path, as HDFS keeps it."""
    return _PLAIN.sub(lambda match: _COLON if match[0] == ":" else _QUOTE + match[0], name)


def plain(name: str) -> str:
    """The name that HDFS keeps so."""
    return _KEPT.sub(lambda match: match[1] or ":", name)


def literal(path: str) -> str:
    """The path as a pattern that matches nothing else."""
    return _PATTERN.sub(r"\\\g<0>", path)
