"""ledger: digests of what passed, for objects whose store keeps none; a help, and never in the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.layers.stubs import KEY, Breaking, Notes, Recorder, filled

from shoso.core.batches import read_many, write_many
from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import page, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ALL, Digests, FromTo, Last, ObjectMeta, Prefix, SmallObject
from shoso.errors import Kind, StoreError, store_error
from shoso.layers import Policy, standard
from shoso.layers.ledger import MOST, Ledger
from shoso.layers.retry import RetryPolicy

DATA = b"12345"
QUICK = RetryPolicy(attempts=3, first=0.0001, longest=0.0001)


def _bare(entry):
    return replace(entry, digest=None) if isinstance(entry, ObjectMeta) else entry


class Forgetful(Recorder):
    """A store that keeps no digests; it may take batches, one object of which fails."""

    def __init__(self, **capabilities) -> None:
        super().__init__(**{"digests": Digests.NONE, **capabilities})
        self._stat, self._list, self._read = self.stat, self.list, self.read
        self.stat, self.list, self.read = self._bare_stat, self._bare_list, self._bare_read

    async def _bare_stat(self, key):
        return _bare(await self._stat(key))

    async def _bare_read(self, key, wanted=ALL, if_match=None):
        reading = await self._read(key, wanted, if_match)
        return replace(reading, meta=_bare(reading.meta))

    async def _bare_list(self, prefix, deep=False, after=None):
        async for entry in self._list(prefix, deep, after):
            yield _bare(entry)


class Batching(Forgetful):
    """Takes batches; one key is refused."""

    @property
    def batches(self):
        return _Batches(self)


class _Batches:
    def __init__(self, store) -> None:
        self._store = store

    async def write(self, objects):
        return [
            await self._each(self._store.write, each.meta.key, BytesSource(each.data)) for each in objects
        ]

    async def read(self, keys):
        return [await self._each(self._small, key) for key in keys]

    async def _small(self, key):
        return SmallObject(await self._store.stat(key), await read_bytes(self._store, key))

    async def _each(self, call, key, *rest):
        if key == "refused":
            return store_error(Kind.FORBIDDEN, "No.", key=key)
        return await call(key, *rest)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def inner():
    return Forgetful()


@pytest.fixture
def ledger(inner, notes):
    return Ledger(inner, notes)


async def test_what_is_written_is_known_by_its_version_from_then_on(ledger, inner, notes):
    written = await ledger.write(KEY, BytesSource(DATA))
    assert notes.rows == {KEY: written}
    assert (await inner.stat(KEY)).digest is None
    assert (await ledger.stat(KEY)).digest == digest(DATA)
    async with await ledger.read(KEY) as reading:
        assert reading.meta.digest == digest(DATA)
    assert [entry.digest async for entry in ledger.list(ROOT, deep=True)] == [digest(DATA)]


async def test_what_somebody_else_has_written_since_is_not_known(ledger, inner):
    await ledger.write(KEY, BytesSource(DATA))
    await inner.write(KEY, BytesSource(b"other"))
    assert (await ledger.stat(KEY)).digest is None
    assert [entry.digest async for entry in ledger.list(ROOT, deep=True)] == [None]
    assert await read_bytes(standard(inner, Policy(book=ledger.book)), KEY) == b"other"


async def test_a_digest_goes_with_an_object_that_is_moved(ledger, inner, notes):
    await ledger.write(KEY, BytesSource(DATA))
    await ledger.move([(KEY, Key("moved"))])
    assert (await ledger.stat(Key("moved"))).digest == digest(DATA)
    assert set(notes.rows) == {"moved"}
    with expect.failure(Kind.NOT_FOUND):
        await ledger.move([(Key("moved"), KEY), (Key("missing"), Key("target"))])
    assert (await ledger.stat(KEY)).digest is None  # of what went wrong in part, nothing is known
    await ledger.move([(Key("moved"), KEY)])
    assert (await ledger.stat(KEY)).digest == digest(DATA)


async def test_what_was_sent_in_parts_is_known_by_the_digest_that_finishing_gives(ledger, notes):
    ref = await ledger.uploads.begin(KEY)
    part = await ledger.uploads.put(ref, 1, BytesSource(DATA))
    finished = await ledger.uploads.finish(ref, [part], digest(DATA))
    assert notes.rows == {KEY: finished}
    assert (await ledger.stat(KEY)).digest == digest(DATA)


async def test_a_batch_is_written_down_in_one_go_without_what_failed(notes):
    ledger = Ledger(Batching(), notes)
    objects = [SmallObject(ObjectMeta(Key(name), 1, 0.0), b".") for name in ("a", "refused", "b")]
    outcomes = await write_many(ledger, objects)
    assert notes.recorded == [2]
    assert isinstance(outcomes[1], StoreError)
    assert notes.rows == {"a": outcomes[0], "b": outcomes[2]}
    got = await read_many(ledger, [Key("a"), Key("refused"), Key("b")])
    assert notes.asked == [2]
    assert [digest(b"."), Kind.FORBIDDEN, digest(b".")] == [
        each.kind if isinstance(each, StoreError) else each.meta.digest for each in got
    ]


@pytest.mark.parametrize("wanted", [ALL, FromTo(0, 5), Last(100)], ids=str)
async def test_bytes_that_have_changed_under_the_same_version_are_no_object_but_an_error(notes, wanted):
    inner = Forgetful()
    store = standard(inner, Policy(book=notes))
    meta = await store.write(KEY, BytesSource(DATA))
    inner.objects[KEY] = (meta, b"12346")
    with expect.failure(Kind.CORRUPT):
        await read_bytes(store, KEY, wanted)


async def test_of_a_batch_too(notes):
    inner = Batching()
    store = standard(inner, Policy(book=notes))
    meta = await store.write(KEY, BytesSource(DATA))
    inner.objects[KEY] = (meta, b"12346")
    [outcome] = await read_many(store, [KEY])
    assert outcome.kind is Kind.CORRUPT


async def test_the_book_isnt_asked_about_a_part_of_an_object(ledger, notes):
    await ledger.write(KEY, BytesSource(DATA))
    async with await ledger.read(KEY, FromTo(1, 3)):
        pass
    assert notes.asked == []


async def test_of_a_store_that_keeps_all_digests_the_book_is_asked_in_listings_only(notes):
    inner = Forgetful(digests=Digests.ALL)
    ledger = Ledger(inner, notes)
    await ledger.write(KEY, BytesSource(DATA))
    assert (await ledger.stat(KEY)).digest is None
    async with await ledger.read(KEY) as reading:
        assert reading.meta.digest is None
    assert notes.asked == []
    assert [entry.digest async for entry in ledger.list(ROOT, deep=True)] == [digest(DATA)]


async def test_what_the_store_knows_isnt_asked_again(notes):
    inner = await filled(Recorder(digests=Digests.WRITTEN), folder__object=DATA)
    ledger = Ledger(inner, notes)
    assert (await ledger.stat(KEY)).digest == digest(DATA)
    assert [entry.digest async for entry in ledger.list(ROOT, deep=True)] == [digest(DATA)]
    assert notes.asked == []


async def test_a_listing_is_looked_up_by_the_page(ledger, inner, notes):
    names = [Key(f"folder/{number:04}") for number in range(3 * MOST)]
    for name in names:
        await ledger.write(name, BytesSource(DATA))
    found = [entry async for entry in ledger.list(ROOT, deep=True)]
    assert [(entry.key, entry.digest) for entry in found] == [(name, digest(DATA)) for name in names]
    assert sum(notes.asked) == len(names)
    assert len(notes.asked) < 12
    assert max(notes.asked) == MOST


@pytest.mark.parametrize("limit", [3, 40, 150])
async def test_whoever_wants_a_few_entries_gets_them_for_a_few(ledger, notes, limit):
    for number in range(600):
        await ledger.write(Key(f"folder/{number:04}"), BytesSource(DATA))
    entries, _ = await page(ledger, Key("folder"), limit=limit)
    assert [entry.digest for entry in entries] == [digest(DATA)] * limit
    assert sum(notes.asked) < 2 * limit + 16


async def test_folders_and_what_the_store_knows_stay_as_they_are(ledger, inner, notes):
    await ledger.write(Key("a"), BytesSource(DATA))
    await ledger.write(Key("a.b/c"), BytesSource(DATA))
    shown = [entry async for entry in ledger.list(ROOT)]
    assert [type(entry) for entry in shown] == [ObjectMeta, Prefix]
    assert shown[0].digest == digest(DATA)


async def test_what_is_deleted_is_forgotten_once_it_is_gone(ledger, inner, notes):
    await ledger.write(KEY, BytesSource(DATA))
    inner.delete = _refuses
    with expect.failure(Kind.FORBIDDEN):
        await ledger.delete([KEY])
    assert KEY in notes.rows
    del inner.delete
    await ledger.delete([KEY])
    assert notes.rows == {}


async def _refuses(keys):
    raise store_error(Kind.FORBIDDEN, "No.", key=keys[0])


async def test_a_body_is_closed_when_its_reader_leaves_during_the_lookup(notes):
    inner = Breaking(DATA, iter([]), digests=Digests.NONE)
    inner.objects[KEY] = (ObjectMeta(KEY, len(DATA), 0.0, "v1"), DATA)
    asked = asyncio.Event()

    async def never(metas):
        asked.set()
        await asyncio.Event().wait()

    notes.known = never
    reading = asyncio.ensure_future(Ledger(inner, notes).read(KEY))
    await asked.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert inner.closed == 1


async def test_a_lookup_is_no_part_of_the_stores_time(notes):
    spans = []
    store = standard(Forgetful(), Policy(QUICK, spans.append, notes))
    await store.write(KEY, BytesSource(DATA))

    async def slow(metas):
        await asyncio.sleep(0.05)
        return [None]

    notes.known = slow
    await store.stat(KEY)
    assert [span.op for span in spans] == ["write", "stat"]
    assert spans[1].seconds < 0.05
