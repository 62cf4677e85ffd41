"""What the server says, in the words of a file system: replies, facts (RFC 3659), errors of the way there."""

from __future__ import annotations

import calendar
import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from shoso.errors import Kind, StoreError, store_error
from shoso.stores.files.system import Found, Status
from shoso.stores.ftp.address import FtpOptions
from shoso.stores.ftp.session import Refused, code

_NUMBERS = {
    "450": errno.EBUSY,
    "451": errno.EIO,
    "452": errno.ENOSPC,
    "550": errno.EACCES,
    "551": errno.EIO,
    "552": errno.EDQUOT,
    "553": errno.EACCES,
}
_LOST = {"421", "425", "426"}
_UNKNOWN = {"500", "502", "504"}
_FOLDERS = {"dir", "cdir", "pdir"}
_SHOWN = 200
"""Characters of the server's own words in a message."""

_UNTRUSTED_NAME = {62, 64}
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def problem(number: int, path: str) -> OSError:
    """The OSError of that number."""
    return OSError(number, os.strerror(number), path)


def refusal(refused: Refused, path: str, options: FtpOptions) -> Exception:
    """What a reply means where the request doesn't say more."""
    digits = code(refused)
    said = f"the server answers {digits}{str(refused.info[-1])[:_SHOWN]}"
    if digits in _LOST:
        return ConnectionResetError(errno.ECONNRESET, said)
    if digits in _UNKNOWN:
        what = f"{options.name} doesn't know a command that Shoso needs (it answers {digits})"
        return _unusable(
            Kind.UNSUPPORTED, f"{what}: use one with MLST, or with SIZE and MDTM (RFC 3659).", options
        )
    if digits in {"530", "532"}:
        what = f"{options.name} wants another login for that ({digits}): check the user in the URI."
        return _unusable(Kind.FORBIDDEN, what, options)
    # ProFTPD says 451 to a full disk, and only its words, which are the system's, tell it from other errors.
    full = [number for number in (errno.ENOSPC, errno.EDQUOT) if os.strerror(number) in said]
    number = full[0] if full else _NUMBERS.get(digits, errno.EPROTO)
    return OSError(number, f"{os.strerror(number)}, {said}", path)


def unreplaced(path: str, options: FtpOptions) -> StoreError:
    """The error of a server that renames onto nothing that is there."""
    what = f"{options.name} refuses to replace '{path}' when another file is renamed"
    fix = "allow it there (ProFTPD: AllowOverwrite on), and the user to write in that folder"
    return _unusable(Kind.FORBIDDEN, f"{what}: {fix}.", options)


@contextmanager
def reaching(options: FtpOptions) -> Iterator[None]:
    """What goes wrong on the way to the server, as a ConnectionError or with a word on what to change."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise _untrusted(error, options) from error
    except ssl.SSLError as error:
        raise ConnectionError(f"TLS failed ({error.reason})") from error
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise ConnectionError("its name can't be resolved now") from error
        what = f"{options.name} can't be reached: nobody knows '{options.host}'; check the URI."
        raise _unusable(Kind.CONFIG, what, options) from error
    except (EOFError, ValueError) as error:
        raise ConnectionError("its reply can't be understood") from error


def status_of(text: str) -> Status | None:
    """The status that these facts tell; None for what is neither a file nor a folder."""
    facts = dict(_facts(text))
    kind = facts.get("type", "").lower()
    if kind != "file" and kind not in _FOLDERS:
        return None
    return Status(kind != "file", int(facts.get("size", 0)), _seconds(facts.get("modify", "")))


def found_in(line: bytes) -> Found | None:
    """The entry that a line of MLSD names; None for the folder itself, links, and names that aren't UTF-8."""
    facts, _, raw = line.rstrip(b"\r\n").partition(b" ")
    try:
        name, status = raw.decode(), status_of(facts.decode())
    except ValueError:
        return None
    if status is None or not name or name in {".", ".."} or "/" in name:
        return None
    return Found(name, status)


def _facts(text: str) -> Iterator[tuple[str, str]]:
    for fact in text.split(";"):
        name, equals, value = fact.partition("=")
        if equals:
            yield name.lower(), value


def _seconds(text: str) -> float:
    """YYYYMMDDHHMMSS[.sss] in UTC as seconds since the epoch; 0 where it isn't told."""
    if not text:
        return 0.0
    whole, _, fraction = text.partition(".")
    return calendar.timegm(time.strptime(whole, "%Y%m%d%H%M%S")) + float(f"0.{fraction or 0}")


def _untrusted(error: ssl.SSLCertVerificationError, options: FtpOptions) -> StoreError:
    if error.verify_code in _UNTRUSTED_NAME:
        fix = "use the host name that stands in the certificate"
    else:
        fix = "set SSL_CERT_FILE to a PEM file with the certificate of its authority"
    what = f"The certificate of {options.host} isn't trusted ({error.verify_message}): {fix}."
    return _unusable(Kind.CONFIG, what, options)


def _unusable(kind: Kind, message: str, options: FtpOptions) -> StoreError:
    return store_error(kind, message, store=options.name)
