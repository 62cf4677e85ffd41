"""What a real server offers to the conformance suite; apart from it, so that either may import the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """An empty place on a real server: its URI, the settings that open it, and the rest as in Opened."""

    uri: str
    environment: Mapping[str, str] = field(default_factory=dict)
    put: Callable[[str, bytes], None] | None = None
    get: Callable[[str], bytes | None] | None = None
    refused: frozenset[str] = frozenset()
    all_parts: bool = False
