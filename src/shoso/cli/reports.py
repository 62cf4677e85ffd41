"""What copies, deletions and verifications came to, in words."""

from __future__ import annotations

from collections.abc import Sequence

import click

from shoso.cli.shapes import Copied, Removed, Sized, Verified
from shoso.core.amounts import count, duration, size


def of_copy(done: Copied) -> str:
    """Copied 3 artifacts (12.0 MiB) to runs:/… in 0.2 s; 7 are there already; 1 failed."""
    what = f"{count(done.copied, 'artifact')} ({size(done.bytes)}) to {done.destination}"
    if not done.dry_run:
        what += f" in {duration(done.seconds)}"
    there = f"; {done.skipped:,} {'is' if done.skipped == 1 else 'are'} there already" if done.skipped else ""
    failed = f"; {done.failed:,} failed" if done.failed else ""
    last = f"{'Would copy' if done.dry_run else 'Copied'} {what}{there}{failed}."
    return _with_names(done.objects, last)


def of_removal(done: Removed) -> str:
    """Deleted 3 artifacts (12.0 MiB) at runs:/…."""
    what = f"{count(done.deleted, 'artifact')} ({size(done.bytes)}) at {done.uri}"
    if done.dry_run:
        return _with_names(done.objects, f"Would delete {what}.")
    return f"Deleted {what}."


def question(found: Removed) -> str:
    """There are 3 artifacts (12.0 MiB) at runs:/…."""
    are = "is" if found.deleted == 1 else "are"
    return f"There {are} {count(found.deleted, 'artifact')} ({size(found.bytes)}) at {found.uri}."


def of_verification(found: Verified) -> str:
    """A line for each failure, then how many are right."""
    wrong = [f"{failure.path}: {failure.message}" for failure in found.failures]
    how = f"({size(found.bytes)} in {duration(found.seconds)})"
    parts = [f"{count(found.verified, 'artifact')} verified {how}"]
    parts += [f"{found.unrecorded:,} without a digest"] if found.unrecorded else []
    parts += [f"{found.failed:,} wrong"] if found.failed else []
    return "\n".join((*wrong, ", ".join(parts) + "."))


def require_verified(found: Verified, allow_unrecorded: bool) -> None:
    """Raise ClickException unless everything is right."""
    total = found.verified + found.unrecorded + found.failed
    if found.failed:
        raise click.ClickException(f"{found.failed:,} of {count(total, 'artifact')} are wrong.")
    if found.unrecorded and not allow_unrecorded:
        message = (
            f"No digest is kept of {found.unrecorded:,} of {count(total, 'artifact')}: they can be read, but"
            " not verified. Compare with a copy (--against), or say --allow-unrecorded."
        )
        raise click.ClickException(message)


def _with_names(objects: Sequence[Sized], last: str) -> str:
    return "\n".join([*(f"{each.path} ({size(each.size)})" for each in objects), last])
