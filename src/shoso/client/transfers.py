"""Copies between any two URIs, as the client's settings have it."""

from __future__ import annotations

from shoso.client.places import Places
from shoso.client.policy import policy
from shoso.client.settings import ClientSettings
from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.transfer import Report, Selection, copy


async def transfer(
    places: Places, settings: ClientSettings, source: str, target: str, path: Key = ROOT
) -> Report:
    """Copy the artifact or folder at `source` to `path` below `target`. Raises CopyError, StoreError."""
    here, there = await places.find(source), await places.open(target)
    selection = Selection(here.key, keys.join(there.key, path))
    return await copy(here.store, there.store, selection, policy(settings, here.store))
