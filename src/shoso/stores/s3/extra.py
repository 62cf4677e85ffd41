"""MLFLOW_S3_UPLOAD_EXTRA_ARGS as headers: on which requests, by botocore's own model of S3.

What boto3 allows takes effect on every way an object is written, or is refused by name when the store opens.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from boto3.s3.transfer import S3Transfer
from botocore.model import ServiceModel
from botocore.utils import parse_timestamp

from shoso.errors import ConfigError

VARIABLE = "MLFLOW_S3_UPLOAD_EXTRA_ARGS"

_PER_OBJECT = "it belongs to one object, while these arguments go with every one"
_REFUSED = {
    "ChecksumAlgorithm": "a client that writes with a signed request can't be made to compute it, and every"
    " byte is covered by the signature's SHA-256 already",
    "ChecksumType": "it can't be had for objects written in one request",
    "MpuObjectSize": _PER_OBJECT,
}


@dataclass(frozen=True, slots=True)
class Extra:
    """Headers by the operation that they go with.

    `private` where no client may see them; `locked` where S3 wants the MD5 of what they come with.
    """

    headers: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    tags: tuple[tuple[str, str], ...] = ()
    private: bool = False
    locked: bool = False

    def of(self, operation: str) -> dict[str, str]:
        """The headers of that operation."""
        return dict(self.headers.get(operation, {}))


OPERATIONS = (
    "PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload",
    "ListParts", "ListMultipartUploads", "HeadObject", "GetObject", "ListObjectsV2", "DeleteObjects",
    "DeleteObject", "GetObjectTagging", "PutObjectTagging", "HeadBucket", "CopyObject", "UploadPartCopy",
)  # fmt: skip

_COPIED = {
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires",
    "Metadata", "Tagging",
}  # fmt: skip
"""What a copy has from its source."""


def extra(args: Mapping[str, Any], owner: str, model: ServiceModel) -> Extra:
    """What these arguments come to. Raises ConfigError with the name of one that can't be kept."""
    args = dict(args) | ({"ExpectedBucketOwner": owner} if owner else {})
    for name, value in args.items():
        _require_possible(name, value, model)
    if "SSECustomerKey" in args:
        args |= _customer_key(args["SSECustomerKey"])
        args |= {f"CopySource{name}": text for name, text in args.items() if name.startswith("SSECustomer")}
    headers = {operation: _headers(args, operation, model) for operation in OPERATIONS}
    tags = tuple(parse_qsl(args.get("Tagging", ""), keep_blank_values=True))
    locked = any(name.startswith("ObjectLock") for name in args)
    return Extra(headers, tags, private="SSECustomerKey" in args, locked=locked)


def _require_possible(name: str, value: Any, model: ServiceModel) -> None:
    if name not in S3Transfer.ALLOWED_UPLOAD_ARGS:
        raise ConfigError(VARIABLE, f"'{name}' is no argument of an upload; boto3's names are meant.")
    reason = _REFUSED.get(name) or (_PER_OBJECT if name.startswith("Checksum") else "")
    if reason:
        raise ConfigError(VARIABLE, f"'{name}' can't be used: {reason}.")
    _require_type(name, value, model)


def _require_type(name: str, value: Any, model: ServiceModel) -> None:
    shape = model.operation_model("PutObject").input_shape.members[name]
    if shape.type_name == "map":
        if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
            raise ConfigError(VARIABLE, f"'{name}' must be an object of names and texts.")
        texts = [*value, *value.values()]
    elif isinstance(value, str):
        texts = [value]
    else:
        raise ConfigError(VARIABLE, f"'{name}' must be a text, not {value!r}.")
    if not all(text.isascii() and text.isprintable() for text in texts):
        raise ConfigError(VARIABLE, f"'{name}' may only hold printable ASCII, as a header does.")
    if shape.type_name == "timestamp":
        _timestamp(name, value)


def _timestamp(name: str, value: str) -> Any:
    try:
        return parse_timestamp(value)
    except ValueError:
        raise ConfigError(VARIABLE, f"'{name}' is no time: {value!r}; write 2030-01-01T00:00:00Z.") from None


def _customer_key(key: str) -> dict[str, str]:
    """As boto3 sends it: the key in base64, with its MD5 (RFC 1321 is what S3 asks for)."""
    raw = key.encode()
    summed = hashlib.md5(raw, usedforsecurity=False).digest()
    return {
        "SSECustomerKey": base64.b64encode(raw).decode(),
        "SSECustomerKeyMD5": base64.b64encode(summed).decode(),
    }


def _headers(args: Mapping[str, Any], operation: str, model: ServiceModel) -> dict[str, str]:
    members = model.operation_model(operation).input_shape.members
    headers: dict[str, str] = {}
    for name, value in args.items():
        copied = operation == "CopyObject" and name in _COPIED
        if (shape := members.get(name)) is not None and not copied:
            headers |= _header(name, value, shape)
    return headers


def _header(name: str, value: Any, shape: Any) -> dict[str, str]:
    key = shape.serialization["name"].lower()
    if shape.type_name == "map":
        return {f"{key}{word.lower()}": text for word, text in value.items()}
    if shape.type_name == "timestamp":
        form = "%a, %d %b %Y %H:%M:%S GMT" if name == "Expires" else "%Y-%m-%dT%H:%M:%SZ"
        return {key: _timestamp(name, value).strftime(form)}
    return {key: str(value)}
