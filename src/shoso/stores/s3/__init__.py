"""s3: buckets of AWS and of everything that speaks S3: Ceph, MinIO, Spaces, R2 (`r2:`), B2 (`b2:`).

Beyond the contract's promises:
- every byte that goes up is covered by a hash that the storage compares (the signature's SHA-256; not in a
  large part for R2, which takes no signed stream), and what comes down by the BLAKE3 that is kept with the
  object: as metadata where it's written in one request, as a tag, bound to the etag, where it's in parts;
- nothing is buffered but a window of parts, and no upload in parts is left pending by a write that failed.

botocore decides where a bucket is and with which credentials; the requests are made here, over aiohttp
(docs/decisions/0006-s3.md). Facts come from the Amazon S3 API reference and from Ceph's radosgw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from shoso.core.options import PUBLIC_ENDPOINT, Setting, boolean, one_of, silence, text

if TYPE_CHECKING:
    from shoso.stores.s3.store import S3Store

SILENCE = 120.0
"""boto3 gives up after 60; up to 15 MiB may be on their way at the end of an object, over a slow line."""

SETTINGS = (
    Setting(
        "endpoint",
        "MLFLOW_S3_ENDPOINT_URL",
        text,
        "",
        "The address of an S3 storage other than AWS, e.g. https://s3.example.com, without bucket or path.",
    ),
    Setting(
        "endpoint_s3", "AWS_ENDPOINT_URL_S3", text, "", "The same, where MLFLOW_S3_ENDPOINT_URL is unset."
    ),
    Setting("endpoint_aws", "AWS_ENDPOINT_URL", text, "", "The same, where both are unset."),
    Setting(
        "region", "AWS_DEFAULT_REGION", text, "", "The region to sign for; the bucket's own is found on AWS."
    ),
    Setting("other_region", "AWS_REGION", text, "", "The same, where AWS_DEFAULT_REGION is unset."),
    Setting("profile", "AWS_PROFILE", text, "", "The profile of ~/.aws/config and ~/.aws/credentials."),
    Setting("access_key", "AWS_ACCESS_KEY_ID", text, "", "The access key; before any other credentials."),
    Setting("secret_key", "AWS_SECRET_ACCESS_KEY", text, "", "The secret that belongs to it."),
    Setting("session_token", "AWS_SESSION_TOKEN", text, "", "The token of temporary credentials."),
    Setting(
        "ca_bundle", "AWS_CA_BUNDLE", text, "", "A file of the certificates to trust, instead of the known."
    ),
    Setting(
        "ignore_tls",
        "MLFLOW_S3_IGNORE_TLS",
        boolean,
        False,
        "Whether to accept any certificate; not together with AWS_CA_BUNDLE.",
    ),
    Setting(
        "upload_args",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
        text,
        "",
        "What every object is written with, in JSON by boto3's names, e.g."
        ' {"ServerSideEncryption": "aws:kms"}.',
    ),
    Setting(
        "bucket_owner",
        "MLFLOW_S3_EXPECTED_BUCKET_OWNER",
        text,
        "",
        "The account that must own the bucket, or each call is refused.",
    ),
    Setting(
        "addressing",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        one_of("auto", "path", "virtual"),
        "auto",
        "Whether the bucket's name is in the path or in the host.",
    ),
    Setting(
        "signature",
        "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION",
        one_of("s3v4", "s3", "unsigned"),
        "s3v4",
        "How requests are signed: s3v4, s3 (version 2, for old storages) or unsigned (public buckets).",
    ),
    PUBLIC_ENDPOINT,
    silence(SILENCE),
)


def open_store(uri: str, environment: Mapping[str, str]) -> S3Store:
    """The store at an s3:, r2: or b2: URI. Raises ConfigError; calls nobody."""
    from shoso.stores.s3.account import Account
    from shoso.stores.s3.options import parse
    from shoso.stores.s3.store import S3Store

    return S3Store(Account(parse(uri, environment)))
