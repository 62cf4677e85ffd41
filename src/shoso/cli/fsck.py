"""`shoso fsck`: whether what is recorded is there, and what is there is recorded."""

from __future__ import annotations

from typing import Any

import click

from shoso.cli import options

KINDS = (
    "missing", "size", "digest", "unreadable", "source", "model", "logged", "alias", "orphan", "upload",
    "record", "claim",
)  # fmt: skip
"""See maintenance.fsck.findings.Kind."""

REPAIRED, DAMAGED = 3, 4
"""Exit codes; 0 is clean, 1 that not everything could be checked."""


@click.command()
@click.option("--repair", is_flag=True, help="Repair what is safe to repair, and say what was done.")
@click.option(
    "--ignore", "ignored", type=click.Choice(KINDS), multiple=True,
    help="Say nothing of findings of that kind.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print findings as lines of JSON, then the totals.")
@options.estate
def fsck(as_json: bool, **asked: Any) -> None:
    """Check the database against the storages, and the storages against the database.

    Both ways: artifacts that are recorded and missing, objects that no row refers to, sizes and digests that
    differ from the record, uploads that were left, aliases and models that lead nowhere. Nothing is changed
    without --repair, and no object is ever deleted.

    The exit code is 0 if all is well, 3 if all that was found is repaired, 4 if something isn't, and 1 if not
    everything could be checked.
    """
    from shoso.cli.checked import checked

    done = checked(asked, as_json)
    if done.found:
        raise SystemExit(REPAIRED if done.repaired == done.found else DAMAGED)
