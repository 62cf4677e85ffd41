"""Signed requests: version 4 here, on every request; version 2, for old storages, by botocore.

Amazon S3 API reference, "Authenticating Requests (AWS Signature Version 4)".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qs, quote, urlsplit

from botocore.auth import HmacV1Auth, HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from shoso.stores.s3.account import Credentials, Place

UNSIGNED = "UNSIGNED-PAYLOAD"
CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
EMPTY = hashlib.sha256().hexdigest()

Headers = dict[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; names of headers in lower case, path and query not yet encoded."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Seed:
    """Where the signatures of a body's chunks begin."""

    key: bytes
    moment: str
    scope: str
    signature: str

    def sign(self, previous: str, summed: str) -> str:
        """The signature of the chunk with that SHA-256, behind the one with that signature."""
        text = f"AWS4-HMAC-SHA256-PAYLOAD\n{self.moment}\n{self.scope}\n{previous}\n{EMPTY}\n{summed}"
        return hmac.digest(self.key, text.encode(), "sha256").hex()


def encoded_path(path: str) -> str:
    """The path as it travels: everything but unreserved characters and slashes in percent signs."""
    return quote(path, safe="/~")


def encoded_query(query: Mapping[str, str]) -> str:
    """The query as it travels, in the order in which it is signed."""
    pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def sign(request: Request, place: Place, who: Credentials, payload: str) -> tuple[Headers, Seed]:
    """The headers of the request with its signature; `payload` is the SHA-256 of its body."""
    moment, scope = _now(place)
    headers = {
        **request.headers, "host": place.host, "x-amz-date": moment, "x-amz-content-sha256": payload,
        **({"x-amz-security-token": who.token} if who.token else {}),
    }  # fmt: skip
    signed = ";".join(sorted(headers))
    key, signature = _signature(request, headers, encoded_query(request.query), payload, who, moment, scope)
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
    return headers, Seed(key, moment, scope, signature)


def presign(request: Request, place: Place, who: Credentials, expires: float) -> str:
    """The URL of the request with its signature in the query; its headers must be sent as they are."""
    moment, scope = _now(place)
    headers = {**request.headers, "host": place.host}
    query = encoded_query({
        **request.query, "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{who.access_key}/{scope}",
        "X-Amz-Date": moment, "X-Amz-Expires": f"{max(1, int(expires))}",
        "X-Amz-SignedHeaders": ";".join(sorted(headers)),
        **({"X-Amz-Security-Token": who.token} if who.token else {}),
    })  # fmt: skip
    _, signature = _signature(request, headers, query, UNSIGNED, who, moment, scope)
    return f"{place.scheme}://{place.host}{encoded_path(request.path)}?{query}&X-Amz-Signature={signature}"


def _now(place: Place) -> tuple[str, str]:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return moment, f"{moment[:8]}/{place.region}/s3/aws4_request"


def _signature(
    request: Request, headers: Headers, query: str, payload: str, who: Credentials, moment: str, scope: str
) -> tuple[bytes, str]:
    names = sorted(headers)
    lines = (f"{name}:{' '.join(headers[name].split())}" for name in names)
    canonical = "\n".join(
        (request.method, encoded_path(request.path), query, *lines, "", ";".join(names), payload)
    )
    summed = hashlib.sha256(canonical.encode()).hexdigest()
    key = _key(who.secret_key, scope)
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{summed}"
    return key, hmac.digest(key, text.encode(), "sha256").hex()


@lru_cache(8)
def _key(secret: str, scope: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key


def sign_v2(request: Request, place: Place, bucket: str, who: Credentials) -> Headers:
    """The headers of the request with a signature of version 2, which covers no body."""
    aws = _aws_request(request, place, bucket)
    HmacV1Auth(ReadOnlyCredentials(who.access_key, who.secret_key, who.token)).add_auth(aws)
    return {"host": place.host, **{name.lower(): value for name, value in aws.headers.items()}}


def presign_v2(request: Request, place: Place, bucket: str, who: Credentials, expires: float) -> str:
    """The URL of the request with a signature of version 2."""
    aws = _aws_request(request, place, bucket)
    credentials = ReadOnlyCredentials(who.access_key, who.secret_key, who.token)
    HmacV1QueryAuth(credentials, expires=max(1, int(expires))).add_auth(aws)
    added = parse_qs(urlsplit(aws.url).query)
    query = {**request.query, **{name: values[0] for name, values in added.items()}}
    return f"{place.scheme}://{place.host}{encoded_path(request.path)}?{encoded_query(query)}"


def _aws_request(request: Request, place: Place, bucket: str) -> AWSRequest:
    path = encoded_path(request.path)
    whole = path if place.base else f"/{bucket}{path}"
    query = encoded_query(request.query).replace("=&", "&").removesuffix("=")  # as version 2 signs it
    url = f"{place.scheme}://{place.host}{path}?{query}"
    return AWSRequest(request.method, url, dict(request.headers), auth_path=whole)
