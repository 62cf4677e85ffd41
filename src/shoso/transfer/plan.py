"""The plan: what is unchanged, what travels together, what travels in parts. Pure.

Jobs come out as objects go in, so that a folder of any length is copied in the same memory.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace

from shoso.core.keys import Key
from shoso.core.types import Capabilities, ObjectMeta, UploadStyle
from shoso.transfer.journal import Done
from shoso.transfer.policy import MIB, Policy

SMALL = 256 * 1024
"""Objects of at most so many bytes travel in batches."""

BATCH_SIZE = 4 * MIB
BATCH_COUNT = 512


@dataclass(frozen=True, slots=True)
class Item:
    """An object to copy: what is known of it, where it goes, its name in the journal.

    `there` is what the destination has, if it's of the same size: with the same digest, nothing is sent.
    `over` is the version that is there, of whatever size; "" where there was none.
    """

    path: str
    meta: ObjectMeta
    to: Key
    there: ObjectMeta | None = None
    over: str = ""

    @property
    def same(self) -> bool:
        """Whether both digests are known, and one."""
        return self.there is not None and None is not self.meta.digest == self.there.digest


class Way(enum.Enum):
    """How objects travel: many in one call, one in one stream, one in parts."""

    BATCH = enum.auto()
    STREAM = enum.auto()
    PARTS = enum.auto()


@dataclass(frozen=True, slots=True)
class Job:
    """Objects that travel together; only a batch has several."""

    way: Way
    items: tuple[Item, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(item.meta.size for item in self.items)


def unchanged(meta: ObjectMeta, there: ObjectMeta | None, done: Done | None) -> bool:
    """Whether the destination is known to have these bytes, with nothing read."""
    if there is None or there.size != meta.size:
        return False
    if meta.digest is not None and there.digest is not None:
        return meta.digest == there.digest
    return done is not None and is_version(done.source, meta) and is_version(done.target, there)


def candidate(meta: ObjectMeta, there: ObjectMeta | None, done: Done | None) -> ObjectMeta | None:
    """What the destination has of the object's size, with the digest that the journal knows of it."""
    if there is None or there.size != meta.size:
        return None
    if there.digest is None and done is not None and is_version(done.target, there):
        return replace(there, digest=done.digest)
    return there


class Planner:
    """Objects in, jobs out. What may be written over one version alone goes in one stream."""

    def __init__(self, policy: Policy, src: Capabilities, dst: Capabilities) -> None:
        alone = policy.over is not None
        in_parts = src.ranges and dst.uploads is UploadStyle.PARTS and not alone
        self._parts = range(policy.parts_from, dst.part_max * dst.parts_max + 1) if in_parts else range(0)
        self._small = -1 if alone else min(SMALL, policy.parts_from - 1)
        self._items: list[Item] = []
        self._size = 0

    def add(self, item: Item) -> Iterator[Job]:
        """The jobs that one more object completes."""
        size = item.meta.size
        if size > self._small:
            in_parts = size in self._parts and version(item.meta)  # else they might be of several versions
            yield Job(Way.PARTS if in_parts else Way.STREAM, (item,))
            return
        if self._size + size > BATCH_SIZE:
            yield from self.rest()
        self._items.append(item)
        self._size += size
        if len(self._items) == BATCH_COUNT:
            yield from self.rest()

    def rest(self) -> Iterator[Job]:
        """The batch that was begun."""
        if self._items:
            yield Job(Way.BATCH, tuple(self._items))
            self._items, self._size = [], 0


def part_size(wanted: int, size: int, limits: Capabilities) -> int:
    """Bytes of each part but the last of an object of `size`: as wanted, within what the store takes.

    Where it needs larger ones than wanted, they are a multiple of 1 MiB.
    """
    needed = max(-(-size // limits.parts_max), limits.part_min, 1)
    fitting = wanted if wanted >= needed else -(-needed // MIB) * MIB
    return min(fitting, limits.part_max)


def spans(size: int, part: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, stop) of each part, from 1 on."""
    for number, start in enumerate(range(0, size, part), 1):
        yield number, start, min(start + part, size)


def version(meta: ObjectMeta) -> str:
    """Another for other bytes: the etag, or time and size where a store has none.

    "" where it has no times either, as MLflow's listings: nothing tells such an object from another one.
    """
    return meta.etag or (f"{meta.modified!r}-{meta.size}" if meta.modified else "")


def is_version(noted: str, meta: ObjectMeta) -> bool:
    """Whether the object is of the version that was noted, as far as there is one."""
    return noted != "" and noted == version(meta)
