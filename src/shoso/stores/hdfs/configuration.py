"""The Hadoop configuration of a client, and where a URI leads by it.

`core-site.xml` and `hdfs-site.xml` are looked for as Hadoop does: in HADOOP_CONF_DIR, else in the folders of
CLASSPATH, else in HADOOP_HOME/etc/hadoop. The library reads such files too, but leaves `${…}` unexpanded,
finds nothing by CLASSPATH, knows no default port and wants a fallback in every mount table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from shoso.core.locations import shown
from shoso.errors import ConfigError

Properties = Mapping[str, str]

FILES = ("core-site.xml", "hdfs-site.xml")
DEFAULT_PORT = 8020
SCHEMES = {"hdfs", "viewfs"}

_ROUNDS = 20
_AUTHORITY = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?")
_VARIABLE = re.compile(r"\$\{([^${}]+)\}")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a cluster: `address` is hdfs://host:port or hdfs://name-service, `folder` is absolute.

    `namenodes` is how many NameNodes may answer there, `user` who the URI says that Shoso is.
    """

    address: str
    folder: str
    namenodes: int = 1
    user: str = ""
    properties: Properties = field(default_factory=dict, repr=False)


def load(environment: Mapping[str, str]) -> dict[str, str]:
    """The properties of the site files. Raises ConfigError."""
    found: dict[str, str] = {}
    for variable, folder in _folders(environment):
        for path in (folder / name for name in FILES):
            if path.is_file():
                found.update(_properties(variable, path))
        if found:
            break
    return found


def place(uri: str, properties: Properties, directory: str = "") -> Place:
    """Where the URI leads; `directory` is what HADOOP_CONF_DIR says, to be shown. Raises ConfigError."""
    parts = urlsplit(uri)
    if parts.password is not None:
        raise ConfigError(shown(uri), "HDFS takes no password; write hdfs://user@host:port/path.")
    scheme, authority = parts.scheme, parts.netloc.rpartition("@")[2]
    if not authority:
        scheme, authority = _default(uri, properties, directory)
    folder = "/" + parts.path.strip("/")
    if scheme == "viewfs":
        authority, folder = _mounted(uri, authority, folder, properties)
    address, namenodes = _address(uri, authority, properties)
    return Place(address, folder, namenodes, parts.username or "", properties)


def extra(text: str) -> dict[str, str]:
    """`key=value,key=value`, as MLflow has it; raises ValueError."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    if wrong := [key for key, sign, _ in pairs if not (key.strip() and sign)]:
        raise ValueError(f"'{wrong[0]}' is no key=value")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _folders(environment: Mapping[str, str]) -> list[tuple[str, Path]]:
    """Where the site files may be, and the variable that says so."""
    if given := environment.get("HADOOP_CONF_DIR"):
        return [("HADOOP_CONF_DIR", Path(given))]
    entries = [entry for entry in environment.get("CLASSPATH", "").split(":") if entry]
    folders = [("CLASSPATH", Path(entry)) for entry in entries if not entry.endswith((".jar", "*"))]
    if home := environment.get("HADOOP_HOME"):
        folders.append(("HADOOP_HOME", Path(home, "etc", "hadoop")))
    return folders


def _properties(variable: str, path: Path) -> dict[str, str]:
    from xml.etree import ElementTree as ET

    try:
        tree = ET.parse(path)  # noqa: S314  # the operator's own file
    except (ET.ParseError, OSError) as error:
        raise ConfigError(variable, f"{path} can't be read: {error}.") from error
    pairs = ((entry.findtext("name"), entry.findtext("value")) for entry in tree.iter("property"))
    return {name.strip(): (value or "").strip() for name, value in pairs if name}


def expanded(properties: Properties) -> dict[str, str]:
    """The same with `${key}` replaced by the value of that key; what is unknown stays."""
    return {key: _expanded(value, properties) for key, value in properties.items()}


def _expanded(value: str, properties: Properties) -> str:
    for _ in range(_ROUNDS):
        before, value = value, _VARIABLE.sub(lambda match: properties.get(match[1], match[0]), value)
        if value == before:
            break
    return value


def _default(uri: str, properties: Properties, directory: str) -> tuple[str, str]:
    """Scheme and authority of the configuration's default file system."""
    found = urlsplit(properties.get("fs.defaultFS", ""))
    if found.scheme not in SCHEMES or not found.netloc:
        now = f" (now '{directory}')" if directory else ""
        raise ConfigError(
            shown(uri),
            "it names no NameNode, and no fs.defaultFS says which; write hdfs://host:port/path, or set"
            f" HADOOP_CONF_DIR{now} to the folder of core-site.xml.",
        )
    return found.scheme, found.netloc.rpartition("@")[2]


def _mounted(uri: str, table: str, folder: str, properties: Properties) -> tuple[str, str]:
    """Authority and folder that a mount table of viewfs gives for `folder`: the longest link counts."""
    mounts = dict(_links(f"fs.viewfs.mounttable.{table}.", properties))
    above = [link for link in mounts if folder == link or folder.startswith(link + "/")]
    if not above:
        known = ", ".join(sorted(mounts)) or "none"
        message = f"no link of fs.viewfs.mounttable.{table} leads there; those configured are: {known}."
        raise ConfigError(shown(uri), message)
    link = max(above, key=len)
    target = urlsplit(mounts[link])
    if target.scheme != "hdfs" or not target.netloc:
        message = f"its link '{link or '/'}' leads to {mounts[link]}; only hdfs://… will do."
        raise ConfigError(shown(uri), message)
    inner = f"{target.path.strip('/')}/{folder[len(link) :].strip('/')}".strip("/")
    return target.netloc, f"/{inner}"


def _links(start: str, properties: Properties) -> Iterator[tuple[str, str]]:
    """Where each path of a mount table leads; "" is for whatever no other leads anywhere."""
    for key, target in properties.items():
        if key in {f"{start}linkFallback", f"{start}linkMergeSlash"}:
            yield "", target
        elif key.startswith(f"{start}link."):
            yield key.removeprefix(f"{start}link.").rstrip("/"), target


def _address(uri: str, authority: str, properties: Properties) -> tuple[str, int]:
    """The address that the library takes, and how many NameNodes stand behind it."""
    if listed := properties.get(f"dfs.ha.namenodes.{authority}", ""):
        names = [name.strip() for name in listed.split(",")]
        addresses = [f"dfs.namenode.rpc-address.{authority}.{name}" for name in names]
        if not any(properties.get(address) for address in addresses):
            known = ", ".join(addresses)
            raise ConfigError(known, "isn't set; write host:port of each NameNode in hdfs-site.xml.")
        return f"hdfs://{authority}", len(names)
    found = _AUTHORITY.fullmatch(authority)
    if found is None or int(found[1] or DEFAULT_PORT) not in range(1, 65536):
        message = (
            f"'{authority}' is no host:port of a NameNode; correct it where it stands (the URI, fs.defaultFS"
            f" or a link of viewfs), e.g. namenode.example.com:{DEFAULT_PORT}."
        )
        raise ConfigError(shown(uri), message)
    return f"hdfs://{authority}" if found[1] else f"hdfs://{authority.rstrip(':')}:{DEFAULT_PORT}", 1
