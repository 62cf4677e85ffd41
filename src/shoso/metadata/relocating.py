"""Relocating: the rows of an experiment that name a place are made to name another one, in one transaction.

That is where it keeps artifacts, where its runs and logged models do, and what registered versions are made
of that lie in one of these. What a row said before is remembered, so that it says the same again after a
rollback (but for a password in it, which is never kept); and what had been at the target already is
remembered too, so that nobody takes it for moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Column, Connection, String, bindparam, delete, insert, select, update

from shoso.core import keys
from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.locations import shown
from shoso.core.locations import without_password as bare
from shoso.errors import Kind, TrackingError
from shoso.metadata import moves
from shoso.metadata.clauses import parts
from shoso.metadata.moves import Move, State
from shoso.metadata.own import moved
from shoso.metadata.schema import experiments, logged_models, model_versions, runs


class Renaming(Protocol):
    """What locations become; see `maintenance.migrate.renaming`."""

    def inside(self, location: str) -> Key | None:
        """The path of a location below the source; None for one that isn't there."""
        ...

    def below_target(self, location: str) -> Key | None:
        """The same for the target."""
        ...

    def new(self, location: str) -> str | None:
        """What a location below the source becomes."""
        ...


class Place(NamedTuple):
    """What names a place: an experiment, a run, a model, or a column of a version (by a digest)."""

    kind: str
    id: str
    location: str


class _Source(NamedTuple):
    """A column that names a place, by the column of the id."""

    kind: str
    id: Column[Any]
    location: Column[Any]
    what: str


_SOURCES = (
    _Source("experiment", experiments.c.experiment_id, experiments.c.artifact_location, "experiment"),
    _Source("run", runs.c.run_uuid, runs.c.artifact_uri, "run"),
    _Source("model", logged_models.c.model_id, logged_models.c.artifact_location, "logged model"),
)
_SEEN = "seen"
"""What is remembered of runs and models before they move, beside what is remembered when they do."""

_OF_VERSIONS = (model_versions.c.source, model_versions.c.storage_location)


class Changed(NamedTuple):
    """Rows that were rewritten."""

    runs: int = 0
    models: int = 0
    versions: int = 0
    experiments: int = 0


def folders(conn: Connection, experiment_id: int, renaming: Renaming) -> dict[str, Key]:
    """Id → path, below either end, of the runs and models that move or have moved.

    Before the rows are rewritten nothing has moved: what is at the target by then has always been there.
    """
    staying = {one.id for one in _remembered(conn, experiment_id) if one.location is None}
    turned = moves.has_turned(conn, experiment_id)
    ends = [renaming.inside, renaming.below_target] if turned else [renaming.inside]
    found: dict[str, Key] = {}
    for one in _of_experiment(conn, experiment_id):
        if one.kind == "experiment" or one.id in staying:
            continue
        path = next((path for end in ends if (path := end(one.location)) is not None), None)
        if path is not None:
            found[one.id] = path
    return found


def begin(conn: Connection, wanted: Move, renaming: Renaming) -> Move:
    """As `moves.begin`; what it is about is known from the first moment."""
    move = moves.begin(conn, wanted)
    if move.state is State.COPYING:
        cover(conn, move.experiment_id, renaming)
    return move


def cover(conn: Connection, experiment_id: int, renaming: Renaming) -> dict[str, Key]:
    """As `folders`, of a move that is copying; they are what it is about from now on. Raises INVALID."""
    found = folders(conn, experiment_id, renaming)
    moves.turn(conn, experiment_id, (State.COPYING,), State.COPYING, folder=common(found.values()))
    return found


def unseen(conn: Connection, experiment_id: int, ids: Iterable[str]) -> list[str]:
    """Those of these runs and models of whose folders at the target nobody knows what was there before."""
    known = {one.id for one in _remembered(conn, experiment_id) if one.kind == _SEEN}
    return [id_ for id_ in ids if id_ not in known]


def see(conn: Connection, experiment_id: int, ids: Iterable[str]) -> None:
    """What was there is known now, of a move that is copying. Raises INVALID."""
    moves.turn(conn, experiment_id, (State.COPYING,), State.COPYING)
    new = unseen(conn, experiment_id, ids)
    _remember(conn, experiment_id, [(_SEEN, id_, "") for id_ in new])


def gone(conn: Connection, experiment_id: int) -> list[tuple[str, str]]:
    """Ids and locations of moved runs and models, as they were, of which there are no rows any more."""
    there = {(one.kind, one.id) for one in _of_experiment(conn, experiment_id)}
    return [
        (one.id, one.location)
        for one in _remembered(conn, experiment_id)
        if one.location is not None and one.kind in {"run", "model"} and (one.kind, one.id) not in there
    ]


def going(conn: Connection, experiment_id: int, renaming: Renaming) -> list[str]:
    """What of the experiment, its runs and models is recorded below the source."""
    found = (one.location for one in _of_experiment(conn, experiment_id))
    return [location for location in found if renaming.inside(location) is not None]


def foresee(conn: Connection, experiment_id: int, renaming: Renaming) -> Changed:
    """How many rows would be rewritten. Raises INVALID for a location that its column can't hold."""
    going = [one for one in _of_experiment(conn, experiment_id) if renaming.inside(one.location) is not None]
    for one in going:
        _require_room(one, renaming)
    inside = set(folders(conn, experiment_id, renaming).values())
    versions = {name for name, _, location in _versions(conn) if _lies_in(renaming.inside(location), inside)}
    return _counted(going, len(versions))


def flip(conn: Connection, move: Move, renaming: Renaming, now: int) -> Changed:
    """Make all rows of the experiment name the target, also those that came since. Raises INVALID."""
    moves.lock(conn, move.experiment_id)
    before = moves.turn(conn, move.experiment_id, (State.COPYING, State.MOVED), State.MOVED)
    places = _of_experiment(conn, move.experiment_id)
    if before.state is State.COPYING:
        staying = [one for one in places if renaming.below_target(one.location) is not None]
        _remember(conn, move.experiment_id, [(one.kind, one.id, None) for one in staying])
        moves.change(conn, move.experiment_id, turned=now)
    inside = folders(conn, move.experiment_id, renaming).values()
    moves.change(conn, move.experiment_id, folder=common(inside))
    going = [one for one in places if renaming.inside(one.location) is not None]
    versions = [one for one in _of_versions(conn) if _lies_in(renaming.inside(one.location), set(inside))]
    _remember(conn, move.experiment_id, [*going, *versions])
    new = {(one.kind, one.id): _require_room(one, renaming) for one in (*going, *versions)}
    return _rewrite(conn, new, going, versions)


def unflip(conn: Connection, move: Move, back: Renaming, now: int) -> Changed:
    """Make them name the source again, each in the words that it had; what has come since, too."""
    moves.lock(conn, move.experiment_id)
    allowed = (State.MOVED, State.RETURNED)
    if moves.turn(conn, move.experiment_id, allowed, State.RETURNED).state is State.MOVED:
        moves.change(conn, move.experiment_id, turned=now)
    known = {(one.kind, one.id): one.location for one in _remembered(conn, move.experiment_id)}
    staying = {one for one, location in known.items() if location is None}
    inside = set(folders(conn, move.experiment_id, back).values())
    places = [one for one in _of_experiment(conn, move.experiment_id) if (one.kind, one.id) not in staying]
    going = [one for one in places if back.inside(one.location) is not None]
    versions = [one for one in _of_versions(conn) if _lies_in(back.inside(one.location), inside)]
    new = {
        (one.kind, one.id): _before(one, known.get((one.kind, one.id)), back) for one in (*going, *versions)
    }
    return _rewrite(conn, new, going, versions)


def _before(one: Place, words: str | None, back: Renaming) -> str:
    """The words that it had, unless they name something else: another version may have its name by now."""
    if words is not None and back.below_target(words) == back.inside(one.location):
        return words
    return _require_room(one, back)


def named(conn: Connection) -> Iterator[tuple[int, str]]:
    """Every location that a run or logged model names, in any workspace, with the experiment's id."""
    for source in _SOURCES[1:]:
        query = select(source.id.table.c.experiment_id, source.location)
        for number, location in conn.execute(query.where(source.location.is_not(None))):  # noqa: UP028
            yield number, location


def registered(conn: Connection) -> list[str]:
    """Every location that a registered version names, in any workspace."""
    return [location for _, _, location in _versions(conn)]


def common(paths: Iterable[Key]) -> Key:
    """The folder that all of these have in common; a single one is itself."""
    found: list[str] | None = None
    for path in paths:
        segments = path.split("/") if path else []
        if found is None:
            found = segments
            continue
        same = 0
        while same < min(len(found), len(segments)) and found[same] == segments[same]:
            same += 1
        del found[same:]
    return Key("/".join(found or ()))


def _lies_in(path: Key | None, folders: set[Key]) -> bool:
    """Whether the path is one of the folders, or lies below one."""
    if path is None:
        return False
    while path and path not in folders:
        path = keys.parent(path)
    return path in folders


def _of_experiment(conn: Connection, experiment_id: int) -> list[Place]:
    found: list[Place] = []
    for source in _SOURCES:
        row = source.id.table.c.experiment_id
        query = select(source.id, source.location).where(row == experiment_id, source.location.is_not(None))
        found += [Place(source.kind, str(id_), location) for id_, location in conn.execute(query)]
    return found


def _versions(conn: Connection) -> Iterator[tuple[tuple[str, str, int], Column[Any], str]]:
    """Workspace, name and number of each version, a column of it, and what is there."""
    row = model_versions.c
    query = select(row.workspace, row.name, row.version, *_OF_VERSIONS)
    for workspace, name, number, *places in conn.execute(query):
        for column, location in zip(_OF_VERSIONS, places, strict=True):
            if location and not location.startswith(("models:", "runs:")):
                yield (workspace, name, number), column, location


def _of_versions(conn: Connection) -> list[Place]:
    return [Place(column.name, _name(version), location) for version, column, location in _versions(conn)]


def _name(version: tuple[str, str, int]) -> str:
    """An id for a version that has room in a column."""
    return digest("\0".join(map(str, version)).encode())


def _remembered(conn: Connection, experiment_id: int) -> list[Any]:
    query = select(moved.c.kind, moved.c.id, moved.c.location).where(moved.c.experiment_id == experiment_id)
    return [*conn.execute(query)]


def _remember(conn: Connection, experiment_id: int, places: Sequence[tuple[str, str, str | None]]) -> None:
    rows = [
        {"experiment_id": experiment_id, "kind": kind, "id": id_, "location": location and bare(location)}
        for kind, id_, location in places
    ]
    for kind in {one[0] for one in places}:  # a version that was made anew has the id of the one before
        for ids in parts([id_ for each, id_, _ in places if each == kind]):
            these = (moved.c.experiment_id == experiment_id, moved.c.kind == kind, moved.c.id.in_(ids))
            conn.execute(delete(moved).where(*these))
    for some in parts(rows):
        conn.execute(insert(moved), [*some])


def _require_room(place: Place, renaming: Renaming) -> str:
    """What the place becomes. Raises INVALID where its column can't hold that."""
    new = renaming.new(place.location) or ""
    column, what = _COLUMNS[place.kind]
    most = column.type.length if isinstance(column.type, String) else None
    if most is not None and len(new) > most:
        message = (
            f"The {what} {place.id} would be at {shown(new)}, which has {len(new)} characters; MLflow's"
            f" databases hold {most} in {column}. Move to a shorter --to."
        )
        raise TrackingError(Kind.INVALID, message)
    return new


def _rewrite(
    conn: Connection,
    new: Mapping[tuple[str, str], str],
    going: Sequence[Place],
    versions: Sequence[Place],
) -> Changed:
    for source in _SOURCES:
        rows = [
            {"row": _id(source, one.id), "to": new[one.kind, one.id]}
            for one in going
            if one.kind == source.kind
        ]
        statement = update(source.id.table).where(source.id == bindparam("row"))
        for some in parts(rows):
            conn.execute(statement.values({source.location: bindparam("to")}), [*some])
    changed = {(one.kind, one.id) for one in versions}
    names = set()
    row = model_versions.c
    for version, column, _ in [*_versions(conn)] if versions else ():
        if (key := (column.name, _name(version))) in changed:
            names.add(key[1])
            workspace, name, number = version
            this = (row.workspace == workspace, row.name == name, row.version == number)
            conn.execute(update(model_versions).where(*this).values({column: new[key]}))
    return _counted(going, len(names))


def _id(source: _Source, id_: str) -> str | int:
    return int(id_) if source.kind == "experiment" else id_


def _counted(going: Sequence[Place], versions: int) -> Changed:
    kinds = [one.kind for one in going]
    return Changed(kinds.count("run"), kinds.count("model"), versions, kinds.count("experiment"))


_COLUMNS: dict[str, tuple[Column[Any], str]] = {
    **{source.kind: (source.location, source.what) for source in _SOURCES},
    **{column.name: (column, "registered version") for column in _OF_VERSIONS},
}
