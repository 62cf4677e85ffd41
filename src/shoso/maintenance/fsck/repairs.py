"""What is missing or damaged, fetched from a copy of the storage."""

from __future__ import annotations

from dataclasses import dataclass

from shoso.client.places import Place
from shoso.core import keys, locations
from shoso.core.digest import mismatch
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError, store_error
from shoso.maintenance.estate import Root
from shoso.transfer import Policy, Selection, Unchanged, copy
from shoso.transfer.plan import version
from shoso.transfer.reading import read_digests


@dataclass(frozen=True, slots=True)
class Copies:
    """A copy of the storage, in which objects have the same keys."""

    place: Place
    uri: str

    async def fetch(self, root: Root, key: Key, expected: str, seen: ObjectMeta | None) -> str:
        """Bring an object back whose bytes have this digest there; what was done. Raises StoreError.

        It replaces what was `seen` to be wrong, or missing (None), and nothing that somebody wrote since.
        """
        there = keys.join(self.place.key, key)
        if await _digest(self.place.store, there) != expected:
            message = "The bytes of the copy aren't those that were stored, either."
            raise store_error(Kind.CORRUPT, message, key=there)
        over = {"": version(seen) if seen else ""}
        chosen = Policy(unchanged=Unchanged.SEND, over=over)
        if not (await copy(self.place.store, root.store, Selection(there, key), chosen)).copied:
            raise store_error(Kind.CHANGED, "Somebody wrote it just now, and it is left as it is.", key=key)
        if (actual := await _digest(root.plain, key)) != expected:
            raise mismatch(key, expected, actual)
        return f"It was fetched from {locations.shown(self.uri)}."


async def _digest(store: Store, key: Key) -> str:
    """Read the object. Raises NOT_FOUND, CORRUPT."""
    (read,) = await read_digests(store, [await store.stat(key)])
    if isinstance(read, StoreError):
        raise read
    return read.actual
