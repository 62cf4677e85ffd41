"""The artifacts of a file store, copied to where the target keeps its own, verified by digest.

Only what lies in the store's folder, or in one that the user named, is copied from this machine, whatever the
store says; links are never followed. What lies in a storage (`s3:`, `gs:` …) is fetched with the user's
rights. What is behind a server stays there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shoso.client.places import Place, Places
from shoso.client.policy import policy
from shoso.client.settings import ClientSettings
from shoso.core import keys, locations
from shoso.core.keys import ROOT
from shoso.errors import Kind, ShosoError, TrackingError
from shoso.layers import standard
from shoso.maintenance.filestore.files import Problems, leaves
from shoso.maintenance.folder import AsFolder
from shoso.stores import SCHEMES, open_store
from shoso.transfer import Selection, copy
from shoso.wire.imports import PlacedExperiment

_BEHIND_SERVERS = {"", "file", "http", "https"}
_STORAGES = SCHEMES - _BEHIND_SERVERS
_LAYOUT = re.compile(r".*/([0-9]{1,18})/((?:models/m-)?[0-9a-f]{32})/artifacts((?:/.*)?)")


@dataclass(frozen=True, slots=True)
class Source:
    """Where artifacts are: a folder of this machine (None: there are none), or a storage's URI."""

    path: Path | None = None
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Copies by the client's means; of this machine only from `root`, the store's, and from `allowed`."""

    places: Places
    settings: ClientSettings
    root: Path
    allowed: Sequence[Path]
    _open: dict[Path, Place]

    @classmethod
    def of(
        cls, places: Places, settings: ClientSettings, root: Path, allowed: Sequence[Path] = ()
    ) -> Artifacts:
        """Ready to copy."""
        return cls(places, settings, root.resolve(), [path.resolve() for path in allowed], {})

    def source(self, folder: Path, recorded: str, problems: Problems) -> Source | None:
        """What to copy for the run or model in `folder`; None, and a problem, for what stays where it is."""
        if not locations.is_local(recorded):
            if recorded.partition(":")[0] in _STORAGES:
                return Source(uri=recorded)
            problems.note(folder / "artifacts", f"They stay at {locations.shown(recorded)}, behind a server.")
            return None
        path = self._local(folder, recorded)
        if path is None:
            message = (
                f"They stay at {recorded}, which lies outside of the store; to copy them, say"
                " --allow-artifact-root with a folder that holds them."
            )
            problems.note(folder / "artifacts", message)
            return None
        files = sum(1 for _ in leaves(path, problems))
        return Source(path if files else None)

    async def copy(self, source: Source, to: str) -> tuple[int, int]:
        """Copy what isn't there yet; the number of files, and bytes. Raises StoreError, CopyError."""
        if source.path is None and not source.uri:
            return 0, 0
        there = await self.places.recorded(to)
        here = await (
            self.places.recorded(source.uri) if source.uri else self._place(source.path or self.root)
        )
        chosen = policy(self.settings, here.store)
        folder = AsFolder(here.store, here.key)
        report = await copy(folder, there.store, Selection(here.key, there.key), chosen)
        return report.copied, report.sent

    def rewritten(self, uri: str, placed: Mapping[int, PlacedExperiment]) -> str:
        """The source of a registered version, where the artifacts of its run or model were copied."""
        found = _LAYOUT.fullmatch(uri) if locations.is_local(uri) else None
        if found is None or (there := placed.get(int(found[1]))) is None or self._stays(uri):
            return uri
        return locations.below(there.artifact_location, found[2], "artifacts") + found[3]

    async def close(self) -> None:
        """Close what was opened."""
        while self._open:
            await self._open.popitem()[1].store.close()
        await self.places.close()

    def _local(self, folder: Path, recorded: str) -> Path | None:
        """The recorded folder if it may be read; where it is gone, the one that lies beside meta.yaml."""
        path = _real(recorded)
        if path is not None and path.is_dir():
            return path if self._top(path) else None
        beside = folder / "artifacts"
        return beside if not beside.is_symlink() else None

    def _stays(self, uri: str) -> bool:
        path = _real(uri)
        return path is not None and path.exists() and self._top(path) is None

    def _top(self, path: Path) -> Path | None:
        """The folder that may be read, and has it."""
        return next((top for top in (self.root, *self.allowed) if path.is_relative_to(top)), None)

    async def _place(self, path: Path) -> Place:
        top = self._top(path)
        if top is None:
            raise TrackingError(Kind.FORBIDDEN, f"{path} lies outside of the store.")
        if top not in self._open:
            self._open[top] = Place(standard(open_store(top.as_uri())), ROOT)
        return Place(self._open[top].store, keys.parse(path.relative_to(top).as_posix().removeprefix(".")))


def _real(recorded: str) -> Path | None:
    """The path of a local location, its links resolved; None for what can't be the path of anything."""
    try:
        path = locations.local_path(recorded).resolve()
        path.exists()
    except (ShosoError, OSError, ValueError, RuntimeError):
        return None
    return path
