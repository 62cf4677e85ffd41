"""A plain `mlflow server`, for what Shoso's client does with one."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from tests.e2e.servers import Server
from tests.servers import warm
from tests.servers.processes import own
from tests.servers.target import Target, around


class MlflowServer(Server):
    """`mlflow server`, whatever the end-to-end tests run against."""

    reference: ClassVar[bool] = True

    def _spawn(self, log: Path) -> Any:
        _, *arguments = self._command()
        return warm.start(["-m", "mlflow", *arguments], env=self._environment(), cwd=self.folder, out=log)


@contextmanager
def running(*flags: str, env: dict[str, str] | None = None) -> Iterator[MlflowServer]:
    """A server of one's own; it stops on leaving."""
    with TemporaryDirectory(prefix="mlflow-") as folder:
        server = MlflowServer(Path(folder), *flags, env=env)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@cache
def shared() -> MlflowServer:
    """The server that all tests of this process share; it ends with it."""
    entered = running()
    server = entered.__enter__()
    atexit.register(entered.__exit__, None, None, None)
    return server


def fresh() -> Target:
    """Its artifacts, emptied."""
    facts = own("mlflow", lambda: {"uri": shared().uri, "artifacts": str(shared().artifacts)})
    artifacts = Path(facts["artifacts"])
    rmtree(artifacts, ignore_errors=True)
    return Target(facts["uri"], {}, *around(artifacts), refused=REFUSED)


REFUSED = frozenset({"%41", "%25", "50%25 off", "a#b", "#", "what?", " leading and trailing "})
"""What the server refuses, or makes another name of."""

_TIMES = "MLflow's listings have no times, and an etag comes with the bytes only"
_FOLDERS = "MLflow leaves the folders of what it deleted or didn't keep, for it deletes none that is empty"

UNKEPT = {
    "test_a_write_returns_what_stat_returns": _TIMES,
    "test_a_reading_tells_what_it_reads": _TIMES,
    "test_names_that_look_alike_are_different_objects": "MLflow takes no name that a URL would decode",
    "test_what_a_write_left_undone_is_not_listed": "MLflow answers 500 to a name that is too long",
    "test_a_folder_is_gone_with_its_last_object": _FOLDERS,
    "test_what_was_deleted_can_be_written_again": _FOLDERS,
    "test_delete_tree_removes_what_is_at_or_below a-gone0": _FOLDERS,
    "test_delete_tree_removes_what_is_at_or_below c-gone3": _FOLDERS,
    "test_a_name_comes_back_as_it_went_in scripts": _FOLDERS,
    "test_a_name_comes_back_as_it_went_in of routes": _FOLDERS,
    "test_a_name_comes_back_as_it_went_in long": _FOLDERS,
}
"""Tests of the contract, some with their case, that can't pass, and why."""

_UNTIL_THEN = f"{_FOLDERS}: made if a byte came before the end"

AT_TIMES = {
    "test_a_write_under_way_is_not_seen": f"{_FOLDERS}: made as soon as a byte came",
    "test_a_write_that_is_cancelled_changes_nothing new-0": _UNTIL_THEN,
    "test_a_write_that_is_cancelled_changes_nothing new-10": _UNTIL_THEN,
    "test_a_write_that_is_cancelled_changes_nothing new-1048576": _UNTIL_THEN,
    "test_a_write_that_is_cancelled_changes_nothing new-3145728": _UNTIL_THEN,
    "test_a_write_that_fails_changes_nothing new-large and short": _UNTIL_THEN,
    "test_a_write_that_fails_changes_nothing new-large and long": _UNTIL_THEN,
    "test_a_write_that_fails_changes_nothing new-large, digest of something else": _UNTIL_THEN,
    "test_a_write_that_fails_changes_nothing new-stream, digest of something else": _UNTIL_THEN,
    "test_a_write_that_fails_changes_nothing new-breaks late": _UNTIL_THEN,
    "test_readers_during_overwrites_see_one_version_each": "MLflow measures an object before it opens it, and"
    " breaks off where that was another version: the error is UNAVAILABLE, not CHANGED",
}
"""Those that pass or not as the moment has it."""
