"""Where a bucket is and with whose credentials: botocore's word, asked in threads where it calls somebody."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies

from shoso.errors import ConfigError, Kind, Retry, StoreError, store_error
from shoso.stores.s3.extra import Extra, extra
from shoso.stores.s3.options import S3Options, is_b2, is_r2

FALLBACK_REGION = "us-east-1"
_PORTS = {"https": ":443", "http": ":80"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bucket answers: `base` is "" or "/bucket", in front of each key; signed for `region`."""

    scheme: str
    host: str
    base: str
    region: str
    proxy: str | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)


class Account:
    """The bucket's place, credentials that stay fresh, and the headers that go with uploads.

    Opening it calls nobody, and raises ConfigError for what can be known to be wrong.
    """

    def __init__(self, options: S3Options) -> None:
        self.options = options
        try:
            self._session = boto3.session.Session(
                aws_access_key_id=options.access_key or None,
                aws_secret_access_key=options.secret_key or None,
                aws_session_token=options.session_token or None,
                region_name=options.region or None,
                profile_name=options.profile or None,
            )
            self._region = self._session.region_name or FALLBACK_REGION
            client = self._client(self._region, options.endpoint)
        except ProfileNotFound:
            raise ConfigError(
                "AWS_PROFILE",
                f"there is no profile '{options.profile}' in ~/.aws/config or ~/.aws/credentials.",
            ) from None
        except (NoRegionError, InvalidRegionError) as error:
            raise ConfigError("AWS_DEFAULT_REGION", f"{error}") from None
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(options.name, f"boto3 can't use these settings: {error}") from None
        self.endpoint = options.endpoint or _custom(client)
        self.aws, self.r2, self.b2 = not self.endpoint, is_r2(self.endpoint), is_b2(self.endpoint)
        self.extra: Extra = extra(options.upload_args, options.bucket_owner, client.meta.service_model)
        self.place = self._placed(client, self._region)
        self.tls = _tls(options, self._session) if self.place.scheme == "https" else None
        self._credentials: Any = None
        self._lock = asyncio.Lock()

    def at(self, region: str) -> Place:
        """The bucket's place in that region."""
        return self._placed(self._client(region, self.options.endpoint), region)

    def public(self) -> Place:
        """The place as clients reach it."""
        if not self.options.public_endpoint:
            return self.place
        return self._placed(self._client(self.place.region, self.options.public_endpoint), self.place.region)

    async def credentials(self) -> Credentials | None:
        """Credentials that are good now; None where requests go unsigned. Raises UNAUTHENTICATED."""
        if self.options.signature == "unsigned":
            return None
        found = self._credentials
        if found is None or (isinstance(found, RefreshableCredentials) and found.refresh_needed()):
            async with self._lock:
                return await asyncio.to_thread(self._load)
        return _frozen(found)

    def _load(self) -> Credentials:
        try:
            self._credentials = self._credentials or self._session.get_credentials()
            if self._credentials is None:
                raise NoCredentialsError
            return _frozen(self._credentials)
        except (BotoCoreError, ClientError, OSError, ValueError) as error:
            raise self._failure(error) from None

    def _failure(self, error: Exception) -> StoreError:
        sentence, retry = f"AWS credentials can't be had: {error}", Retry.SOON
        if isinstance(error, NoCredentialsError):
            sentence, retry = _NO_CREDENTIALS, Retry.NEVER
        elif isinstance(error, PartialCredentialsError):
            sentence, retry = f"AWS credentials are incomplete: {error}", Retry.NEVER
        elif isinstance(error, SSOError | TokenRetrievalError):
            profile = self.options.profile or "default"
            sentence, retry = f"The SSO session is over: run aws sso login --profile {profile}.", Retry.NEVER
        elif isinstance(error, OSError | ValueError) or _is_refused(error):
            retry = Retry.NEVER
        name = self.options.name
        return store_error(Kind.UNAUTHENTICATED, f"{name}: {sentence}", retry=retry, store=name)

    def _client(self, region: str, endpoint: str) -> Any:
        """A client that is asked for addresses only; with no credentials it would look for some."""
        style = {"addressing_style": self.options.addressing}
        config = Config(s3=style, signature_version=UNSIGNED)
        dummy = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
        return self._session.client(
            "s3", region_name=region, endpoint_url=endpoint or None, config=config, **dummy
        )

    def _placed(self, client: Any, region: str) -> Place:
        url = urlsplit(_address(client, self.options.bucket))
        proxy = get_environ_proxies(f"{url.scheme}://{url.netloc}").get(url.scheme)
        host = url.netloc.lower().removesuffix(_PORTS[url.scheme])  # as every client sends it
        return Place(url.scheme, host, url.path.removesuffix("/key"), region, proxy)


_NO_CREDENTIALS = (
    "no AWS credentials were found. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give"
    " the machine a role; for a public bucket set MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION=unsigned."
)


def _is_refused(error: Exception) -> bool:
    """Whether STS says no to a role or a token, rather than that it is busy or broken."""
    if not isinstance(error, ClientError):
        return False
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return status < 500 and "Throttl" not in error.response["Error"]["Code"]


def _frozen(found: Any) -> Credentials:
    frozen = found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def _address(client: Any, bucket: str) -> str:
    """Where botocore would send a request about `key`: asked by one that is answered before it's sent."""
    addresses: list[str] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        addresses.append(request.url)
        return AWSResponse(request.url, 200, {}, _Nothing())

    client.meta.events.register("before-send.s3.HeadObject", answer)
    client.head_object(Bucket=bucket, Key="key")
    return addresses[0]


class _Nothing:
    def stream(self) -> tuple[bytes, ...]:
        return ()


def _custom(client: Any) -> str:
    """The endpoint that a profile names, "" where it is AWS's own."""
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    return "" if ".amazonaws." in f".{host}." else str(client.meta.endpoint_url)


def _tls(options: S3Options, session: Any) -> ssl.SSLContext:
    """Whom to trust: AWS_CA_BUNDLE or a profile's; else what the system and boto3 know."""
    context = ssl.create_default_context()
    if options.ignore_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    bundle = options.ca_bundle or session._session.get_config_variable("ca_bundle")  # noqa: SLF001  (no other way)
    try:
        if bundle:
            return ssl.create_default_context(cafile=bundle)
        context.load_verify_locations(get_cert_path(True))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            "AWS_CA_BUNDLE", f"'{bundle}' holds no certificates that can be read: {error}."
        ) from None
    return context
