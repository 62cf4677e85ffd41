"""`shoso fsck`: whether what is recorded is there, and what is there is recorded."""

from __future__ import annotations

import re
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


_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_RATE = re.compile(r"(\d+\.?\d*) ?([kmg]i?)?b?(?:/s)?", re.IGNORECASE)


class _Share(click.ParamType[float]):
    """A share, as 5%."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """More than none, and at most all."""
        number = re.fullmatch(r"(\d+\.?\d*) ?%", str(value))
        if number is None or not 0 < float(number[1]) <= 100:
            self.fail(f"'{value}' is no share; write it like 5%.", param, ctx)
        return float(number[1]) / 100


class _Rate(click.ParamType[float]):
    """Bytes a second, as 100MB/s or 64MiB/s."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In bytes."""
        found = _RATE.fullmatch(str(value))
        if found is None or not float(found[1]):
            self.fail(f"'{value}' is no rate; write it like 100MB/s.", param, ctx)
        return float(found[1]) * _UNITS[(found[2] or "").lower()]


@click.command()
@click.option("--data", is_flag=True, help="Read every byte, and compare it with the digests.")
@click.option(
    "--sample", type=_Share(), metavar="SHARE",
    help="Read only a share, e.g. 5%; another one every day.",
)  # fmt: skip
@click.option("--seed", default="", metavar="TEXT", help="Which share to read; by default by the date.")
@click.option("--limit-rate", type=_Rate(), metavar="RATE", help="Read so much at most, e.g. 100MB/s.")
@click.option("--repair", is_flag=True, help="Repair what is safe to repair, and say what was done.")
@click.option(
    "--from", "source", default="", metavar="URI",
    help="With --repair: a copy of the storage, from which objects are fetched that are missing or damaged.",
)  # fmt: skip
@click.option(
    "--replace", is_flag=True,
    help="With --from: replace also what somebody wrote past the server since it was stored.",
)  # fmt: skip
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

    With --data or --sample, objects are read and compared with the digests that were kept when they were
    stored. A check that is interrupted goes on when the same command is run again.

    The exit code is 0 if all is well, 3 if all that was found is repaired, 4 if something isn't, and 1 if not
    everything could be checked.
    """
    from shoso.cli.checked import checked

    if asked["source"] and not asked["repair"]:
        raise click.UsageError("--from is for what is repaired; say --repair, too.")
    if asked["replace"] and not asked["source"]:
        raise click.UsageError("--replace is for what is fetched; say --from, too.")
    done = checked(asked, as_json)
    if done.found:
        raise SystemExit(REPAIRED if done.repaired == done.found else DAMAGED)
