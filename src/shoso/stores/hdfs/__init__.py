"""hdfs: a folder of an HDFS cluster: `hdfs://host:port/path`, `hdfs://name-service/path`, `hdfs:/path` of the
configuration's default file system, `viewfs://cluster/path`. No JVM: hdfs-native speaks the protocols.

Durable: a write returns when the NameNode has every block as complete, and each DataNode of a block's
pipeline has synced it to its disk (the library asks so with the last packet of each block). Atomic: bytes go
to `.shoso/drafts` and get their name in one rename; without replacing, exactly one wins. No digests are kept:
the library sets no extended attributes; HDFS checks its own checksums on every read and write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoso.core.locations import shown
from shoso.core.options import Setting, from_environment, silence, text
from shoso.core.store import Store, StoreInfo
from shoso.errors import ConfigError
from shoso.stores.hdfs.configuration import Place, expanded, extra, load, place
from shoso.stores.hdfs.identity import act_as, use_tickets

if TYPE_CHECKING:
    from shoso.stores.hdfs.clients import Access
    from shoso.stores.hdfs.system import HdfsOptions

SILENCE = 120.0
"""Seconds without an answer after which a call is given up; HDFS itself gives a DataNode 60."""

STUCK = 5.0
"""Seconds without an answer after which a call that is given up takes its connection with it."""

UMASK = "fs.permissions.umask-mode"

SETTINGS = (
    silence(SILENCE),
    Setting("user", "HADOOP_USER_NAME", text, "", "The HDFS user that Shoso is; by default the process's."),
    Setting(
        "kerberos_user",
        "MLFLOW_KERBEROS_USER",
        text,
        "",
        "The Kerberos principal that Shoso is on HDFS; without Kerberos, the HDFS user.",
    ),
    Setting(
        "ticket_cache",
        "MLFLOW_KERBEROS_TICKET_CACHE",
        text,
        "",
        "The cache of Kerberos tickets for HDFS; by default that of KRB5CCNAME.",
    ),
    Setting(
        "extra",
        "MLFLOW_PYARROW_EXTRA_CONF",
        extra,
        {},
        "Further properties of the Hadoop configuration, key=value,key=value.",
    ),
    Setting("conf_dir", "HADOOP_CONF_DIR", text, "", "The folder of core-site.xml and hdfs-site.xml."),
    Setting("classpath", "CLASSPATH", text, "", "Where these two are looked for without HADOOP_CONF_DIR."),
    Setting("home", "HADOOP_HOME", text, "", "Where they are looked for at last, in etc/hadoop."),
)


def open_store(uri: str, environment: Mapping[str, str]) -> Store:
    """The store at an `hdfs:` or `viewfs:` URI. Raises ConfigError."""
    from shoso.stores.files.store import FileStore
    from shoso.stores.hdfs.system import HdfsFiles

    values = from_environment(SETTINGS, environment)
    properties = expanded({**load(environment), **values["extra"]})
    found = place(uri, properties, values["conf_dir"])
    options = _options(uri, found, values)
    name = f"{found.address}{found.folder}"
    return FileStore(StoreInfo("hdfs", name, values["silence"]), HdfsFiles(options))


def _options(uri: str, found: Place, values: Mapping[str, Any]) -> HdfsOptions:
    from shoso.stores.hdfs.system import HdfsOptions

    stuck = min(STUCK, (values["silence"] or STUCK) / 2)
    return HdfsOptions(_access(uri, found, values), found.folder, _umask(found), stuck)


def _umask(found: Place) -> int:
    text = found.properties.get(UMASK, "022")
    if not re.fullmatch("[0-7]{1,4}", text):
        raise ConfigError(UMASK, f"'{text}' isn't octal; write it as 022 or 077.")
    return int(text, 8)


def _access(uri: str, found: Place, values: Mapping[str, Any]) -> Access:
    from shoso.stores.hdfs.clients import Access

    # Tries of the library beyond one for each NameNode would multiply with those of the retry layer.
    properties = {**found.properties, "dfs.client.failover.max.attempts": str(found.namenodes - 1)}
    principal, cache = values["kerberos_user"], values["ticket_cache"]
    if properties.get("hadoop.security.authentication", "simple") == "simple":
        user = act_as(found.user or principal or values["user"], shown(uri))
        return Access(found.address, user, properties)
    if cache and not principal:
        use_tickets(cache)
        cache = ""
    return Access(found.address, principal or "of the ticket", properties, principal or None, cache or None)
