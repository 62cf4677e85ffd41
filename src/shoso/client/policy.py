"""How a client copies: by MLflow's variables for sizes, with a journal in its state folder."""

from __future__ import annotations

from dataclasses import replace

from shoso.client.settings import ClientSettings
from shoso.core.store import Store
from shoso.transfer import Policy, Progress, Silent


def policy(
    settings: ClientSettings, source: Store, progress: Progress | None = None, *, dry_run: bool = False
) -> Policy:
    """The policy of a copy from there: of an upload where that is a folder of this machine."""
    upload = source.info.scheme == "folder"
    part = settings.upload_part if upload else settings.download_part
    least = settings.upload_minimum if upload else settings.download_minimum
    chosen = Policy(journal=settings.state, progress=progress or Silent(), dry_run=dry_run)
    return replace(
        chosen,
        part_size=part or chosen.part_size,
        parts_from=least or chosen.parts_from,
    )
