"""What clients delete and write while `shoso migrate` is at work stays deleted, and written."""

from __future__ import annotations

import os
import sqlite3
import time
import urllib.request

from click.testing import CliRunner
from tests.maintenance.moves import Filled, World
from tests.servers import radosgw

from shoso.cli import main
from shoso.maintenance.migrate.moving import Shard


def _delete(world: World, key: str) -> None:
    """As a client does that remembers where the run was."""
    where = f"{world.server.uri}/api/2.0/mlflow-artifacts/artifacts/{key}"
    with urllib.request.urlopen(urllib.request.Request(where, method="DELETE"), timeout=30):
        pass


def _change(world: World, statement: str, *values: str) -> None:
    with sqlite3.connect(world.server.database.removeprefix("sqlite:///"), timeout=30) as conn:
        conn.execute(statement, values)


def _orphans_of_old(world: World) -> str:
    """What `shoso fsck` finds when all that is at the old place is two days old."""
    for path in world.files():
        os.utime(world.server.artifacts / path, (time.time() - 2 * 86400,) * 2)
    _, env = world.command()
    words = ["fsck", "--backend-store-uri", world.server.database]
    done = CliRunner(env=dict.fromkeys(os.environ) | env).invoke(main, words)
    return "" if done.exit_code == 0 else done.output


def test_what_is_deleted_while_it_is_copied_or_after_it_moved_never_comes_back(world):
    filled = Filled(world, runs=8, files=3)
    halves = [next(run for run in filled.runs if run in Shard(number, 2)) for number in (1, 2)]
    assert world.move("--experiment", "filled", "--shard", "1/2").code == 0
    run = halves[0]
    folder = f"{filled.experiment}/{run}/artifacts"
    assert f"moved/{folder}/a/0.txt" in world.objects()
    _delete(world, f"{folder}/a/0.txt")
    assert f"moved/{folder}/a/0.txt" not in world.objects()
    assert world.move("--experiment", "filled", "--shard", "2/2").code == 0
    assert world.listed(run, "a") == ["a/1.txt", "a/2.txt"]

    _delete(world, f"{folder}/a/1.txt")  # at the old place, of which nobody hears at the new one
    assert world.listed(run, "a") == ["a/2.txt"]
    assert sum(one["copied"] for one in world.move().out["experiments"]) == 0
    for path in ("a/0.txt", "a/1.txt"):
        del filled.expected[run, path]
    filled.check()
    assert world.migrate("finish", "--running").code == 0
    assert world.files() == []
    filled.check()


def test_a_run_that_was_at_the_new_place_before_keeps_what_it_has_there(world):
    filled = Filled(world, runs=8, files=1)
    run = next(run for run in filled.runs[1:] if run in Shard(1, 2))
    folder = f"{filled.experiment}/{run}/artifacts"
    _change(world, "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", f"{world.there}/{folder}", run)
    radosgw.client().put_object(Bucket=world.bucket, Key=f"moved/{folder}/a/0.txt", Body=b"its own")
    filled.expected[run, "a/0.txt"] = "its own"
    assert world.move("--shard", "1/2").code == 0
    assert world.get(run, "a/0.txt") == "its own"
    assert world.migrate("rollback", "--delete-copies", "--running").code == 0
    assert world.objects() == [f"moved/{folder}/a/0.txt"]
    assert world.move().code == 0
    filled.check()
    assert world.migrate("finish", "--running").code == 0
    assert world.files() == [f"{folder}/a/0.txt"]
    filled.check()


def test_what_comes_to_the_old_place_after_finish_has_begun_is_brought_by_the_next_one(world):
    filled = Filled(world, runs=2, files=1)
    assert world.move().code == 0
    _change(world, "UPDATE shoso_moves SET state = 'finishing'")  # as a finish that was killed left it
    run = filled.runs[0]
    world.client.log_text(run, "late", "late.txt")  # to the old place
    filled.expected[run, "late.txt"] = "late"
    assert f"{filled.experiment}/{run}/artifacts/late.txt" in world.files()
    assert _orphans_of_old(world) == ""  # the copies aren't nobody's yet
    done = world.migrate("finish", "--running")
    assert (done.code, world.files()) == (0, []), done
    assert world.get(run, "late.txt") == "late"
