"""access: whose requests these are; known at once where a file says it, else found at the first call.

The order is Google's (application default credentials): GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, the
metadata server of the machine. Without any, requests are anonymous, as MLflow's are.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from pathlib import Path
from typing import Any

import google.auth
from google.auth import _cloud_sdk, exceptions, iam
from google.auth.credentials import Signing
from google.auth.transport.requests import Request

from shoso.errors import ConfigError

Credentials = Any
"""Google's, which have no types."""

_google: Any = google.auth
_iam: Any = iam
_gcloud: Any = _cloud_sdk

_log = logging.getLogger("shoso.stores.gcs")

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
"""What the account may do is IAM's to say; the scope must also do for `signBlob`."""

_PRODUCT = Path("/sys/class/dmi/id/product_name")
"""Begins with "Google" on a machine of Google's, containers included."""


class Access:
    """The credentials of a store; those of an emulator only sign, and are sent to nobody."""

    def __init__(self, file: str, payer: str, emulated: bool) -> None:
        self.anonymous = emulated
        self._payer = {"x-goog-user-project": payer} if payer else {}
        self._credentials = _from_file(file)
        self._lock = asyncio.Lock()

    @property
    def can_sign(self) -> bool:
        """Whether requests can be signed, as far as one can say without asking anybody."""
        if self._credentials is not None:
            return isinstance(self._credentials, Signing)
        return not self.anonymous and _on_google()

    async def headers(self) -> dict[str, str]:
        """What says who asks. Raises google.auth's exceptions."""
        headers: dict[str, str] = {}
        if (credentials := await self._valid()) is not None:
            credentials.apply(headers)
        return headers | self._payer

    def reject(self) -> None:
        """The token was refused: the next request gets a new one."""
        if self._credentials is not None and not self.anonymous:
            self._credentials.token = None

    async def email(self) -> str:
        """The account that signs. Raises google.auth's exceptions."""
        credentials: Any = self._credentials or await self._valid()
        return str(getattr(credentials, "signer_email", None) or credentials.service_account_email)

    async def sign(self, message: bytes) -> bytes:
        """Its RSA-SHA256 signature, by its key or by IAM's signBlob. Raises google.auth's exceptions."""
        credentials: Any = self._credentials or await self._valid()
        if not isinstance(credentials, Signing):
            signer = _iam.Signer(Request(), credentials, await self.email())
            return bytes(await asyncio.to_thread(signer.sign, message))
        return bytes(await asyncio.to_thread(credentials.sign_bytes, message))

    async def _valid(self) -> Credentials | None:
        if self.anonymous:
            return None
        async with self._lock:
            if self._credentials is None:
                self._credentials = await asyncio.to_thread(_of_the_machine)
                self.anonymous = self._credentials is None
            if self._credentials is not None and not self._credentials.valid:
                await asyncio.to_thread(self._credentials.refresh, Request())
        return self._credentials


def _from_file(given: str) -> Credentials | None:
    """The credentials in the file that is named, or in gcloud's. Raises ConfigError."""
    path = Path(given or _gcloud.get_application_default_credentials_path())
    if not given and not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of files: this one is the operator's own
            return _google.load_credentials_from_file(str(path), scopes=SCOPES)[0]
    except (exceptions.GoogleAuthError, OSError, ValueError) as error:
        reason = type(error).__name__ if path.exists() else "it isn't there"  # a message may quote it
        raise ConfigError("GOOGLE_APPLICATION_CREDENTIALS", _UNREADABLE.format(path, reason)) from None


_UNREADABLE = "'{}' holds no Google credentials ({}); name the JSON file of a service account's key."


def _of_the_machine() -> Credentials | None:
    """What the metadata server gives out; None where there is none."""
    try:
        return _google.default(scopes=SCOPES)[0]
    except exceptions.DefaultCredentialsError:
        _log.warning(
            "No Google credentials were found; requests to Cloud Storage are anonymous. Set"
            " GOOGLE_APPLICATION_CREDENTIALS, or run 'gcloud auth application-default login'."
        )
        return None


def _on_google() -> bool:
    try:
        return _PRODUCT.read_text().startswith("Google")
    except OSError:
        return False
