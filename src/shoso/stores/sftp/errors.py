"""asyncssh's exceptions as OSErrors, or as what no file system has a word for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh

from shoso.errors import Kind, Retry, StoreError, store_error

_STATUS = {
    asyncssh.FX_NO_SUCH_FILE: errno.ENOENT,
    asyncssh.FX_NO_SUCH_PATH: errno.ENOENT,
    asyncssh.FX_PERMISSION_DENIED: errno.EACCES,
    asyncssh.FX_BAD_MESSAGE: errno.EINVAL,  # OpenSSH's for EINVAL and ENAMETOOLONG
    asyncssh.FX_FILE_ALREADY_EXISTS: errno.EEXIST,
    asyncssh.FX_WRITE_PROTECT: errno.EROFS,
    asyncssh.FX_NO_SPACE_ON_FILESYSTEM: errno.ENOSPC,
    asyncssh.FX_QUOTA_EXCEEDED: errno.EDQUOT,
    asyncssh.FX_DIR_NOT_EMPTY: errno.ENOTEMPTY,
    asyncssh.FX_NOT_A_DIRECTORY: errno.ENOTDIR,
    asyncssh.FX_FILE_IS_A_DIRECTORY: errno.EISDIR,
    asyncssh.FX_INVALID_FILENAME: errno.EINVAL,
    asyncssh.FX_LINK_LOOP: errno.ELOOP,
    asyncssh.FX_OP_UNSUPPORTED: errno.EOPNOTSUPP,
}

UNSAID = errno.EIO
"""Where the server says FAILURE: it didn't work, for one of many reasons."""

SAID = "the server says no more than 'failure'; a quota, a limit on file sizes or the disk itself may be why"
_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ChannelOpenError)


@contextmanager
def translating(path: str) -> Iterator[None]:
    """What asyncssh raises within, as OSErrors that name the path."""
    try:
        yield
    except (asyncssh.Error, asyncssh.misc.ChannelListenError) as error:
        raise _translate(error, path) from error


def _translate(error: Exception, path: str) -> OSError:
    if isinstance(error, _LOST) or not isinstance(error, asyncssh.SFTPError):
        return ConnectionResetError(errno.ECONNRESET, f"the connection was lost ({error})", path)
    number = _STATUS.get(error.code, UNSAID)
    return OSError(number, SAID if number == UNSAID else os.strerror(number), path)


def unreachable(error: Exception, where: str) -> Exception:
    """Why no connection came about: what may be another way later, or what has to be changed first."""
    match error:
        case StoreError():
            return error
        case TimeoutError():
            return TimeoutError(errno.ETIMEDOUT, f"{where} doesn't answer")
        case ConnectionRefusedError():
            text = f"{where} can't be reached: nothing listens there; check the port, and that sshd runs."
            return store_error(Kind.UNAVAILABLE, text, retry=Retry.SOON)
        case asyncssh.PermissionDenied():
            return store_error(Kind.UNAUTHENTICATED, f"{where} refused the login: {_LOGIN}")
    if (fault := _to_change(error, where)) is not None:
        return store_error(Kind.CONFIG, fault)
    return ConnectionError(errno.ECONNABORTED, f"no connection came about ({error})")


def _to_change(error: Exception, where: str) -> str | None:
    """What is wrong with the settings, if it's them."""
    match error:
        case asyncssh.ConfigParseError():
            return f"The SSH configuration can't be read: {error}. Mend that line."
        case asyncssh.KeyImportError():
            return f"An identity file of SSH can't be read: {error}. {_IDENTITY}"
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return f"{where} has no algorithm in common with this client: {error}"
        case socket.gaierror():
            return None if error.errno == socket.EAI_AGAIN else f"{where} isn't known by that name: {_HOST}"
        case OSError() if error.filename:
            return f"{error.filename}, which SSH's configuration names, can't be read: {error.strerror}."
        case ValueError():
            return f"SSH's settings don't fit: {error}."
    return None


_LOGIN = (
    "give the user in the URI (sftp://user@host) or as User in ~/.ssh/config, and a key that the server"
    " knows, by IdentityFile there or an agent (SSH_AUTH_SOCK)."
)
_IDENTITY = "Name another by IdentityFile in ~/.ssh/config, or load it into an agent."
_HOST = "check the host in the URI, or HostName in ~/.ssh/config."
