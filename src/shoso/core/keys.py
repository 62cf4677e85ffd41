"""Key: the validated name of an object, and the only place where names are parsed, joined and refused.

What lives under a root, as MLflow lays it out (Shoso adds only `.shoso`, which no key can reach, and gc's
`.shoso-trash`):

    <experiment_id>/<run_id>/artifacts/<path>            what a run logged
    <experiment_id>/models/<model_id>/artifacts/<path>   a logged model
    .shoso/                                              drafts, and uploads under way
"""

from __future__ import annotations

import re
from typing import NewType
from urllib.parse import unquote

from shoso.errors import Kind, StoreError, store_error

Key = NewType("Key", str)
"""Segments joined by "/"; "" is the root; no empty, "." or ".." segment; at most 1024 bytes of UTF-8."""

ROOT = Key("")
MAX_BYTES = 1024

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ABSOLUTE = re.compile(r"[/\\]|.:", re.DOTALL)
"""How a path starts that leaves whatever it's joined to; `C:x` does so on Windows, which takes any letter."""

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.=-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.=-]*)*")
"""What nearly every key is: nothing in it could be refused, but for its length."""

_DECODING_ROUNDS = 10


def parse(text: str) -> Key:
    """The key that `text` names; raises StoreError(INVALID_KEY) with the reason.

    Percent signs are literal: whoever reads a URL decodes it once, before. A name that *would* climb if
    somebody decoded it again is refused all the same, and so is one that climbs for Windows.
    """
    if not text:
        return ROOT
    if is_plain(text):
        return Key(text)
    if _CONTROL.search(text):
        raise _refusal(text, "it contains a control character")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _refusal(text, "it isn't valid Unicode") from None
    if size > MAX_BYTES:
        raise _refusal(text, f"it has {size} bytes, and {MAX_BYTES} are the most")
    if _ABSOLUTE.match(text):
        raise _refusal(text, "it is an absolute path (on Windows, one letter and a colon are a drive)")
    _refuse_segments(text, text.split("/"))
    if "%" in text or "\\" in text:
        _refuse_climbing(text)
    return Key(text)


def is_plain(text: str) -> bool:
    """Whether it is a key as nearly all are, seen at one look: no segment begins with a dot, say."""
    return len(text) <= MAX_BYTES and _PLAIN.fullmatch(text) is not None


def join(parent: Key, name: str) -> Key:
    """The key of `name` (a relative key) below `parent`; raises StoreError(INVALID_KEY)."""
    return parse(f"{parent}/{name}" if parent and name else parent or name)


def below(key: Key, prefix: Key) -> str:
    """`key` as seen from `prefix`, which it must lie below or equal."""
    return key[len(prefix) + 1 :] if prefix else key


def contains(prefix: Key, key: str) -> bool:
    """Whether `key` is `prefix` or lies below it, by whole segments."""
    return not prefix or key == prefix or key.startswith(prefix + "/")


def parent(key: Key) -> Key:
    """The key one segment up; the root's is the root."""
    return Key(key.rpartition("/")[0])


def name(key: Key) -> str:
    """The last segment."""
    return key.rpartition("/")[2]


def _refuse_segments(text: str, segments: list[str]) -> None:
    for segment in segments:
        if segment in {"", ".", ".."}:
            what = f"a {segment!r} segment" if segment else "an empty segment"
            raise _refusal(text, f"it has {what}")


def _refuse_climbing(text: str) -> None:
    decoded = text
    for _ in range(_DECODING_ROUNDS):
        if _ABSOLUTE.match(decoded) or any(part in {".", ".."} for part in re.split(r"[/\\]", decoded)):
            raise _refusal(text, "it leads out of its folder when it's decoded")
        if (again := unquote(decoded)) == decoded:
            return
        decoded = again
    raise _refusal(text, "it is encoded too many times over")


def _refusal(text: str, why: str) -> StoreError:
    shown = text if len(text) <= 100 else text[:100] + "…"
    return store_error(Kind.INVALID_KEY, f"Invalid path {shown!r}: {why}.", key=shown)
