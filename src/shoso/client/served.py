"""The artifacts behind servers: a Shoso server's by its own calls, any other's as MLflow's clients do.

The credentials of the tracking server are for it alone. Another host sees them only where
SHOSO_CREDENTIAL_HOSTS names it; whoever can write an artifact location could else collect them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from yarl import URL

from shoso.client.server import LONGEST, Server
from shoso.client.settings import ClientSettings
from shoso.core import keys, locations
from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.errors import ConfigError, Kind, TrackingError
from shoso.http.options import HttpOptions
from shoso.layers import Policy, standard
from shoso.layers.retry import RetryPolicy
from shoso.stores.mlflow.store import MlflowOptions, MlflowStore
from shoso.stores.remote.store import RemoteOptions, RemoteStore
from shoso.wire.objects import CapabilitiesReply

PROXY = "/api/2.0/mlflow-artifacts/artifacts"

PATIENCE = 300.0
"""Seconds for which a server that gives no answer is asked again; MLflow's client takes four minutes."""

_log = logging.getLogger("shoso.client")


@dataclass(frozen=True, slots=True)
class Served:
    """An artifact of a server: its address, with the static prefix, and the key there."""

    address: str
    key: Key


class Servers:
    """Which server a URI means, seen from the tracking server, if there is one."""

    def __init__(self, tracking: Server | None, settings: ClientSettings) -> None:
        self._tracking = tracking
        self._settings = settings

    def parse(self, uri: str) -> Served:
        """The parts of an `mlflow-artifacts:`, `http:` or `https:` URI. Raises TrackingError, StoreError."""
        if uri.startswith("mlflow-artifacts:"):
            return self._proxied(uri)
        address, found, path = uri.partition(PROXY)
        if not found or path[:1] not in {"", "/"}:
            message = f"'{locations.shown(uri)}' leads to no artifact: its path must hold {PROXY}/."
            raise TrackingError(Kind.INVALID, message)
        return Served(address.rstrip("/"), keys.parse(unquote(path).strip("/")))

    def _proxied(self, uri: str) -> Served:
        """As MLflow has it, another host is asked as the tracking server is: same scheme, same prefix."""
        if self._tracking is None:
            message = f"is not set, and '{locations.shown(uri)}' is seen from a tracking server."
            raise ConfigError("MLFLOW_TRACKING_URI", message)
        authority, path = _authority(uri)
        own = self._tracking.name
        if not authority:
            return Served(own, keys.parse(path.strip("/")))
        parts = urlsplit(own)
        address = parts._replace(netloc=authority).geturl().rstrip("/")
        return Served(address, keys.parse(path.strip("/")))

    async def open(self, address: str) -> Store:
        """The artifacts of the server there, under the standard layers. Raises what `Server` does."""
        own = self._tracking if self._tracking is not None and self._is_own(address) else None
        settings = self._settings if own else self._for(address)
        server = own or Server(address, settings)
        try:
            can = await server.capabilities()
        finally:
            if server is not own:
                await server.close()
        return standard(_store(server.uri, settings, can), _policy(settings.http))

    def _is_own(self, address: str) -> bool:
        """Whether it is the tracking server's; one with a user of its own is another's."""
        return self._tracking is not None and _origin(address) == _origin(self._tracking.name)

    def _for(self, address: str) -> ClientSettings:
        """The settings for another server than the tracking server."""
        http = self._settings.http
        withheld = replace(http, username="", password="", token="", client_certificate="")
        host = urlsplit(address).netloc.rpartition("@")[2]
        trusted = {host, host.rpartition(":")[0]} & {*self._settings.credential_hosts}
        if self._tracking is None or trusted or http == withheld:
            return self._settings
        _log.warning(
            "%s isn't shown the credentials of the tracking server; if it may see them, name it in"
            " SHOSO_CREDENTIAL_HOSTS.",
            host,
        )
        return replace(self._settings, http=withheld)


def _store(address: str, settings: ClientSettings, can: CapabilitiesReply | None) -> Store:
    if can is None:
        return MlflowStore(MlflowOptions(address, silence=settings.silence, http=settings.http))
    store = RemoteStore(RemoteOptions(address, silence=settings.silence, http=settings.http))
    store.learn(can)
    return store


def _policy(http: HttpOptions) -> Policy:
    """As patient as with calls to the tracking server."""
    return Policy(RetryPolicy(http.retries + 1, http.backoff, LONGEST, PATIENCE))


def _authority(uri: str) -> tuple[str, str]:
    """Host with port, and path, of an `mlflow-artifacts:` URI."""
    rest = uri.partition(":")[2]
    if not rest.startswith("//"):
        return "", rest
    authority, _, path = rest[2:].partition("/")
    if authority.isdecimal():
        message = f"'{uri}' names a port and no host; write mlflow-artifacts://host:{authority}/path."
        raise TrackingError(Kind.INVALID, message)
    return authority, path


def _origin(address: str) -> tuple[str, str, int, str]:
    """What two addresses of one server have in common: scheme, user and host, port, static prefix."""
    url = URL(address)
    return url.scheme, f"{url.user or ''}@{url.host}", url.port or 0, url.path.rstrip("/")
