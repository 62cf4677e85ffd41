"""A database that is killed as rows are rewritten: all of them name one place, or all the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.maintenance.world import FILES, ROOT, World
from tests.servers import postgres
from tests.servers.processes import Launcher, free_ports

from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked
from shoso.metadata import relocating
from shoso.metadata.connect import Database
from shoso.metadata.dialects import served
from shoso.metadata.holdings import Kind

DURABLE = "-csynchronous_commit=on"


def _killing(moment: str, kill: Callable[[], None]) -> Callable[..., object]:
    """`Database.write`, for which the database dies when rows are rewritten."""
    real = Database.write

    async def write(self, work, *args, **kwargs):
        def worked(*given, **named):
            if moment == "before":
                kill()
            result = work(*given, **named)
            if moment == "within":
                kill()
            return result

        if work is not relocating.flip:
            return await real(self, work, *args, **kwargs)
        result = await real(self, worked, *args, **kwargs)
        if moment == "after":
            kill()
        return result

    return write


async def test_a_database_that_dies_as_rows_are_rewritten_loses_nothing_and_a_rerun_ends_the_move(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(served, "_PATIENCE_SECONDS", 0.2)
    (tmp_path / "artifacts").mkdir()
    there = str(tmp_path / "there")
    with TemporaryDirectory(prefix="own-") as folder, ExitStack() as stack:
        launcher, port = Launcher("postgres", Path(folder)), free_ports(1)[0]
        stack.callback(launcher.stop)
        facts = postgres.start(launcher, DURABLE, port)
        uri = postgres.uri(facts, postgres.create(facts))
        await Database.open(uri, artifact_root=ROOT).close()
        opened = World({"backend_store_uri": uri, "artifacts_destination": str(tmp_path / "artifacts")}, {})

        def kill() -> None:
            for process in launcher.processes:
                os.killpg(process.pid, signal.SIGQUIT)  # at once, as in a crash
                process.wait(10)
            launcher.processes.clear()

        for moment, place in (("before", ROOT), ("within", ROOT), ("after", there)):
            experiment = await opened.experiment(moment)
            runs = [await opened.run(experiment) for _ in range(2)]
            await opened.version(f"of {moment}", runs[0])
            with monkeypatch.context() as patched:
                patched.setattr(Database, "write", _killing(moment, kill))
                broken = await migration.migrate(opened.estate, Asked(ROOT, there, [experiment]))
            assert "database" in broken.stopped
            postgres.start(launcher, DURABLE, port)
            locations = [await opened.location(Kind.RUN, run) for run in runs]
            assert all(location.startswith(place) for location in locations)
            assert [await opened.files(location) for location in locations] == [FILES, FILES]
            done = await migration.migrate(opened.estate, Asked(ROOT, there, [experiment]))
            assert [(one.state, one.error) for one in done.outcomes] == [("moved", "")]
            assert not (await migration.finish(opened.estate, [], running=True)).failed
            assert await opened.files() == {}
            locations = [await opened.location(Kind.RUN, run) for run in runs]
            assert [await opened.files(location) for location in locations] == [FILES, FILES]
        await opened.close()
