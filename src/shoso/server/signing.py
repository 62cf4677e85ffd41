"""Requests that Shoso's own client sends straight to the storage; see `stores.remote.direct`."""

from __future__ import annotations

from shoso.core import keys
from shoso.core.types import UploadRef
from shoso.errors import Kind, TrackingError
from shoso.server.objects import object_entry
from shoso.server.routes import OWN, Area, Route, call
from shoso.server.services import Services
from shoso.wire import objects

SECONDS = 3600
"""For how long a part's request is good: the client asks for each when its turn comes."""


def routes() -> list[Route]:
    """The call that signs."""
    return call(
        "POST", "/sign", sign, objects.SignObject, objects.SignedObject, roots=OWN, area=Area.ARTIFACTS
    )


async def sign(services: Services, request: objects.SignObject) -> objects.SignedObject:
    """Sign a request that the client sends to the storage itself."""
    store, key = services.locations.destination, keys.parse(request.key)
    signer = services.direct.signer(store)
    if signer is None:
        message = (
            "No requests are signed here: everything goes through the server. Start it with"
            " --direct-transfers and a storage that signs URLs."
        )
        raise TrackingError(Kind.UNSUPPORTED, message)
    if request.id:
        _require_number(request.number, store.capabilities.parts_max)
        signed = await signer.part(UploadRef(key, request.id), request.number, SECONDS)
        return objects.SignedObject(signed.method, signed.url, dict(signed.headers))
    meta = await store.stat(key)
    signed = await signer.read(key, services.settings.presigned_download_seconds)
    return objects.SignedObject(signed.method, signed.url, dict(signed.headers), object_entry(meta))


def _require_number(number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise TrackingError(Kind.INVALID, f"Part {number} is not between 1 and {most}.")
