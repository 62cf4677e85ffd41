"""What a URI and the environment say about an account: its address and how it lets us in."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.options import PUBLIC_ENDPOINT, address, from_environment
from shoso.errors import ConfigError, StoreError
from shoso.stores.azure import ACCESS_KEY, CONNECTION_STRING, SAS_TOKEN, SETTINGS

SUFFIXES = ("core.windows.net", "core.chinacloudapi.cn", "core.usgovcloudapi.net")
_SERVICES = {"wasbs": "blob", "abfss": "dfs"}
_HOST = re.compile(r"([^@/:]+)@([^.@/:]+)\.(blob|dfs)\.(" + "|".join(map(re.escape, SUFFIXES)) + ")")

# What `UseDevelopmentStorage=true` stands for; the key is Microsoft's, published, and opens nothing real.
_EMULATOR = {
    "accountname": "devstoreaccount1",
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
}


@dataclass(frozen=True, slots=True)
class AzureOptions:
    """A folder of a container, the address of its account, and one credential or none.

    `endpoint` has no slash at its end; `own` says that it isn't Azure's public one. `key_setting` is the
    variable that the credential came from, "" for an identity. `silence` in seconds.
    """

    scheme: str
    account: str
    container: str
    folder: Key
    endpoint: str
    own: bool = False
    account_key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)
    key_setting: str = ""
    public_endpoint: str = ""
    silence: float | None = 600.0

    @property
    def name(self) -> str:
        """How the store is shown."""
        service = _SERVICES[self.scheme]
        host = f"{self.account}.{service}" if self.own else urlsplit(self.endpoint).netloc
        shown = f"{self.scheme}://{self.container}@{host.replace('.blob.', f'.{service}.')}"
        return f"{shown}/{self.folder}" if self.folder else shown


def options(uri: str, environment: Mapping[str, str]) -> AzureOptions:
    """The options of a URI in an environment. Raises ConfigError, which shows no secret."""
    parts = urlsplit(uri)
    match = _HOST.fullmatch(parts.netloc)
    service = _SERVICES.get(parts.scheme, "")
    if match is None or match[3] != service or parts.query or parts.fragment:
        form = f"{parts.scheme}://<container>@<account>.{service}.{SUFFIXES[0]}/<path>"
        raise ConfigError(shown(uri), f"is no Azure location; write {form} (or .{', .'.join(SUFFIXES[1:])}).")
    container, account, _, suffix = match.groups()
    try:
        folder = keys.parse(parts.path.strip("/"))
    except StoreError as error:
        raise ConfigError(shown(uri), error.message) from None
    given = from_environment(SETTINGS, environment)
    access = _access(uri, account, suffix, given)
    return AzureOptions(
        parts.scheme, account, container, folder, silence=given["silence"],
        public_endpoint=_address(PUBLIC_ENDPOINT.variable, given["public_endpoint"]), **access,
    )  # fmt: skip


def _access(uri: str, account: str, suffix: str, given: Mapping[str, str]) -> dict[str, Any]:
    public = f"https://{account}.blob.{suffix}"
    if given["connection_string"]:
        return _connection(uri, account, public, given["connection_string"])
    if given["access_key"]:
        key = _key(ACCESS_KEY.variable, given["access_key"])
        return {"endpoint": public, "account_key": key, "key_setting": ACCESS_KEY.variable}
    if given["sas_token"]:
        token = _sas(SAS_TOKEN.variable, given["sas_token"])
        return {"endpoint": public, "sas": token, "key_setting": SAS_TOKEN.variable}
    return {"endpoint": public}


def _connection(uri: str, account: str, public: str, text: str) -> dict[str, Any]:
    """https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string."""
    variable = CONNECTION_STRING.variable
    pairs = [pair.partition("=") for pair in text.strip().split(";") if pair.strip()]
    if not pairs or not all(separator for _, separator, _ in pairs):
        message = "is no connection string; copy it from the account's page 'Access keys'."
        raise ConfigError(variable, message)
    found = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if found.get("usedevelopmentstorage", "").lower() == "true":
        found = {**_EMULATOR, **found}
    if (named := found.get("accountname", account)) != account:
        message = (
            f"is of the account '{named}', but the location {shown(uri)} is in '{account}'; use one of both."
        )
        raise ConfigError(variable, message)
    endpoint = _address(variable, found.get("blobendpoint") or _composed(account, public, found))
    access: dict[str, Any] = {
        "endpoint": endpoint, "own": not _is_public(account, endpoint), "key_setting": variable,
    }  # fmt: skip
    if found.get("accountkey"):
        return access | {"account_key": _key(variable, found["accountkey"])}
    if found.get("sharedaccesssignature"):
        return access | {"sas": _sas(variable, found["sharedaccesssignature"])}
    raise ConfigError(variable, "has neither AccountKey nor SharedAccessSignature; add one of them.")


def _composed(account: str, public: str, found: Mapping[str, str]) -> str:
    if "endpointsuffix" not in found:
        return public
    return f"{found.get('defaultendpointsprotocol', 'https')}://{account}.blob.{found['endpointsuffix']}"


def _is_public(account: str, endpoint: str) -> bool:
    return endpoint in {f"https://{account}.blob.{suffix}" for suffix in SUFFIXES}


def _address(variable: str, text: str) -> str:
    """The address without a slash at its end; "" for none."""
    try:
        return address(text) if text else ""
    except ValueError:  # its words may hold a signature
        message = "names no address; one looks like https://account.blob.core.windows.net."
        raise ConfigError(variable, message) from None


def _key(variable: str, text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        message = "holds no account key, which is base64; copy it from the account's page 'Access keys'."
        raise ConfigError(variable, message) from None
    return text


def _sas(variable: str, text: str) -> str:
    token = text.strip().lstrip("?")
    if "sig=" not in token:
        raise ConfigError(variable, "holds no shared access signature: there is no 'sig=' in it.")
    return token
