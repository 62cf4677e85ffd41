"""What is killed: each verb on an estate of its own, and what came of it as JSON has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shoso.maintenance import fsck, plans
from shoso.maintenance.estate import Estate
from shoso.maintenance.fsck import data, records
from shoso.maintenance.fsck.findings import Asked, Data, Finding
from shoso.maintenance.gc import applying, collecting, trash
from shoso.maintenance.gc.account import Account
from shoso.maintenance.gc.chosen import Asked as Chosen
from shoso.maintenance.migrate import migration
from shoso.maintenance.migrate.migration import Result
from shoso.maintenance.migrate.moving import Shard
from shoso.maintenance.retention import applying as retaining
from shoso.maintenance.retention import undoing

# what an estate opens when it is needed is imported before: a process that is killed shall not import
from shoso.metadata.dialects import mysql, postgres, sqlite  # noqa: F401
from shoso.stores import hdfs, local, s3, sftp  # noqa: F401

Outcome = dict[str, Any]


class Quiet:
    """Is told, and tells nobody."""

    def planned(self, number: int) -> None:
        pass

    def done(self, number: int) -> None:
        pass


@asynccontextmanager
async def _opened(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    estate = Estate.open(flags, environment)
    try:
        yield estate
    finally:
        await estate.close()


async def apply(
    flags: Mapping[str, Any], environment: Mapping[str, str], plan: str, trash: float | None = None
) -> Outcome:
    """`shoso gc apply`."""
    async with _opened(flags, environment) as estate:
        return _told(await applying.apply(estate, *plans.read(Path(plan)), Quiet(), trash=trash))


async def collect(flags: Mapping[str, Any], environment: Mapping[str, str]) -> Outcome:
    """`shoso gc`, which nobody looks at."""
    async with _opened(flags, environment) as estate:
        return _told((await collecting.collect(estate, Chosen(), Quiet()))[0])


async def undo(flags: Mapping[str, Any], environment: Mapping[str, str], plan: str) -> Outcome:
    """`shoso gc undo`."""
    async with _opened(flags, environment) as estate:
        return _told(await trash.undo(estate, plan, Quiet()))


async def retain(flags: Mapping[str, Any], environment: Mapping[str, str], plan: str) -> Outcome:
    """`shoso retention apply`, a few at a time."""
    retaining.BATCH = 3
    async with _opened(flags, environment) as estate:
        return _told(await retaining.apply(estate, *plans.read_retention(Path(plan)), Quiet()))


async def unretain(flags: Mapping[str, Any], environment: Mapping[str, str], plan: str) -> Outcome:
    """`shoso retention undo`, a few at a time."""
    undoing.BATCH = 3
    async with _opened(flags, environment) as estate:
        return _told(await undoing.undo(estate, *plans.read_retention(Path(plan)), Quiet()))


def _told(account: Account) -> Outcome:
    return {"items": dict(account.items), "problems": {one.item.id: one.message for one in account.problems}}


async def check(flags: Mapping[str, Any], environment: Mapping[str, str], source: str) -> Outcome:
    """`shoso fsck --data --repair --replace`."""
    data.SETTLING = records.SETTLING = 0.01
    found: list[Finding] = []
    async with _opened(flags, environment) as estate:
        asked = Asked(repair=True, source=source, replace=True, data=Data(), age=-60.0)
        totals = await fsck.check(estate, asked, found.append)
    left = [f"{one.kind} {one.name}: {one.problem} {one.remedy}" for one in found if not one.done]
    return {"found": totals.found, "left": left, "unrecorded": totals.unrecorded - totals.recorded}


async def migrate(
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    source: str,
    to: str,
    shard: tuple[int, int] = (1, 1),
) -> Outcome:
    """`shoso migrate --from --to --shard`."""
    async with _opened(flags, environment) as estate:
        return _moved(await migration.migrate(estate, migration.Asked(source, to, (), Shard(*shard))))


async def finish(
    flags: Mapping[str, Any], environment: Mapping[str, str], names: Sequence[str] = ()
) -> Outcome:
    """`shoso migrate finish --running`."""
    async with _opened(flags, environment) as estate:
        return _moved(await migration.finish(estate, names, running=True))


async def rollback(flags: Mapping[str, Any], environment: Mapping[str, str], *, delete: bool) -> Outcome:
    """`shoso migrate rollback --running`."""
    async with _opened(flags, environment) as estate:
        return _moved(await migration.rollback(estate, (), delete=delete, running=True))


def _moved(result: Result) -> Outcome:
    errors = [one.error for one in result.outcomes if one.error]
    unsure = [path for one in result.outcomes for path in one.unsure]
    failed = sum(1 for one in result.outcomes if one.error or one.running)
    return {"failed": failed, "errors": errors, "unsure": unsure, "stopped": result.stopped}


VERBS: dict[str, Callable[..., Any]] = {
    "apply": apply, "undo": undo, "check": check, "migrate": migrate, "finish": finish, "rollback": rollback,
    "collect": collect, "retain": retain, "unretain": unretain,
}  # fmt: skip
