"""A client in a process of its own, that can be killed: copies a folder to or from a server.

python -m tests.transfer.client UP|DOWN FOLDER URI JOURNALS BYTES

It stops itself when so many bytes have moved, however fast the machine is: whoever started it then kills it,
or lets it go on.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.transfer.ends import KIB, close

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.layers import standard
from shoso.stores.folder import open_folder
from shoso.stores.remote.store import RemoteOptions, RemoteStore
from shoso.transfer import Policy, Report, Selection, Silent, copy

RUN = Key("run")


def policy(journals: Path) -> Policy:
    """Parts so small that a few MiB are many."""
    return Policy(part_size=256 * KIB, parts_from=1024 * KIB, journal=journals)


class Stopping(Silent):
    """Stops this process, all its threads, when so many bytes have moved; once.

    What has to be sent again is taken back, so that they may have moved a second time.
    """

    def __init__(self, size: int) -> None:
        self._left = size
        self._stopped = False

    def moved(self, size: int) -> None:
        self._left -= size
        if self._left <= 0 and not self._stopped:
            self._stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)


async def copied(
    direction: str, folder: Path, uri: str, journals: Path, stop_at: int | None = None
) -> Report:
    """Upload the folder as `run`, or download `run` into it."""
    progress = Silent() if stop_at is None else Stopping(stop_at)
    here, there = standard(open_folder(folder)), standard(RemoteStore(RemoteOptions(uri)))
    try:
        return await copy(*_way(direction, here, there), replace(policy(journals), progress=progress))
    finally:
        await close(here, there)


def _way(direction: str, here: Store, there: Store) -> tuple[Store, Store, Selection]:
    return (here, there, Selection(to=RUN)) if direction == "UP" else (there, here, Selection(RUN))


if __name__ == "__main__":
    direction, folder, uri, journals, stop_at = sys.argv[1:]
    asyncio.run(copied(direction, Path(folder), uri, Path(journals), int(stop_at)))
