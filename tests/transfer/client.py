"""A client in a process of its own, that can be killed: copies a folder to or from a server, says "begun".

python -m tests.transfer.client UP|DOWN FOLDER URI JOURNALS
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.transfer.ends import KIB, close

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.layers import standard
from shoso.stores.folder import open_folder
from shoso.stores.remote import RemoteOptions, RemoteStore
from shoso.transfer import Policy, Report, Selection, copy

RUN = Key("run")


def policy(journals: Path) -> Policy:
    """Parts so small that a few MiB are many."""
    return Policy(part_size=256 * KIB, parts_from=1024 * KIB, journal=journals)


async def copied(direction: str, folder: Path, uri: str, journals: Path) -> Report:
    """Upload the folder as `run`, or download `run` into it."""
    here, there = standard(open_folder(folder)), standard(RemoteStore(RemoteOptions(uri)))
    try:
        return await copy(*_way(direction, here, there), policy(journals))
    finally:
        await close(here, there)


def _way(direction: str, here: Store, there: Store) -> tuple[Store, Store, Selection]:
    return (here, there, Selection(to=RUN)) if direction == "UP" else (there, here, Selection(RUN))


if __name__ == "__main__":
    print("begun", flush=True)  # noqa: T201
    asyncio.run(copied(sys.argv[1], Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
