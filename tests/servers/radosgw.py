"""Ceph's S3 gateway on a cluster of one: real signatures, conditions, multipart uploads.

Objects are kept in memory for tests; `bluestore` writes them to a file, as benchmarks want it. What is
deleted leaves the memory a minute later, not after two hours. The monitor gathers changes for no second, and
who waits for it asks again soon: 5 s to the first object, not 25.
"""

from __future__ import annotations

import os
import uuid
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import botocore.session
from botocore.loaders import create_loader
from tests.servers.processes import Facts, Launcher, free_ports, program, run, shared
from tests.servers.target import Target

ACCESS_KEY, SECRET_KEY = "AKIASHOSOTEST", "shoso-test-secret-of-radosgw"
REGION = "default"

botocore.session.create_loader = cache(create_loader)  # or each store reads a megabyte of JSON: 100 ms

_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon}]
mon initial members = a
public addr = 127.0.0.1
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
run dir = {folder}
admin socket = {folder}/$name.$pid.asok
pid file = {folder}/$name.pid
log file = {folder}/$name.log
crash dir = {folder}
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon pg warn min per osd = 0
mon max pg per osd = 1000
mon data avail crit = 1
mon data avail warn = 2
paxos propose interval = 0.02
paxos min wait = 0.01
objecter tick interval = 0.2
[mon.a]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = {kind}
memstore device bytes = 4294967296
bluestore block size = 17179869184
osd memory target = 1073741824
osd class load list = *
osd class default list = *
[client]
rgw frontends = beast endpoint=127.0.0.1:{port} {options}
rgw data = {folder}/rgw
rgw enable usage log = false
rgw run sync thread = false
rgw enable ops log = false
rgw override bucket index max shards = 1
rgw dns name = localhost
rgw gc obj min wait = 60
rgw gc processor period = 20
rgw gc processor max time = 20
"""

_HASTE = "tcp_nodelay=1"
"""Otherwise many a reply waits 40 ms for the acknowledgement of its first packet; benchmarks measure that."""


class Radosgw:
    """A cluster of one in a folder; the gateway can be killed and started again."""

    def __init__(self, launcher: Launcher, kind: str) -> None:
        self._launcher, self._folder, self._kind = launcher, launcher.folder, kind
        self._configuration = self._folder / "ceph.conf"
        self._keyring = self._folder / "keyring"
        mon, self.port = free_ports(2)
        self._fsid, self._mon = str(uuid.uuid4()), mon

    def start(self) -> None:
        """Make the cluster and start all of it."""
        for name in ("mon", "osd", "rgw"):
            (self._folder / name).mkdir()
        self._configuration.write_text(
            _CONFIGURATION.format(
                fsid=self._fsid,
                mon=self._mon,
                folder=self._folder,
                kind=self._kind,
                port=self.port,
                options=_HASTE if self._kind == "memstore" else "",
            )
        )
        self._start_monitor()
        self._start_storage()
        self.start_gateway()
        self._make_user()

    def start_gateway(self) -> None:
        """Start the gateway, at the same port each time."""
        self.gateway = self._daemon("radosgw", "-n", "client.admin", "--keyring", self._keyring)
        self._launcher.until_port(self.port)

    def kill_gateway(self) -> None:
        """End the gateway at once."""
        self.gateway.kill()
        self.gateway.wait()
        self._launcher.processes.remove(self.gateway)

    def _daemon(self, name: str, *arguments: str | Path) -> Any:
        return self._launcher.start(program(name), "-c", self._configuration, *arguments, "-f")

    def _run(self, name: str, *arguments: str | Path) -> str:
        return run(program(name), *arguments, env={"CEPH_CONF": str(self._configuration)})

    def _key(self, keyring: Path, name: str, *caps: str, new: bool = False) -> None:
        pairs = [word for cap in caps for word in ("--cap", *cap.split("=", 1))]
        create = ["--create-keyring"] if new else []
        self._run("ceph-authtool", *create, keyring, "--gen-key", "-n", name, *pairs)

    def _start_monitor(self) -> None:
        self._key(self._keyring, "mon.", "mon=allow *", new=True)
        self._key(self._keyring, "client.admin", "mon=allow *", "osd=allow *", "mgr=allow *")
        self._key(self._keyring, "osd.0", "osd=allow *", "mon=allow profile osd", "mgr=allow profile osd")
        monmap = self._folder / "monmap"
        address = f"[v2:127.0.0.1:{self._mon}]"
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", self._fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", self._keyring)
        self._daemon("ceph-mon", "-i", "a")
        self._launcher.until_port(self._mon)

    def _start_storage(self) -> None:
        name = str(uuid.uuid4())
        self._run("ceph", "osd", "new", name)
        keyring = ("--keyring", self._keyring)
        self._run("ceph-osd", "-i", "0", *keyring, "--no-mon-config", "--mkfs", "--osd-uuid", name)
        self._daemon("ceph-osd", "-i", "0", *keyring)

    def _make_user(self) -> None:
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        user = ("--uid=shoso", "--display-name=shoso")
        self._run("radosgw-admin", "--keyring", self._keyring, "user", "create", *user, *keys)


def started(launcher: Launcher, kind: str = "memstore") -> Radosgw:
    """A gateway of one's own, for those that kill it or measure it."""
    gateway = Radosgw(launcher, kind)
    gateway.start()
    return gateway


def _facts(launcher: Launcher) -> Facts:
    return {"port": started(launcher).port}


def port() -> int:
    """The port of the gateway that all tests of this process share."""
    return int(shared("radosgw", _facts)["port"])


def environment(at: int | None = None) -> dict[str, str]:
    """The settings that open it, at its own port or at that of something in front of it."""
    return {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{at or port()}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(at: int | None = None, connections: int = 10) -> Any:
    """A plain client of another make, for going around the store."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{at or port()}", region_name=REGION,
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required",
                      response_checksum_validation="when_required", max_pool_connections=connections),
    )  # fmt: skip


_client = cache(client)
_numbers = count()


def bucket() -> str:
    """A new bucket."""
    name = f"shoso-{os.getpid()}-{next(_numbers)}"
    _client().create_bucket(Bucket=name)
    return name


def fresh() -> Target:
    """A new bucket, and the ways around the store; all of it, since the longest key has no byte to spare."""
    return _target(bucket())


def emptied() -> Target:
    """The same bucket again, emptied: making one takes the gateway a hundred times as long."""
    name = _reused()
    found = _client().list_objects_v2(Bucket=name).get("Contents", [])
    while found:
        _client().delete_objects(Bucket=name, Delete={"Objects": [{"Key": one["Key"]} for one in found]})
        found = _client().list_objects_v2(Bucket=name).get("Contents", [])
    for one in _client().list_multipart_uploads(Bucket=name).get("Uploads", []):
        _client().abort_multipart_upload(Bucket=name, Key=one["Key"], UploadId=one["UploadId"])
    return _target(name)


@cache
def _reused() -> str:
    return bucket()


@cache
def bare(name: str, at: int | None = None) -> Any:
    """A bucket by obstore; one takes 20 ms to make."""
    from obstore.store import S3Store

    return S3Store(
        name, endpoint=f"http://127.0.0.1:{at or port()}", region=REGION, access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY, client_options={"allow_http": True},
    )  # fmt: skip


def _target(name: str) -> Target:
    import obstore

    around = bare(name)

    def put(key: str, data: bytes) -> None:
        obstore.put(around, key, data, use_multipart=False)

    def get(key: str) -> bytes | None:
        try:
            return bytes(obstore.get(around, key).bytes())
        except FileNotFoundError:
            return None

    return Target(f"s3://{name}", environment(), put, get, all_parts=True, blind=True)
