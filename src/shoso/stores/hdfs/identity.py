"""Who Shoso is on a cluster.

Without Kerberos, hdfs-native takes the user from HADOOP_USER_NAME of the process, each time it connects: it
can't be told one for each client. So a process is one user for all the clusters that it opens. With Kerberos
it can be told a principal; without one, the tickets are those of KRB5CCNAME.
"""

from __future__ import annotations

import os
import pwd

from shoso.errors import ConfigError

_opened: set[str] = set()


def act_as(user: str, uri: str) -> str:
    """Be that user, or the process's own where it is ""; who that is. Raises ConfigError."""
    wanted = user or _own()
    if others := _opened - {wanted}:
        raise ConfigError(
            uri,
            f"this process is the HDFS user '{others.pop()}' already, and can't be '{wanted}' as well; open"
            " the two in different processes.",
        )
    _opened.add(wanted)
    os.putenv("HADOOP_USER_NAME", wanted)  # for the library, not for Python
    return wanted


def use_tickets(cache: str) -> None:
    """Take the tickets of that cache, for whatever this process does from now on."""
    os.putenv("KRB5CCNAME", cache)


def _own() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "unknown"  # a container's user without a name; the library says so as well
