"""Verification: everything is read from end to end, and compared with its digest or with a copy of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from shoso.core.digest import mismatch
from shoso.core.keys import Key, join
from shoso.core.store import Store
from shoso.core.streams import closing
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError, store_error
from shoso.transfer.contents import Found, contents
from shoso.transfer.plan import BATCH_COUNT, BATCH_SIZE, SMALL
from shoso.transfer.policy import Policy
from shoso.transfer.reading import Digested, read_digests
from shoso.transfer.report import Tally
from shoso.transfer.selection import Selection
from shoso.transfer.window import Window, crew

T = TypeVar("T")
Digest = Digested | StoreError


@dataclass(frozen=True, slots=True)
class Verification:
    """Objects whose bytes are right, those that can be read but have no digest kept, those that fail.

    `size` is the bytes read; `failures` has the first of the errors, each with the key it is about.
    """

    verified: int
    unrecorded: int
    failed: int
    size: int
    seconds: float
    failures: tuple[StoreError, ...]


async def verify(
    store: Store, selection: Selection, other: Store | None = None, policy: Policy | None = None
) -> Verification:
    """Compare every byte of what is selected with the digests that the store keeps.

    Or, where there is another store, with what that has at `to`: the same paths with the same bytes. Raises
    NOT_FOUND where nothing is of that name, and what stops everything.
    """
    copies = await _Copies.of(other, selection) if other is not None else None
    return await _Verification(store, copies, policy or Policy()).run(selection)


class _Copies:
    """What another store has, by path; named as the selection's own store would name it."""

    def __init__(self, store: Store, folder: Key, metas: Mapping[str, ObjectMeta]) -> None:
        self._store, self._folder, self._metas = store, folder, metas
        self._asked: set[str] = set()

    @classmethod
    async def of(cls, store: Store, selection: Selection) -> _Copies:
        """Everything at `to`, by the same globs."""
        async with closing(contents(store, replace(selection, key=selection.to))) as found:
            return cls(store, selection.key, {path: meta async for path, meta in found})

    async def read(self, group: Sequence[Found]) -> list[Digest]:
        """The digests of the copies of these objects."""
        self._asked.update(path for path, _ in group)
        there = [meta for path, _ in group if (meta := self._metas.get(path)) is not None]
        read = iter(await read_digests(self._store, there))
        return [
            next(read) if path in self._metas else _missing(meta.key, self._store) for path, meta in group
        ]

    def alone(self) -> list[Key]:
        """The objects that nobody has asked for."""
        return [join(self._folder, path) for path in self._metas if path not in self._asked]


class _Verification:
    """Under way."""

    def __init__(self, store: Store, copies: _Copies | None, policy: Policy) -> None:
        self._store, self._copies = store, copies
        self._progress, self._held = policy.progress, policy.part_size
        self._window = Window(policy.parallel, policy.window)
        self._tally = Tally()

    async def run(self, selection: Selection) -> Verification:
        """Read everything."""
        async with crew() as group, closing(groups(contents(self._store, selection))) as found_groups:
            async for found in found_groups:
                size = min(sum(meta.size for _, meta in found), self._held)
                await self._window.start(group, size, self._compare(found))
        for key in self._copies.alone() if self._copies else ():
            self._progress.planned(key, 0)
            self._fail(key, _missing(key, self._store))
        done = self._tally.report()
        return Verification(done.copied, done.skipped, done.failed, done.sent, done.seconds, done.failures)

    async def _compare(self, group: Sequence[Found]) -> None:
        """Read these, with their copies beside them, and judge each."""
        for _, meta in group:
            self._progress.planned(meta.key, meta.size)
        ours = read_digests(self._store, [meta for _, meta in group], self._progress)
        both = await asyncio.gather(ours, self._read_copies(group))
        for (_, meta), mine, copy in zip(group, *both, strict=True):
            self._judge(meta, mine, copy)

    async def _read_copies(self, group: Sequence[Found]) -> Sequence[Digest | None]:
        return await self._copies.read(group) if self._copies else [None] * len(group)

    def _judge(self, meta: ObjectMeta, mine: Digest, copy: Digest | None) -> None:
        try:
            known = _require(meta, mine, copy)
        except StoreError as error:
            self._fail(meta.key, error)
        else:
            self._pass(meta, known)

    def _pass(self, meta: ObjectMeta, known: bool) -> None:
        self._tally.sent += meta.size
        if known:
            self._tally.succeed()
            self._progress.finished(meta.key, meta.size)
        else:
            self._tally.skipped += 1
            self._progress.skipped(meta.key, meta.size)

    def _fail(self, key: Key, error: StoreError) -> None:
        self._progress.failed(key, error)
        self._tally.fail(error)


async def groups(found: AsyncIterator[tuple[T, ObjectMeta]]) -> AsyncIterator[list[tuple[T, ObjectMeta]]]:
    """Small objects together, a large one by itself; each with what came along with it."""
    group: list[tuple[T, ObjectMeta]] = []
    held = 0
    async with closing(found):
        async for beside, meta in found:
            if meta.size > SMALL:
                yield [(beside, meta)]
                continue
            group.append((beside, meta))
            held += meta.size
            if held >= BATCH_SIZE or len(group) == BATCH_COUNT:
                yield group
                group, held = [], 0
    if group:
        yield group


def _require(meta: ObjectMeta, mine: Digest, copy: Digest | None) -> bool:
    """Whether there is anything to compare the object with. Raises the error of one that isn't right."""
    if isinstance(mine, StoreError):
        raise mine
    if isinstance(copy, StoreError):
        raise copy
    expected = copy.actual if copy else mine.kept
    if expected is not None and expected != mine.actual:
        raise _different(meta) if copy else mismatch(meta.key, expected, mine.actual)
    return expected is not None


def _missing(key: Key, store: Store) -> StoreError:
    message = f"'{key}' is missing in {store.info.name}."
    return store_error(Kind.NOT_FOUND, message, op="verify", key=key, store=store.info.name)


def _different(meta: ObjectMeta) -> StoreError:
    message = f"'{meta.key}' differs from its copy."
    return store_error(Kind.CORRUPT, message, op="verify", key=meta.key)
