"""PostgreSQL, of Debian's packages: fsync is off, for no test cuts the power."""

from __future__ import annotations

import os
import signal
from itertools import count
from pathlib import Path

from tests.servers.processes import (
    AS_NOBODY,
    Facts,
    Launcher,
    cannot,
    free_ports,
    give_away,
    in_memory,
    mortal,
    run,
    shared,
)

OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "dynamic_shared_memory_type": "mmap",
    "deadlock_timeout": "50ms",
}

_names = count()


def server() -> Facts:
    """The running server: `port`, `folder`, `data`, `bin`. Everybody there is trusted; `test` may do all."""
    return shared("postgres", start)


def start(launcher: Launcher, more: str = "", port: int | None = None) -> Facts:
    """Start a server in the launcher's folder, on the data that are there already, if any."""
    port = port or free_ports(1)[0]
    data, bin_ = in_memory(launcher.folder, "data"), binaries()
    give_away(launcher.folder, data)
    if not (data / "PG_VERSION").exists():
        run(*AS_NOBODY, bin_ / "initdb", "-D", data, "-U", "test", "-A", "trust", "--no-sync", "-E", "UTF8",
            "--locale=C.UTF-8")  # fmt: skip
        (data / "pg_hba.conf").write_text(
            "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
            "local all all trust\nhost replication all 127.0.0.1/32 trust\n"
        )
    options = [f"-c{name}={value}" for name, value in OPTIONS.items()]
    command = [bin_ / "postgres", "-D", data, "-p", str(port), "-k", launcher.folder, "-h", "127.0.0.1"]
    # At SIGTERM it waits for its clients to leave.
    launcher.start(*AS_NOBODY, *mortal("INT"), *command, *options, *more.split(), stop=signal.SIGINT)
    facts = {"port": port, "folder": str(launcher.folder), "data": str(data), "bin": str(bin_)}
    launcher.until(lambda: _answers(facts), "PostgreSQL")
    return facts


def follow(launcher: Launcher, primary: Facts) -> Facts:
    """Start a streaming replica of a server in the launcher's folder."""
    data = in_memory(launcher.folder, "data")
    give_away(launcher.folder, data)
    data.chmod(0o700)
    port = str(primary["port"])
    run(*AS_NOBODY, binaries() / "pg_basebackup", "-h", "127.0.0.1", "-p", port, "-U", "test", "-D", data,
        "-R", "--checkpoint=fast", "--no-sync")  # fmt: skip
    return start(launcher)


def binaries() -> Path:
    """Where Debian puts the newest version's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else cannot("there is no PostgreSQL; run tests/servers/install.sh")


def uri(facts: Facts, database: str, user: str = "test") -> str:
    """The URI of a database there."""
    return f"postgresql://{user}@127.0.0.1:{facts['port']}/{database}"


def sql(facts: Facts, statement: str, database: str = "postgres") -> str:
    """What psql prints for a statement: rows in lines, values between |."""
    psql = Path(facts["bin"]) / "psql"
    port = str(facts["port"])
    return run(psql, "-h", "127.0.0.1", "-p", port, "-U", "test", "-XAtq", "-v", "ON_ERROR_STOP=1",
               "-c", statement, database).strip()  # fmt: skip


def new_name() -> str:
    """A name for a database that no test has had."""
    return f"t{os.getpid()}_{next(_names)}"


def create(facts: Facts, template: str = "template0") -> str:
    """The name of a new database, a copy of that one: a few files, no statement of its own."""
    name = new_name()
    sql(facts, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return name


def _answers(facts: Facts) -> bool:
    try:
        return sql(facts, "SELECT 1") == "1"
    except RuntimeError:
        return False
