"""Small objects: read many at once, write many at once; what failed among many is tried by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shoso.core.batches import read_many, write_many
from shoso.core.digest import digest
from shoso.core.types import ObjectMeta, SmallObject
from shoso.errors import StoreError
from shoso.transfer.plan import Item
from shoso.transfer.route import Route


async def copy_batch(route: Route, items: Sequence[Item]) -> list[Item]:
    """Copy as many of these objects as can be in one go; those that are left, for whatever reason."""
    try:
        found = await read_many(route.src, [item.meta.key for item in items])
    except StoreError:
        return [*items]
    both = [*zip(items, found, strict=True)]
    failed = [item for item, one in both if isinstance(one, StoreError)]
    read = [(item, _digested(one)) for item, one in both if isinstance(one, SmallObject)]
    return failed + await _written(route, [each for each in read if not _skipped(route, *each)])


def _digested(found: SmallObject) -> SmallObject:
    """The object with its digest: the claim that the destination compares."""
    if found.meta.digest is not None:
        return found
    return SmallObject(replace(found.meta, digest=digest(found.data)), found.data)


def _skipped(route: Route, item: Item, found: SmallObject) -> bool:
    if item.there is None:
        return False
    read = replace(item, meta=found.meta)
    if read.same:
        route.skip(read, item.there)
    return read.same


async def _written(route: Route, sending: Sequence[tuple[Item, SmallObject]]) -> list[Item]:
    """Write them; those that failed."""
    if not sending:
        return []
    objects = [SmallObject(replace(one.meta, key=item.to), one.data) for item, one in sending]
    try:
        outcomes = await write_many(route.dst, objects)
    except StoreError:
        return [item for item, _ in sending]
    failed = []
    for (item, one), outcome in zip(sending, outcomes, strict=True):
        if isinstance(outcome, ObjectMeta):
            _finish(route, item, one, outcome)
        else:
            failed.append(item)
    return failed


def _finish(route: Route, item: Item, found: SmallObject, written: ObjectMeta) -> None:
    route.tally.sent += len(found.data)
    route.policy.progress.moved(len(found.data))
    route.finish(item, found.meta, written)
