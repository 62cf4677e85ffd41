"""remote: a Shoso server as a store, over its own calls (`shoso.wire.objects`).

A write carries its digest behind the bytes, so that the server compares before the object appears; a read
brings the digest along, for the check layer to compare. Time-outs are of silence, not of the transfer.
"""

from __future__ import annotations

from collections.abc import Mapping

from shoso.core.store import Store
from shoso.http.options import STORE_SETTINGS, http_options, silence

SETTINGS = STORE_SETTINGS


def open_store(uri: str, environment: Mapping[str, str]) -> Store:
    """The destination of the server at a http(s) URI. Raises ConfigError."""
    from shoso.stores.remote.store import RemoteOptions, RemoteStore

    http = http_options(environment)
    return RemoteStore(RemoteOptions(uri, silence=silence(environment), http=http))
