"""What keeps a run or a model from going: others need its artifacts, or they might be others'."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from shoso.core import locations
from shoso.maintenance.recorded import versions
from shoso.metadata import holdings, references
from shoso.metadata.connect import Database

MOVING = "it is being moved; end that first: shoso migrate finish, or rollback"
"""Why an experiment stays: whatever is at the other place would be left there."""

IMPORTED = (
    "it was imported and its artifacts stayed where they were, so the store that it came from may need them;"
    " name it by its id, or say --imported, once that store is given up"
)
"""Why a run or model stays that has artifacts in common with the rows of another store."""

_ID = re.compile(r"(?:m-)?[0-9a-f]{32}")
_SEPARATORS = re.compile(r"[/:@?#]+")


class Guard:
    """Knows, by each name in their places, the versions of registered models, the experiments, and others.

    Others are runs and models in no folder of their own, as imported ones may be: perhaps in this one.

    Whoever needs a run's artifacts has its id in the recorded place; a version has that of its run, too.
    """

    def __init__(
        self, versions: Mapping[str, str], experiments: Mapping[str, str], others: Mapping[str, str]
    ) -> None:
        self._versions, self._experiments, self._others = versions, experiments, others

    @classmethod
    async def of(cls, database: Database, *, registered: bool) -> Guard:
        """As the database is now; `registered` lets go what versions are made from."""
        needed = {
            name: f"{one.name}/{one.version}"
            async for page in versions(database)
            for one in (page if not registered else ())
            for place in (*one.places, one.run_id or "")
            for name in _segments(place)
        }
        folders = await database.read(holdings.folders)
        inside = {name: str(number) for number, place in folders for name in _segments(place)}
        elsewhere = await database.read(references.elsewhere)
        return cls(needed, inside, {name: id_ for id_, place in elsewhere for name in _segments(place)})

    def obstacle(self, id_: str, location: str) -> str:
        """Why what has this id stays; "" where nothing keeps it."""
        if not is_own(id_, location):
            return "its location doesn't carry its id, so others may have files there"
        if version := self._versions.get(id_):
            return f"version {version} of a registered model is made from it"
        if number := self._experiments.get(id_):
            return f"the experiment {number} keeps its artifacts inside of it"
        if other := self._others.get(id_):
            return f"{other} is recorded to have its artifacts there, too"
        return ""


def is_own(id_: str, location: str) -> bool:
    """Whether the location is the folder that MLflow's layout has for an id like MLflow's, and no other's.

    Rows that were imported name what their importer liked: `artifacts` is in every location, `home` in many.
    """
    folder = f"/models/{id_}/artifacts" if id_.startswith("m-") else f"/{id_}/artifacts"
    own = _ID.fullmatch(id_) is not None and _path(location).rstrip("/").endswith(folder)
    return own and ".." not in _segments(location)


def _path(location: str) -> str:
    """The location without the host and the query, that say nothing of the folder; "" for what is none."""
    try:
        return urlsplit(location).path if locations.has_scheme(location) else location
    except ValueError:
        return ""


def _segments(location: str) -> list[str]:
    """The names in it, as they are written and as whoever decodes it reads them."""
    return _SEPARATORS.split(f"{location}/{unquote(location)}" if "%" in location else location)
