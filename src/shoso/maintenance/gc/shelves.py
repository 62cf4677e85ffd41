"""The trash: the folder that things are moved to, and where they are found again, by whatever roots.

    <root>/.shoso-trash/<plan>/<key>     what was at <root>/<key>

`root` is that of the store which moved it, and is written down with the claim: another command, with other
settings, may see the same place from another root.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from shoso.client.places import Place
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.errors import Kind, TrackingError
from shoso.maintenance import recorded
from shoso.maintenance.estate import DESTINATION, PROXY, TRASH, Estate
from shoso.maintenance.plans import Item
from shoso.metadata.claims import Claim
from shoso.server.locations import PROXIED, PROXY_PATH, proxied


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of the trash, in a store where `root` is above it, and what is shelved there of one item."""

    place: Place
    folder: Key
    root: Key
    origin: Place

    def back(self, key: Key) -> Key:
        """The key that an object in the folder had before."""
        return keys.join(self.root, keys.below(key, self.folder))


def shelf(location: str, key: Key, plan: str) -> str:
    """The URI of the folder, for what is at a recorded location and has this key in its store."""
    return locations.below(_root(location, key), TRASH, plan)


async def shelved(estate: Estate, location: str, trash: str) -> Shelf:
    """Where in the trash that is what was at the location. Raises as `Estate.place`."""
    root, found, plan = trash.rpartition(f"{TRASH}/")
    if found and not root:  # written down before roots were: it is that of the store
        await estate.require_mounted(location)
        at, folder = await estate.place(location), Key(trash)
        return Shelf(Place(at.store, keys.join(folder, at.key)), folder, keys.ROOT, at)
    if not root:
        raise TrackingError(Kind.INVALID, f"'{locations.shown(trash)}' is no folder of the trash of gc.")
    await estate.require_mounted(root)
    top = await estate.place(recorded.with_login(root, location))
    key = _below(location, root)
    folder = keys.join(top.key, f"{TRASH}/{plan}")
    place, origin = Place(top.store, keys.join(folder, key)), Place(top.store, keys.join(top.key, key))
    return Shelf(place, folder, top.key, origin)


async def place_of(estate: Estate, item: Item) -> Place:
    """Where the artifacts of an item are: in the trash, if they were moved there."""
    location = await recorded.location(estate, item)
    if item.trash:
        return (await shelved(estate, location, item.trash)).place
    await estate.require_mounted(location)
    return await estate.place(location)


def missing(claim: Claim, found: int) -> str:
    """What to say where so few of its objects are found."""
    trash = claim.trash or ""
    where = (
        f"make sure that {DESTINATION}, or --tracking-uri, is what it was then"
        if trash.startswith(PROXY)
        else "make sure that the settings of that storage (its endpoint, its account) are what they were then"
    )
    lost = f"{(claim.objects or 0) - found:,} of its {claim.objects:,} objects"
    return (
        f"{lost} aren't in {locations.shown(trash)}, where gc moved them: {where}. If they were deleted"
        f" there, bring back the rest with: shoso gc undo {claim.plan} --missing-ok"
    )


def _root(location: str, key: Key) -> str:
    """What is above the key, as a URI that is read the same by everybody."""
    scheme = location.partition(":")[0]
    if scheme == "mlflow-artifacts":
        host = urlsplit(location).netloc
        return f"{scheme}://{host}/" if host else PROXY
    if scheme in PROXIED:
        return location[: location.index(PROXY_PATH) + len(PROXY_PATH)]
    found = locations.parse(location)
    folder = found.folder.removesuffix(key).rstrip("/")
    return f"/{folder}" if found.scheme == "file" else f"{found.scheme}://{found.authority}/{folder}"


def _below(location: str, root: str) -> Key:
    """The key of a location as seen from its root. Raises INVALID for what isn't below it."""
    if location.partition(":")[0] in PROXIED:
        return proxied(location)
    found, top = locations.parse(location), locations.parse(root or "/")
    if found not in top:
        raise TrackingError(Kind.INVALID, f"'{locations.shown(location)}' isn't below '{root}'.")
    return found.below(top)
