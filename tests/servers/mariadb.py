"""MariaDB, of Debian's packages, with its standard collation, which takes 'a' for 'A' and for 'a '."""

from __future__ import annotations

import os
from itertools import count

from tests.servers.processes import (
    AS_NOBODY,
    Facts,
    Launcher,
    free_ports,
    give_away,
    in_memory,
    mortal,
    program,
    run,
    shared,
)

_OPTIONS = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--innodb-doublewrite=OFF",
    "--innodb-log-file-size=16M",
    "--innodb-use-native-aio=OFF",
    "--innodb-flush-method=nosync",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--max-connections=300",
    "--max-allowed-packet=64M",
)

_names = count()


def server() -> Facts:
    """The running server: `port`, `folder`. The user `test` may do all, with the password `test`."""
    return shared("mariadb", start)


def start(launcher: Launcher, more: str = "", port: int | None = None) -> Facts:
    """Start a server in the launcher's folder, on the data that are there already, if any."""
    folder, port = launcher.folder, port or free_ports(1)[0]
    data = in_memory(folder, "data")
    give_away(folder, data)
    fresh = not (data / "mysql").exists()
    if fresh:
        run(*AS_NOBODY, program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db",
            "--auth-root-authentication-method=normal", "--skip-name-resolve")  # fmt: skip
    facts = {"port": port, "folder": str(folder), "data": str(data)}
    launcher.start(
        *AS_NOBODY, *mortal("TERM"), program("mariadbd"), "--no-defaults", f"--datadir={data}",
        f"--socket={folder}/s", f"--port={port}", "--bind-address=127.0.0.1",
        f"--pid-file={folder}/pid", *_OPTIONS, *more.split(),
    )  # fmt: skip
    launcher.until(lambda: _answers(facts), "MariaDB")
    if fresh:
        sql(facts, "CREATE USER 'test'@'127.0.0.1' IDENTIFIED BY 'test'")
        sql(facts, "GRANT ALL ON *.* TO 'test'@'127.0.0.1' WITH GRANT OPTION")
    return facts


def uri(facts: Facts, database: str, user: str = "test", password: str = "test") -> str:
    """The URI of a database there; TLS is off: to read the machine's authorities takes 50 ms a connection."""
    return f"mysql+pymysql://{user}:{password}@127.0.0.1:{facts['port']}/{database}?ssl_disabled=true"


def sql(facts: Facts, statement: str, database: str = "") -> str:
    """What the client prints for a statement: rows in lines, values between tabs."""
    client = [program("mariadb"), "--no-defaults", "-S", f"{facts['folder']}/s", "-uroot", "-N", "-B"]
    return run(*client, *([database] if database else []), "-e", statement).strip()


def create(facts: Facts, collation: str = "utf8mb4_general_ci") -> str:
    """The name of a new, empty database."""
    name = f"t{os.getpid()}_{next(_names)}"
    sql(facts, f"CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {collation}")
    return name


def _answers(facts: Facts) -> bool:
    try:
        return sql(facts, "SELECT 1") == "1"
    except RuntimeError:
        return False
