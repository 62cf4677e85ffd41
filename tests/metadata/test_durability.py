"""Acknowledged means kept: many processes on one file, a killed process, a full disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shoso.errors import ConfigError, Kind, ShosoError
from shoso.metadata import experiments, runs
from shoso.metadata.connect import Database
from shoso.wire.requests import CreateExperiment, CreateRun, SetExperimentTag

CHILD = Path(__file__).with_name("logging_child.py")
METRICS = 200


def start(path, run_id, kind, calls):
    """A process that logs."""
    return subprocess.Popen(
        [sys.executable, CHILD, f"sqlite:///{path}", run_id, kind, str(calls)],
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(path, sql):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(sql).fetchall()


async def new_run(database):
    run = await database.write(runs.create, CreateRun(experiment_id="0"))
    return run.info.run_id


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shoso.db"


async def test_eight_processes_log_to_one_file_without_an_error_or_a_lost_write(database, path):
    mixed = [("points", 150)] * 4 + [("batches", 15)] * 4
    run_ids = [await new_run(database) for _ in mixed]
    children = [start(path, run_id, *work) for run_id, work in zip(run_ids, mixed, strict=True)]
    mine = [await new_run(database) for _ in range(50)]
    outputs = [await asyncio.to_thread(child.communicate) for child in children]
    assert [child.returncode for child in children] == [0] * 8
    for (stdout, _), run_id, (kind, calls) in zip(outputs, run_ids, mixed, strict=True):
        assert sorted(map(int, stdout.split())) == list(range(calls))
        found = ask(path, f"SELECT count(*) FROM metrics WHERE run_uuid = '{run_id}'")
        assert found == [(calls * (METRICS if kind == "batches" else 1),)]
    assert ask(path, "SELECT count(*) FROM runs") == [(len(run_ids) + len(mine),)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_process_killed_while_it_logs_loses_nothing_acknowledged_and_leaves_no_half_batch(tmp_path):
    path = tmp_path / "killed.db"
    database = Database.open(f"sqlite:///{path}", artifact_root="/a")
    run_id = await new_run(database)
    await database.close()
    child = start(path, run_id, "batches", 100_000)
    acknowledged = {int(child.stdout.readline()) for _ in range(30)}
    child.kill()
    acknowledged |= {
        int(line) for line in child.communicate()[0].splitlines(keepends=True) if line[-1] == "\n"
    }

    database = Database.open(f"sqlite:///{path}", artifact_root="/a")
    await database.close()
    whole = dict(ask(path, "SELECT step, count(*) FROM metrics GROUP BY step"))
    assert set(whole.values()) == {METRICS}
    assert acknowledged <= set(whole)
    params = {int(key[1:]) for (key,) in ask(path, "SELECT key FROM params")}
    tags = {int(key[1:]) for (key,) in ask(path, "SELECT key FROM tags WHERE key != 'mlflow.runName'")}
    assert params == tags == set(whole)
    latest = ask(path, "SELECT DISTINCT step FROM latest_metrics")
    assert latest == [(max(whole),)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB; to mount one takes root, which CI has."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        reason = f"a small tmpfs can't be mounted here: {mounted.stderr.decode().strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """A file that takes all that is left."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            return


async def test_a_full_disk_is_an_error_of_each_write_and_is_over_when_there_is_room(small_disk):
    database = Database.open(f"sqlite:///{small_disk}/shoso.db", artifact_root="/a")
    await database.write(experiments.set_tag, SetExperimentTag("0", "before", "kept"))
    fill(small_disk)
    text = "x" * 20_000
    calls = [database.write(experiments.set_tag, SetExperimentTag("0", f"t{n}", text)) for n in range(40)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert refused
    assert {outcome.kind for outcome in refused} == {Kind.NO_SPACE}
    assert (await database.read(experiments.get, "0")).name == "Default"

    (small_disk / "filler").unlink()
    await database.write(experiments.set_tag, SetExperimentTag("0", "after", "kept"))
    acknowledged = {f"t{n}" for n, outcome in enumerate(outcomes) if outcome is None}
    found = await database.read(experiments.get, "0")
    await database.close()
    assert {tag.key for tag in found.tags} == acknowledged | {"before", "after"}
    assert ask(small_disk / "shoso.db", "PRAGMA integrity_check") == [("ok",)]


async def test_a_database_on_a_read_only_disk_cannot_be_written_and_says_so(small_disk):
    path = small_disk / "shoso.db"
    database = Database.open(f"sqlite:///{path}", artifact_root="/a")
    await database.close()
    await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ConfigError, match="must be writable"):
        Database.open(f"sqlite:///{path}", artifact_root="/a")


async def test_a_write_that_fails_for_want_of_space_says_so_in_the_name_of_nobody_else(small_disk):
    """The disk fills up in the middle of a transaction: the cache of pages spills before the commit."""
    database = Database.open(f"sqlite:///{small_disk}/shoso.db", artifact_root="/a")

    def large(conn):
        for number in range(2000):
            experiments.create(conn, CreateExperiment(f"{number:0400}"), "/a")
            conn.exec_driver_sql("INSERT INTO experiment_tags VALUES ('k', ?, ?)", ("x" * 40_000, number + 1))

    with pytest.raises(ShosoError) as caught:
        await database.write(large)
    assert caught.value.kind is Kind.NO_SPACE
    created = await database.write(experiments.create, CreateExperiment("small"), "/a")
    assert created == "1"
    await database.close()
