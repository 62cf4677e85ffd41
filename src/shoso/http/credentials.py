"""What is shown to a server, and to nobody else."""

from __future__ import annotations

import ssl
from base64 import b64encode
from pathlib import Path

from yarl import URL

from shoso.errors import ConfigError
from shoso.http.options import HttpOptions

Headers = dict[str, str]

_UPGRADE = (("http", 80), ("https", 443))


def authorization(address: URL, options: HttpOptions) -> Headers:
    """The header that says who we are: what stands in the address wins, then a password, then a token."""
    if address.user or address.password:
        return {"authorization": _basic(address.user or "", address.password or "")}
    if options.username and options.password:
        return {"authorization": _basic(options.username, options.password)}
    return {"authorization": f"Bearer {options.token}"} if options.token else {}


def is_same(server: URL, other: URL) -> bool:
    """Whether the other address is the server's: same scheme, host and port, or its move to https."""
    if server.host != other.host:
        return False
    ends = (server.scheme, server.port), (other.scheme, other.port)
    return ends[0] == ends[1] or ends == _UPGRADE


def trust(options: HttpOptions) -> ssl.SSLContext | bool:
    """Whom we believe on https:, and the certificate that we show. Raises ConfigError."""
    authorities = options.server_certificate or options.bundle
    if not (options.insecure or authorities or options.client_certificate):
        return True
    context = ssl.create_default_context()
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities:
        context = _trusting(authorities, options)
    if options.client_certificate:
        _show(context, options.client_certificate)
    return context


def _trusting(authorities: str, options: HttpOptions) -> ssl.SSLContext:
    """A context that believes these authorities alone."""
    variable = "MLFLOW_TRACKING_SERVER_CERT_PATH" if options.server_certificate else "REQUESTS_CA_BUNDLE"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    kind = "capath" if Path(authorities).is_dir() else "cafile"
    try:
        context.load_verify_locations(**{kind: authorities})
    except OSError as error:  # ssl.SSLError is one
        message = f"'{authorities}' is no file of certificates that can be read ({_reason(error)})."
        raise ConfigError(variable, message) from None
    return context


def _show(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_cert_chain(path, password=_refuse_to_ask)
    except (OSError, ValueError) as error:
        message = f"'{path}' is no certificate with a key that can be read ({_reason(error)})."
        raise ConfigError("MLFLOW_TRACKING_CLIENT_CERT_PATH", message) from None


def _refuse_to_ask() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("its key is encrypted; write it down without a password")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or str(error)


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()
