"""A move takes the storages themselves: a server deletes what is being moved at both places."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.e2e.servers import Server
from tests.maintenance import world
from tests.maintenance.world import World

from shoso.errors import ConfigError
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Asked


async def test_a_place_behind_a_server_is_refused_and_nothing_is_deleted(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    server = Server(tmp_path, "--allow-artifact-root", str(there)).start()
    flags = {"backend_store_uri": server.database}
    near = World(flags | {"artifacts_destination": str(server.artifacts)}, {})
    behind = World(flags | {"tracking_uri": server.uri}, {})
    try:
        await near.run(await near.experiment("e"), {"a": b"a"})
        asked = Asked("mlflow-artifacts:/", str(there))
        with pytest.raises(ConfigError, match="--artifacts-destination"):
            await migration.migrate(behind.estate, asked)
        assert (await migration.migrate(near.estate, asked)).failed == 0
        for end in (migration.finish, migration.rollback):
            refused = await end(behind.estate, [], running=True)
            assert {"isn't named" in one.error for one in refused.outcomes} == {True}
        assert [len([*folder.rglob("artifacts/a")]) for folder in (server.artifacts, there)] == [1, 1]
        assert (await migration.finish(near.estate, [], running=True)).failed == 0
        assert [len([*folder.rglob("artifacts/a")]) for folder in (server.artifacts, there)] == [0, 1]
    finally:
        await behind.close()
        await near.close()
        server.stop()


async def test_what_another_server_keeps_isnt_said_to_be_where_it_was_never_copied(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    flags, _ = await world.make("sqlite", "local", tmp_path)
    opened = World(flags, {})
    await opened.run(await opened.experiment("own"), {"a": b"a"})
    await opened.experiment("other", "mlflow-artifacts://other:5000/9")
    asked = Asked("mlflow-artifacts:/", str(there))
    try:
        with pytest.raises(ConfigError, match=r"--tracking-uri: doesn't name other:5000"):
            await migration.migrate(opened.estate, asked)
        assert [*there.iterdir()] == []
        assert (await migration.migrate(opened.estate, replace(asked, experiments=["own"]))).failed == 0
    finally:
        await opened.close()
