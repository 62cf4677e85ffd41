"""PgBouncer, of Debian's packages, before a PostgreSQL: with few connections, one for each transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.servers.processes import AS_NOBODY, Facts, Launcher, free_ports, give_away, mortal, program

_CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 4
"""


@contextmanager
def before(postgres: Facts) -> Iterator[int]:
    """The port to ask; it stops on leaving."""
    with TemporaryDirectory(prefix="pgbouncer-") as name:
        folder, [port] = Path(name), free_ports(1)
        (folder / "users").write_text('"test" ""\n')
        text = _CONFIGURATION.format(server=postgres["port"], port=port, folder=folder)
        (folder / "ini").write_text(text)
        give_away(folder)
        launcher = Launcher("pgbouncer", folder)
        try:
            launcher.start(*AS_NOBODY, *mortal("TERM"), program("pgbouncer"), folder / "ini")
            launcher.until_port(port)
            yield port
        finally:
            launcher.stop()
