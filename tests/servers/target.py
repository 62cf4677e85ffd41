"""What a real server offers to the conformance suite; apart from it, so that either may import the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """An empty place on a real server: its URI, the settings that open it, and the rest as in Opened."""

    uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    put: Callable[[str, bytes], None] | None = None
    get: Callable[[str], bytes | None] | None = None
    refused: frozenset[str] = frozenset()
    all_parts: bool = False
    blind: bool = False


def around(folder: Path) -> tuple[Callable[[str, bytes], None], Callable[[str], bytes | None]]:
    """`put` and `get` of a store whose objects are the files of a folder."""

    def put(key: str, data: bytes) -> None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)

    def get(key: str) -> bytes | None:
        return (folder / key).read_bytes() if (folder / key).is_file() else None

    return put, get
