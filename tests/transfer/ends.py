"""Two ends of a copy, and what is in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import Store, StoreInfo, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import OVERWRITE, Capabilities, Digests, ObjectMeta
from shoso.layers import Policy as Patience
from shoso.layers import standard
from shoso.layers.layer import Layer
from shoso.layers.retry import RetryPolicy
from shoso.stores.folder import open_folder
from shoso.stores.local import LocalOptions, LocalStore
from shoso.stores.memory import MemoryStore
from shoso.transfer import Policy

KIB = 1024
HURRIED = Patience(RetryPolicy(attempts=3, first=0.001))
SMALL_PARTS = Policy(part_size=64 * KIB, parts_from=200 * KIB)
"""A policy under which objects of a few hundred KiB go every way there is."""


def memory(store: MemoryStore | None = None) -> Store:
    """A store in memory, as the engine uses it."""
    return standard(store or MemoryStore(), HURRIED)


class Undigested(MemoryStore):
    """A store that keeps no digests, so that only versions tell what is unchanged.

    `scheme` is "memory" where it is cheap to read and anybody may change it, else another. It takes no
    batches, so that each object has calls of its own.
    """

    batches = None

    def __init__(self, scheme: str = "memory", **capabilities) -> None:
        super().__init__()
        self.info = StoreInfo(scheme, self.info.name)
        self.capabilities = Capabilities(digests=Digests.NONE, **capabilities)

    async def write(self, key, source, mode=OVERWRITE, content_type=None) -> ObjectMeta:
        meta = await super().write(key, source, mode, content_type)
        return self._kept(replace(meta, digest=None))

    def age(self, seconds: float) -> None:
        """Make every object older."""
        for meta, _ in [*self.objects.values()]:
            self._kept(replace(meta, modified=meta.modified - seconds))

    def _kept(self, meta: ObjectMeta) -> ObjectMeta:
        self.objects[meta.key] = (meta, self.objects[meta.key][1])
        return meta


def local(path: Path) -> Store:
    """A store on disk, as the engine uses it."""
    return standard(LocalStore(LocalOptions(path)), HURRIED)


def folder(path: Path) -> Store:
    """A folder of the user's, as the engine uses it."""
    return standard(open_folder(path), HURRIED)


class OneByOne(Layer):
    """A layer through which no batch passes."""

    batches = None


def some_bytes(size: int, seed: int = 0) -> bytes:
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size)


def some_tree(*sizes: int) -> dict[str, bytes]:
    """Objects of these sizes, in folders."""
    return {
        f"f{number % 3}/g{number % 2}/{number:03}": some_bytes(size, number)
        for number, size in enumerate(sizes)
    }


EVERY_WAY = some_tree(0, 1, 1000, 100 * KIB, 199 * KIB, 200 * KIB, 256 * KIB, 256 * KIB + 1, 500 * KIB, 7)
"""Small, medium and large under SMALL_PARTS, an empty one among them."""


async def fill(store: Store, tree: Mapping[str, bytes]) -> None:
    """Put these objects into the store."""
    for key, data in tree.items():
        await store.write(Key(key), BytesSource(data))


async def listed(store: Store, folder: str = "") -> list[ObjectMeta]:
    """Every object below a folder."""
    return [entry async for entry in store.list(Key(folder), deep=True)]


async def content(store: Store, folder: str = "") -> dict[str, str]:
    """The digest of every object below a folder, by path."""
    cut = len(folder) + 1 if folder else 0
    return {meta.key[cut:]: digest(await read_bytes(store, meta.key)) for meta in await listed(store, folder)}


def digests(tree: Mapping[str, bytes]) -> dict[str, str]:
    """What `content` says of a store with this tree."""
    return {path: digest(data) for path, data in tree.items()}


async def pending(store: Store) -> list[Key]:
    """The uploads under way."""
    return [ref.key async for ref in store.uploads.pending(ROOT)]


async def close(*stores: Store) -> None:
    """Close them all."""
    for store in stores:
        await store.close()
