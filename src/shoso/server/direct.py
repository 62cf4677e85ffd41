"""What clients may do around the proxy: parts and files by URLs that lead to the storage, or to this server.

They are offered only where `--direct-transfers` says so and every client can follow the URLs: to a provider's
public storage, or to the address of `--public-endpoint-url`. Where the storage signs nothing, parts come to
this server by URLs of its own, so that a part that is lost is one part.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

from shoso.core.store import Signer, Store
from shoso.core.types import SignedRequest, UploadRef
from shoso.errors import ConfigError
from shoso.server.locations import Locations
from shoso.settings import ServerSettings
from shoso.wire import objects

PART_SECONDS = 24 * 3600
"""For how long the URL of a part is good: a large file may take a day over a slow link."""


@dataclass(frozen=True, slots=True)
class Direct:
    """What may be offered: `public` is the clients' address of the first store, or of this server."""

    enabled: bool
    public: str
    first: Store | None

    def signer(self, store: Store) -> Signer | None:
        """The store's signer, if every client can follow its URLs."""
        known = not store.info.endpoint or (bool(self.public) and store is self.first)
        return store.signer if self.enabled and known else None

    def parts(self, store: Store) -> bool:
        """Whether objects of the store are taken in parts."""
        return self.signer(store) is not None or self._own(store)

    def _own(self, store: Store) -> bool:
        return self.enabled and bool(self.public) and store is self.first and store.signer is None

    async def part(self, store: Store, ref: UploadRef, number: int) -> SignedRequest:
        """Where a part is put."""
        if signer := self.signer(store):
            return await signer.part(ref, number, PART_SECONDS)
        place = f"uploads/{quote(ref.id, safe='')}/{number}?{urlencode({'key': ref.key})}"
        return SignedRequest("PUT", f"{self.public}{objects.ROOT}/{place}")


def open_direct(settings: ServerSettings, locations: Locations) -> Direct:
    """What the settings let clients do. Raises ConfigError where they would be sent nobody knows where."""
    first, public = locations.first, settings.public_endpoint_url
    if settings.direct_transfers and first is not None and not public:
        if first.signer is None:
            where = f"{first.info.name} signs no URLs, so parts come to this server"
        elif first.info.endpoint:
            where = f"clients would be sent to {first.info.endpoint}"
        else:
            return Direct(True, "", first)
        message = f"{where}; set --public-endpoint-url to the address by which clients reach it."
        raise ConfigError("--direct-transfers", message)
    return Direct(settings.direct_transfers, public, first)
