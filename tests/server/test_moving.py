"""What a server lists while artifacts move: at the folder of the move, inside of it, and further up."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.store import order
from shoso.core.types import Prefix
from shoso.layers import standard
from shoso.metadata.connect import Database
from shoso.metadata.own import moves
from shoso.server.moving import Moves, Moving, Spot
from shoso.stores import open_store

OLD = (
    "1/r/artifacts/a",
    "1/r/artifacts/late",
    "2/models/m/artifacts/x",
    "2/s/artifacts/s",
    "3/other",
    "10/z",
)
NEW = ("n/1/r/artifacts/a", "n/1/r/artifacts/new/b", "n/2/models/m/artifacts/x", "n/3/q/artifacts/q", "n/own")


@pytest.fixture
async def places(tmp_path):
    """A server's two roots; from the first to `n` in the second are moved a run, and all of two folders."""
    database = Database.open(f"sqlite:///{tmp_path}/shoso.db", artifact_root="mlflow-artifacts:/")
    known: dict[str, Moving] = {}
    found = Moves(lambda end: Spot(known[end], Key("n" if end == "new" else "")))
    for name, paths in (("old", OLD), ("new", NEW)):
        for path in paths:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(path)
        known[name] = Moving(standard(open_store(str(tmp_path / name), {})), found)
    common = {"source": "old", "target": "new", "state": "moved", "shards": 1, "done": "", "begun": 1}
    rows = [{"experiment_id": n, "folder": f, "turned": 2} | common for n, f in enumerate(FOLDERS)]
    await database.write(lambda conn: conn.execute(insert(moves), rows) and None)
    found.open(database)
    yield known
    for store in known.values():
        await store.close()
    await database.close()


FOLDERS = ("1/r/artifacts", "2", "2/models/m/artifacts", "3/q/artifacts", "3/q/artifacts")


def _expected(end: str, prefix: str, *, deep: bool) -> list[str]:
    """All that is at both, by the names that it has at that one."""
    moved = [path for path in OLD if any(keys.contains(Key(folder), path) for folder in FOLDERS)]
    come = [path[2:] for path in NEW if any(keys.contains(Key(folder), path[2:]) for folder in FOLDERS)]
    names = {*OLD, *come} if end == "old" else {*NEW, *(f"n/{path}" for path in moved)}
    below = [name for name in names if keys.contains(Key(prefix), name) and name != prefix]
    cut = len(prefix) + 1 if prefix else 0
    shallow = {name if "/" not in name[cut:] else name[: name.index("/", cut) + 1] for name in below}
    return sorted(below if deep else shallow)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("end", ["old", "new"])
async def test_a_listing_at_any_height_has_what_is_at_both_places_once_and_goes_on_anywhere(
    places, end, deep
):
    for folder in ("", "1", "1/r", "1/r/artifacts", "2", "2/models", "2/models/m/artifacts", "3", "10"):
        prefix = folder if end == "old" else f"n/{folder}".rstrip("/")
        for at in {prefix, ""}:
            found = [entry async for entry in places[end].list(Key(at), deep)]
            told = [order(entry) for entry in found]
            assert told == _expected(end, at, deep=deep), at
            assert all(isinstance(entry, Prefix) == order(entry).endswith("/") for entry in found)
            for number, place in enumerate(told):
                rest = [order(each) async for each in places[end].list(Key(at), deep, place)]
                assert rest == told[number + 1 :], (at, place)
