"""A storage that is down, or a folder that isn't mounted: nothing is lost, or taken for missing."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from tests.maintenance import outages, world
from tests.maintenance.outages import Outage
from tests.maintenance.world import ROOT, World
from tests.servers import sshd
from tests.servers.processes import Launcher


async def test_an_sftp_server_that_goes_away_loses_nothing_and_reruns_finish(tmp_path, monkeypatch):
    outages.impatient(monkeypatch)
    with TemporaryDirectory(prefix="own-") as folder:
        launcher = Launcher("sshd", Path(folder))
        facts = sshd.start(launcher)
        where = f"127.0.0.1:{facts['port']}"
        flags = await world.database("sqlite", tmp_path)
        flags |= {"artifacts_destination": f"sftp://{where}{mkdtemp(dir=facts['data'])}/root"}
        opened = World(flags, {"SHOSO_SFTP_CONFIG": facts["config"], "SHOSO_STATE": str(tmp_path / "state")})

        def down() -> None:
            sshd.kill(launcher)

        def up() -> None:
            sshd.start(launcher, port=facts["port"])

        outage = Outage(opened, tmp_path, where, down, up)
        await outage.fill()
        for trash in (60, None):
            await outage.is_interrupted(trash)
        for source, to in ((ROOT, str(tmp_path / "there")), (str(tmp_path / "there"), ROOT)):
            await outage.is_left(monkeypatch, source, to)
        await outage.is_right()
        await opened.close()
        down()
