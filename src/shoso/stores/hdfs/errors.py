"""What hdfs-native raises, in the words of a `FileSystem` driver.

The library hands Java's exceptions on as the text `RPCError("class", "message")`: the class is the code, the
message is only shown, without its stack trace. A lost connection is an OSError, with the number of the
operating system's error in its text if it has one.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.stores.hdfs.names import plain

_RPC = re.compile(r'(?:Fatal)?RPCError\("(?:[\w.]+\.)?([\w$]+)", "(.*)"\)', re.DOTALL)
_OTHER = re.compile(r"(\w+)\b")
_NUMBER = re.compile(r" ?\(os error (\d+)\)")
_WORDS = re.compile(r'\w+\("([^:"\[]+)')
_DENIED = re.compile(r'Permission denied: user=(.+?), access=(\w+), inode="(.*)":([^":]+:[^":]+:\S+)')
_TRACE = re.compile(r"(?:\\n|\n).*", re.DOTALL)
_GSSAPI = re.compile(r'GSSAPIError\(.*"((?:[^"\\]|\\.)*)"\)', re.DOTALL)
_PANIC = "PanicException"
_CREDENTIALS = {"GSSAPIError", "SASLError", "NoSASLMechanism"}

_NUMBERS = {
    "FileNotFoundException": errno.ENOENT,
    "ParentNotDirectoryException": errno.ENOTDIR,
    "FileAlreadyExistsException": errno.EEXIST,
    "PathIsNotEmptyDirectoryException": errno.ENOTEMPTY,
    "FSLimitException$PathComponentTooLongException": errno.ENAMETOOLONG,
    "InvalidPathException": errno.EINVAL,
    "UnresolvedLinkException": errno.ELOOP,
}
_QUOTAS = {
    "NSQuotaExceededException",
    "DSQuotaExceededException",
    "QuotaByStorageTypeExceededException",
    "FSLimitException$MaxDirectoryItemsExceededException",
}


@dataclass(frozen=True, slots=True)
class Whose:
    """Who asks whom, for the sentences: the address of the NameNode or name service, and the HDFS user."""

    address: str
    user: str


def translated(error: BaseException, path: str, whose: Whose) -> Exception:
    """The error as the driver raises it; what is no error of the library's comes back as it is."""
    if isinstance(error, FileNotFoundError | FileExistsError | IsADirectoryError):
        return _of_number(_BUILTINS[type(error)], path)
    if isinstance(error, OSError):
        return _unreachable(str(error), whose)
    if isinstance(error, NotImplementedError):
        return store_error(Kind.UNSUPPORTED, f"'{path}' needs what hdfs-native can't do: {error}.")
    if type(error).__name__ == _PANIC:
        return _unreachable(f"hdfs-native panicked: {error}", whose)
    return _of_text(str(error), path, whose)


_BUILTINS: dict[type[BaseException], int] = {
    FileNotFoundError: errno.ENOENT,
    FileExistsError: errno.EEXIST,
    IsADirectoryError: errno.EISDIR,
}


def _of_number(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


def _of_text(text: str, path: str, whose: Whose) -> Exception:
    if found := _RPC.match(text):
        return _of_java(found[1], _TRACE.sub("", found[2]).replace('\\"', '"'), path, whose)
    name = match[1] if (match := _OTHER.match(text)) else ""
    if name in _CREDENTIALS:
        return _unauthenticated(text, whose)
    if name == "BlocksNotFound":
        message = f"No live DataNode of {whose.address} has all of '{path}'; see 'hdfs fsck {path}'."
        return store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON)
    return _unreachable_data(text, whose)


def _of_java(name: str, message: str, path: str, whose: Whose) -> Exception:
    if name in _NUMBERS:
        return _of_number(_NUMBERS[name], path)
    if name in _QUOTAS:
        return store_error(Kind.NO_SPACE, f"'{path}' doesn't fit into its quota: {message}")
    return _SENTENCES.get(name, _other)(message, path, whose)


def _other(message: str, path: str, whose: Whose) -> Exception:
    return OSError(errno.EIO, message, path)


def _forbidden(message: str, path: str, whose: Whose) -> StoreError:
    if "authentication is not enabled" in message:  # the same class for who isn't let in at all
        return _unauthenticated(message, whose)
    if found := _DENIED.search(message):
        user, access, place, owner = found.groups()
        return store_error(
            Kind.FORBIDDEN,
            f"The HDFS user '{user}' may not do that: it needs {access} on '{plain(place)}', which is"
            f" {owner}. Let another user do it (HADOOP_USER_NAME, or the Kerberos ticket), or have the owner"
            " or the superuser make the folder and give it to this one (hdfs dfs -mkdir, -chown, -chmod).",
        )
    return store_error(
        Kind.FORBIDDEN,
        f"The HDFS user '{whose.user}' may not do that to '{path}'; let another user do it (HADOOP_USER_NAME,"
        f" or the Kerberos ticket), or give it the right: {message}",
    )


def _unauthenticated(message: str, whose: Whose) -> StoreError:
    words = found[1] if (found := _GSSAPI.match(message)) else message
    return store_error(
        Kind.UNAUTHENTICATED,
        f"{whose.address} doesn't know who Shoso is: {words}. Get a Kerberos ticket (kinit), name its cache"
        " in MLFLOW_KERBEROS_TICKET_CACHE, and set hadoop.security.authentication=kerberos in core-site.xml.",
    )


def _safe_mode(message: str, path: str, whose: Whose) -> StoreError:
    return store_error(
        Kind.UNAVAILABLE,
        f"The NameNode of {whose.address} is in safe mode and changes nothing; wait until its DataNodes have"
        " reported, or end it with 'hdfs dfsadmin -safemode leave'.",
        retry=Retry.SOON,
    )


def _standby(message: str, path: str, whose: Whose) -> StoreError:
    return store_error(
        Kind.UNAVAILABLE,
        f"{whose.address} is a NameNode on standby; name the name service (dfs.nameservices of hdfs-site.xml"
        " in HADOOP_CONF_DIR) in the URI instead of one NameNode.",
        retry=Retry.SOON,
    )


def _busy(message: str, path: str, whose: Whose) -> StoreError:
    return store_error(Kind.THROTTLED, f"{whose.address} is too busy: {message}.", retry=Retry.SOON)


def _lost(message: str, path: str, whose: Whose) -> StoreError:
    message = f"{whose.address} took '{path}' from its writer: {message}."
    return store_error(Kind.UNAVAILABLE, message, retry=Retry.SOON)


_SENTENCES: dict[str, Callable[[str, str, Whose], Exception]] = {
    "AccessControlException": _forbidden,
    "AuthorizationException": _forbidden,
    "SafeModeException": _safe_mode,
    "StandbyException": _standby,
    "RetriableException": _busy,
    "RpcServerException": _busy,
    "LeaseExpiredException": _lost,
    "RecoveryInProgressException": _lost,
}


def _unreachable(text: str, whose: Whose) -> StoreError:
    number = int(found[1]) if (found := _NUMBER.search(text)) else 0
    why = os.strerror(number) if number else text
    return store_error(
        Kind.UNAVAILABLE,
        f"No NameNode of {whose.address}, or none of its DataNodes, can be reached: {why}. Check host and"
        " port (dfs.namenode.rpc-address, usually 8020; not the web interface's), HADOOP_CONF_DIR, and"
        " whether the cluster wants Kerberos (hadoop.security.authentication).",
        retry=Retry.SOON,
    )


def _brief(text: str) -> str:
    """The library's own words, without the values that it shows behind them."""
    return found[1] if (found := _WORDS.match(text)) else text


def _unreachable_data(text: str, whose: Whose) -> StoreError:
    return store_error(
        Kind.UNAVAILABLE,
        f"The DataNodes of {whose.address} failed: {_brief(text)}. See that they run and can be reached from"
        " here (dfs.client.use.datanode.hostname=true where they have other addresses inside).",
        retry=Retry.SOON,
    )
