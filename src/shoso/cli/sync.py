"""`shoso sync`: what processes with an outbox left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shoso.cli import options

if TYPE_CHECKING:
    from shoso.cli.shapes import Synced


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@options.tracking_uri
@options.as_json
def sync(folder: Path | None, tracking_uri: str | None, as_json: bool) -> None:
    """Ship what waits in an outbox, by default that of SHOSO_OUTBOX.

    Each call goes to the server that it was made for, or to --tracking-uri. What a running process keeps
    is its own to ship. Done again, it changes nothing twice.

    A call on which the server fails (a 500) is set aside, and tried again by the next sync.
    """
    from shoso.cli.session import session
    from shoso.cli.shapes import Synced, show
    from shoso.client.outbox import leftovers
    from shoso.errors import ConfigError

    with session(tracking_uri) as opened:
        if (outbox := folder or opened.settings.outbox) is None:
            raise ConfigError("SHOSO_OUTBOX", "is not set. Say which outbox: shoso sync FOLDER.")
        found = [
            Synced(str(each.folder), each.shipped, each.refused, each.aside, each.waits)
            for each in leftovers.sync(outbox, opened.settings, tracking_uri)
        ]
    show(found, "\n".join(map(_line, found)) or "Nothing waits.", as_json)
    if any(each.waits or each.refused or each.aside for each in found):
        raise SystemExit(1)


def _line(synced: Synced) -> str:
    from shoso.core.amounts import count

    shipped = f"{synced.folder}: {count(synced.shipped, 'call')} shipped"
    refused = f", {synced.refused} refused (see {synced.folder}/refused)" if synced.refused else ""
    failed = f", {synced.aside} set aside (see {synced.folder}/aside)" if synced.aside else ""
    return f"{shipped}{refused}{failed}." + (f" The rest waits: {synced.waits}" if synced.waits else "")
