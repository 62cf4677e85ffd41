"""Where the servers keep what was measured: a SQLite file each, or a database each of one PostgreSQL.

The PostgreSQL is Debian's, on disk, with fsync as it comes; it is started for the run and ends with it.
"""

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psycopg
from tests.servers import postgres
from tests.servers.processes import Launcher

from benchmarks import seed
from benchmarks.rows import Sizes

DURABLE = "-cfsync=on -cfull_page_writes=on -csynchronous_commit=on -cshared_buffers=256MB"


class Databases(Protocol):
    """Gives each server a database of its own, in or for its `home`."""

    drivers: tuple[str, str]
    """What MLflow's environment needs to open one, and Shoso's extra."""

    def fresh(self, home: Path) -> str:
        """The URI of a new, empty one."""
        ...

    def seeded(self, home: Path, sizes: Sizes) -> str:
        """The URI of a copy of the seeded one."""
        ...


class Sqlite:
    """A file in the server's home."""

    drivers = ("", "")

    def __init__(self, scratch: Path, stack: ExitStack) -> None:
        del scratch, stack

    def fresh(self, home: Path) -> str:
        """See Databases."""
        return f"sqlite:///{home / 'tracking.db'}"

    def seeded(self, home: Path, sizes: Sizes) -> str:
        """See Databases."""
        shutil.copyfile(seed.seeded(sizes.runs, sizes.points), home / "tracking.db")
        return self.fresh(home)

    def filled(self, home: Path, sizes: Sizes) -> str:
        """The URI of one that is made for the caller alone."""
        seed.make_empty(uri := self.fresh(home))
        seed.fill(home / "tracking.db", sizes.runs, sizes.points)
        return uri


class Postgres:
    """A database of a server that is started with the first."""

    drivers = ("psycopg2-binary", "postgres")

    def __init__(self, scratch: Path, stack: ExitStack) -> None:
        folder = Path(
            tempfile.mkdtemp(prefix="shoso-bench-postgres-", dir=scratch.parent)
        )  # it is another user's
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "data").mkdir()  # else it would be in memory
        launcher = Launcher("postgres", folder)
        stack.callback(launcher.stop)
        self._facts = postgres.start(launcher, DURABLE)
        self._template = ""

    def fresh(self, home: Path) -> str:
        """See Databases."""
        return self._uri(postgres.create(self._facts))

    def seeded(self, home: Path, sizes: Sizes) -> str:
        """See Databases."""
        self._template = self._template or self.filled(home, sizes).rpartition("/")[2]
        return self._uri(postgres.create(self._facts, self._template))

    def filled(self, home: Path, sizes: Sizes) -> str:
        """The URI of one that is made for the caller alone."""
        seed.make_empty(uri := self.fresh(home))
        fill(uri, sizes.runs, sizes.points)
        return uri

    def _uri(self, name: str) -> str:
        return postgres.uri(self._facts, name).replace("postgresql:", "postgresql+psycopg2:", 1)


def fill(uri: str, runs: int, points: int) -> None:
    """The seed's rows, copied into an empty PostgreSQL database."""
    plain = uri.replace("+psycopg2", "", 1)
    with psycopg.connect(plain) as connection, connection.cursor() as cursor:
        for tables in seed.all_rows(runs, points):
            for table, rows in tables.items():
                with cursor.copy(f"COPY {table} ({', '.join(seed.COLUMNS[table])}) FROM STDIN") as copy:  # type: ignore[arg-type]
                    for row in rows:
                        copy.write_row(row)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute("ANALYZE")


KINDS: dict[str, type[Sqlite | Postgres]] = {"sqlite": Sqlite, "postgres": Postgres}
