"""`fsck --data --repair`, killed anywhere again and again: a rerun repairs the rest, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from tests.maintenance.proof import ROOT, Proof

from shoso.core.keys import Key

pytestmark = pytest.mark.timeout(7200)
"""There may be asked for more than is tried by default."""


async def test_repairs_that_are_killed_go_on_and_touch_nothing_else(proof, tmp_path):
    experiment = await proof.world.experiment("e")
    while not proof.enough("fsck"):
        runs = [await proof.run(experiment) for _ in range(2)]
        await _put(proof, runs[0], {f"weights {at}": proof.dice.randbytes(1000) for at in range(3)})
        await proof.world.version(f"m {runs[0]}", runs[0], "")
        await _until_recorded(proof)
        _copy(proof, tmp_path / "copy")
        await _damage(proof, runs)
        done = await proof.through("fsck", "check", proof.nothing, source=str(tmp_path / "copy"))
        assert (done["left"], done["unrecorded"]) == ([], 0)
        again = proof.victims.run(
            "check", proof.world.flags, proof.world.environment, source=str(tmp_path / "copy")
        )
        assert again.outcome == {"found": 0, "left": [], "unrecorded": 0}
        await proof.check()
        assert await proof.world.database.read(_aliases) == 0
        assert await proof.world.database.read(_recorded) == len(proof.expected())


async def _put(proof: Proof, run_id: str, files: dict[str, bytes]) -> None:
    thing = proof.things[run_id]
    await proof.world.put(f"{ROOT}{thing.key}", files)
    thing.files |= files


async def _until_recorded(proof: Proof) -> None:
    """Records are written a moment after the objects."""
    while await proof.world.database.read(_recorded) < len(proof.expected()):  # noqa: ASYNC110
        await asyncio.sleep(0.05)


def _copy(proof: Proof, folder: Path) -> None:
    for key, data in proof.expected().items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)


async def _damage(proof: Proof, runs: list[str]) -> None:
    """Objects are lost, changed, cut off and brought behind the server's back; rows lead nowhere."""
    store = (await proof.world.estate.roots())[0].plain
    expected = proof.expected()
    lost, changed, cut = proof.dice.sample([key for key, data in expected.items() if len(data) > 5], 3)
    assert proof.here.put is not None
    await store.delete([Key(lost)])
    await asyncio.to_thread(proof.here.put, changed, proof.dice.randbytes(len(expected[changed])))
    await asyncio.to_thread(proof.here.put, cut, expected[cut][:-1])
    for run_id in runs:
        thing = proof.things[run_id]
        thing.files["direct.bin"] = proof.dice.randbytes(2000)
        await asyncio.to_thread(proof.here.put, f"{thing.key}/direct.bin", thing.files["direct.bin"])
    await store.uploads.begin(Key(f"{proof.things[runs[0]].key}/half"))
    await proof.world.database.write(_broken_alias, f"m {runs[0]}")


def _broken_alias(conn: Connection, name: str) -> None:
    row = text("INSERT INTO registered_model_aliases (name, alias, version) VALUES (:name, 'gone', 9)")
    conn.execute(row, {"name": name})


def _aliases(conn: Connection) -> int:
    return conn.scalar(text("SELECT count(*) FROM registered_model_aliases")) or 0


def _recorded(conn: Connection) -> int:
    return conn.scalar(text("SELECT count(*) FROM shoso_objects")) or 0
