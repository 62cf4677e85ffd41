"""What a URI and the environment say: checked here, before anybody is called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.options import from_environment
from shoso.errors import ConfigError, StoreError
from shoso.stores.s3 import SETTINGS

_ACCOUNT = r"[a-z0-9-]*:[0-9]{12}"
_BUCKET = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}"
    rf"|arn:aws[a-z-]*:(?:s3|s3-object-lambda):{_ACCOUNT}:accesspoint:[A-Za-z0-9.-]{{1,63}}"
    rf"|arn:aws[a-z-]*:s3-outposts:{_ACCOUNT}:outpost:[A-Za-z0-9-]{{1,63}}:accesspoint:[A-Za-z0-9-]{{1,63}}"
)
"""A bucket, or the ARN of an access point, written with colons: a slash would begin the path."""
_B2 = re.compile(r"s3\.([a-z0-9-]+)\.backblazeb2\.com")
_R2 = re.compile(r"[a-z0-9]+(\.(eu|fedramp))?\.r2\.cloudflarestorage\.com")
_ENDPOINTS = ("endpoint", "endpoint_s3", "endpoint_aws")


@dataclass(frozen=True, slots=True)
class S3Options:
    """A folder in a bucket, and how to get there; `endpoint` is "" for AWS itself.

    `silence` in seconds without a byte. `upload_args` are boto3's names with their values.
    """

    scheme: str
    bucket: str
    folder: Key
    endpoint: str = ""
    region: str = ""
    profile: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    ca_bundle: str = ""
    ignore_tls: bool = False
    upload_args: Mapping[str, Any] = field(default_factory=dict, repr=False)
    bucket_owner: str = ""
    addressing: str = "auto"
    signature: str = "s3v4"
    public_endpoint: str = ""
    silence: float | None = None
    connections: int = 32

    @property
    def name(self) -> str:
        """The location as it may be shown."""
        return f"{self.scheme}://{self.bucket}" + (f"/{self.folder}" if self.folder else "")


def parse(uri: str, environment: Mapping[str, str]) -> S3Options:
    """The options. Raises ConfigError, which names the setting and the fix."""
    given = from_environment(SETTINGS, environment)
    endpoints = {_variable(name): given.pop(name) for name in _ENDPOINTS}
    given["region"] = given["region"] or given.pop("other_region")
    given.pop("other_region", None)
    given["upload_args"] = _upload_args(given["upload_args"])
    place = _place(uri)
    if "endpoint" not in place:
        place["endpoint"] = next((url for url in endpoints.values() if url), "")
        for variable, url in endpoints.items():
            _require_endpoint(variable, url, place["bucket"])
    _require_endpoint("SHOSO_PUBLIC_ENDPOINT_URL", given["public_endpoint"], place["bucket"])
    _require_consistent(given)
    return S3Options(**{**given, **place, "endpoint": place["endpoint"].rstrip("/")})


def is_r2(endpoint: str) -> bool:
    """Whether it is Cloudflare's, which takes no signed chunks, and parts of one size only."""
    return bool(_R2.fullmatch(urlsplit(endpoint).hostname or ""))


def is_b2(endpoint: str) -> bool:
    """Whether it is Backblaze's, which knows no conditional write."""
    return bool(_B2.fullmatch(urlsplit(endpoint).hostname or ""))


def _variable(name: str) -> str:
    return next(setting.variable for setting in SETTINGS if setting.field == name)


def _place(uri: str) -> dict[str, Any]:
    parts = urlsplit(uri)
    try:
        place: dict[str, Any] = {"scheme": parts.scheme, "folder": keys.parse(parts.path.strip("/"))}
    except StoreError as error:
        raise ConfigError(shown(uri), f"the path can't be used. {error}") from None
    if parts.query or parts.fragment:
        raise ConfigError(shown(uri), "a location has no query and no fragment.")
    place |= {"bucket": parts.netloc} if parts.scheme == "s3" else _hosted(uri, parts)
    if not _BUCKET.fullmatch(place["bucket"]):
        raise ConfigError(
            shown(uri),
            f"'{shown(uri).split('/')[2]}' is no bucket. Write {parts.scheme}://bucket/path; the address of"
            " the storage goes into MLFLOW_S3_ENDPOINT_URL.",
        )
    return place


def _hosted(uri: str, parts: SplitResult) -> dict[str, Any]:
    """Bucket and endpoint of `r2://bucket@host` and `b2://bucket@host`."""
    bucket, _, host = parts.netloc.rpartition("@")
    if parts.scheme == "b2" and (found := _B2.fullmatch(host)):
        return {"bucket": bucket, "endpoint": f"https://{host}", "region": found[1]}
    if parts.scheme == "r2" and _R2.fullmatch(host):
        return {"bucket": bucket, "endpoint": f"https://{host}", "region": "auto"}
    right = {"b2": "b2://bucket@s3.<region>.backblazeb2.com/path"}
    form = right.get(parts.scheme, "r2://bucket@<account>.r2.cloudflarestorage.com/path")
    raise ConfigError(shown(uri), f"write it as {form}.")


def _require_endpoint(variable: str, url: str, bucket: str) -> None:
    """Refuse what would send objects to a wrong key: MLflow only warns of it."""
    if not url:
        return
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(
            variable,
            f"'{shown(url)}' is no address of a storage but a place in one; write https://host or"
            " http://host:port there, and the bucket and path into the artifact location.",
        )
    if parts.username or parts.password:
        raise ConfigError(variable, "it holds credentials; put them into AWS_ACCESS_KEY_ID and its secret.")
    if parts.path.strip("/") or parts.query or parts.fragment:
        what = f"the bucket '{bucket}'" if bucket in parts.path.split("/") else "a path"
        raise ConfigError(
            variable,
            f"'{shown(url)}' holds {what}, so that objects would get a wrong key; write"
            f" {parts.scheme}://{parts.netloc} there, and the path behind the bucket in the location.",
        )
    if parts.hostname.startswith(f"{bucket.lower()}."):
        rest = parts.netloc[len(bucket) + 1 :]
        raise ConfigError(
            variable,
            f"'{url}' holds the bucket '{bucket}', which would be named twice; write {parts.scheme}://{rest}.",
        )


def _require_consistent(given: Mapping[str, Any]) -> None:
    if given["ignore_tls"] and given["ca_bundle"]:
        raise ConfigError(
            "MLFLOW_S3_IGNORE_TLS",
            "it contradicts AWS_CA_BUNDLE, which says whom to trust; unset one of them.",
        )
    if bool(given["access_key"]) != bool(given["secret_key"]):
        missing = "AWS_ACCESS_KEY_ID" if given["secret_key"] else "AWS_SECRET_ACCESS_KEY"
        raise ConfigError(missing, "it is missing: an access key and its secret belong together.")


def _upload_args(value: str) -> dict[str, Any]:
    variable = "MLFLOW_S3_UPLOAD_EXTRA_ARGS"
    if not value:
        return {}
    try:
        args = json.loads(value)
    except ValueError:
        raise ConfigError(
            variable, 'it is no JSON; write e.g. {"ACL": "bucket-owner-full-control"}.'
        ) from None
    if not isinstance(args, dict):
        raise ConfigError(variable, "it must be an object of names and values in JSON.")
    return args
