"""A copy that broke off at any point goes on when it is made again: everything there, nothing left behind."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.transfer.ends import (
    EVERY_WAY,
    HURRIED,
    KIB,
    SMALL_PARTS,
    OneByOne,
    Undigested,
    content,
    digests,
    fill,
    memory,
    pending,
    some_bytes,
)

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind, StoreError, store_error
from shoso.layers import standard
from shoso.layers.faults import Faults, dropped
from shoso.layers.layer import Layer, LayerUploads
from shoso.stores.memory import MemoryStore
from shoso.transfer import Selection, copy, parts

TREE = {"small": b"s", "other": b"o" * 1000, "medium": some_bytes(150 * KIB), "large": some_bytes(300 * KIB)}
LARGE = {"large": some_bytes(1000 * KIB)}


class Killed(BaseException):
    """The end of a process, as far as one process can play it."""


def lost() -> StoreError:
    return store_error(Kind.UNAVAILABLE, "The network is gone (injected).")


class Late(Faults):
    """Breaks a call when it has been carried out: only its reply is lost."""

    async def call(self, op, key, attempt, source=None):
        result = await self.inner_call(op, key, attempt, source)
        self._draw()
        return result

    async def inner_call(self, op, key, attempt, source):
        return await Layer.call(self, op, key, attempt, source)


class Counting(Faults):
    """Counts the calls, and breaks none."""

    def __init__(self, inner):
        super().__init__(inner, iter([]))
        self.calls = 0

    def _draw(self):
        self.calls += 1


def dead_from(call, error):
    """Lets so many calls pass, and none that follows."""
    return itertools.chain([None] * call, (error() for _ in itertools.count()))


def once_at(call, error):
    """Breaks one call."""
    return iter([*[None] * call, error()])


@pytest.fixture
def policy(tmp_path):
    """A policy with a journal."""
    return replace(SMALL_PARTS, journal=tmp_path / "journals")


def store_of(digested):
    """With digests and batches, or without either."""
    return memory(MemoryStore() if digested else Undigested())


async def calls_of(end, digested) -> int:
    """How many calls a whole copy makes on one of its ends."""
    src, dst = store_of(digested), store_of(digested)
    await fill(src, TREE)
    counting = Counting(src if end == "src" else dst)
    await copy(*(counting, dst) if end == "src" else (src, counting), Selection(), SMALL_PARTS)
    assert counting.calls >= 8
    return counting.calls


@pytest.mark.parametrize("end", ["src", "dst"])
@pytest.mark.parametrize("layer", [Faults, Late])
@pytest.mark.parametrize("shape", [dead_from, once_at])
@pytest.mark.parametrize("error", [lost, Killed])
@pytest.mark.parametrize("digested", [True, False], ids=["digests", "versions"])
async def test_a_copy_that_broke_off_at_any_call_is_gone_on_with(end, layer, shape, error, digested, policy):
    for call in range(await calls_of(end, digested)):
        src, dst = store_of(digested), store_of(digested)
        await fill(src, TREE)
        faulty = layer(src if end == "src" else dst, shape(call, error))
        with suppress(StoreError, Killed):
            await copy(*(faulty, dst) if end == "src" else (src, faulty), Selection(), policy)
        halves = (await content(dst)).items() - digests(TREE).items()
        await copy(src, dst, Selection(), policy)
        assert (halves, await content(dst), await pending(dst)) == (set(), digests(TREE), []), call


@pytest.mark.parametrize("digested", [True, False], ids=["digests", "versions"])
async def test_a_copy_that_broke_off_at_any_two_calls_is_gone_on_with(digested, policy):
    """What the first has left behind isn't forgotten by the second."""
    calls = await calls_of("dst", digested)
    for first, second in itertools.product(range(calls), repeat=2):
        src, dst = store_of(digested), store_of(digested)
        await fill(src, TREE)
        for call in (first, second):
            with suppress(Killed):
                await copy(src, Late(dst, dead_from(call, Killed)), Selection(), policy)
        await copy(src, dst, Selection(), policy)
        assert (await content(dst), await pending(dst)) == (digests(TREE), []), (first, second)


@pytest.mark.parametrize("journalled", [True, False])
async def test_a_reply_that_is_lost_leaves_nothing_behind_though_the_call_is_made_again(
    journalled, policy, monkeypatch
):
    monkeypatch.setattr(parts, "PROMPT", 0)
    policy = policy if journalled else SMALL_PARTS
    for call in range(await calls_of("dst", digested=False)):
        inner = Undigested()
        dst = standard(Late(inner, once_at(call, dropped)), HURRIED)
        src = memory()
        await fill(src, TREE)
        await copy(src, dst, Selection(), policy)
        assert (await content(dst), await pending(memory(inner))) == (digests(TREE), []), call


async def test_what_a_lost_reply_has_left_is_cleared_away_later_where_it_cant_be_at_once(policy, monkeypatch):
    """A call whose reply is lost is made again, and one that follows soon fails for good."""
    monkeypatch.setattr(parts, "PROMPT", 0)
    calls = await calls_of("dst", digested=False)
    for call, pause in itertools.product(range(calls), range(4)):
        inner, src = Undigested(), memory()
        later, lost_reply = memory(inner), Late(inner, once_at(call, dropped))
        failing = itertools.chain([None] * (call + 2 + pause), [dropped()] * HURRIED.retry.attempts)
        await fill(src, TREE)
        with suppress(StoreError):
            await copy(src, standard(Faults(lost_reply, failing), HURRIED), Selection(), policy)
        await copy(src, later, Selection(), policy)
        assert (await content(later), await pending(later)) == (digests(TREE), []), (call, pause)


async def test_what_others_send_to_the_same_place_goes_on(policy, monkeypatch):
    monkeypatch.setattr(parts, "PROMPT", 0)
    src, dst = memory(), memory()
    await fill(src, LARGE)
    other = await dst.uploads.begin(Key("large"))
    await dst.uploads.put(other, 1, BytesSource(b"other"))
    await copy(src, dst, Selection(), policy)
    assert [ref async for ref in dst.uploads.pending(Key(""))] == [other]


class Far(Layer):
    """A store at the end of a long line: every call of its uploads takes a while."""

    @property
    def uploads(self):
        return FarUploads(self, self.inner.uploads)


class FarUploads(LayerUploads):
    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        return delayed(found) if name in {"begin", "put", "parts", "finish", "abort"} else found


def delayed(call):
    async def late(*args):
        await asyncio.sleep(parts.PROMPT)
        result = await call(*args)
        await asyncio.sleep(parts.PROMPT)
        return result

    return late


async def test_clients_far_away_that_send_the_same_at_once_dont_stop_each_other(tmp_path):
    inner = MemoryStore()

    async def send(number: int) -> None:
        src = memory()
        await fill(src, LARGE)
        await asyncio.sleep(number * parts.PROMPT / 2)
        policy = replace(SMALL_PARTS, journal=tmp_path / f"{number}")
        await copy(src, standard(Far(inner), HURRIED), Selection(), policy)

    await asyncio.gather(*map(send, range(8)))
    assert (await content(memory(inner)), await pending(memory(inner))) == (digests(LARGE), [])


class Cancelling(Faults):
    """Cancels the task that copies, at one of its calls."""

    task: asyncio.Task

    def _draw(self):
        if next(self._plan, None) is not None:
            self.task.cancel()


async def no_task_left():
    """Only this one, once the loop has closed the bodies that nobody reads any more."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("end", ["src", "dst"])
@pytest.mark.parametrize("digested", [True, False], ids=["digests", "versions"])
@pytest.mark.parametrize("journalled", [True, False])
async def test_a_copy_cancelled_at_any_call_leaves_no_task_and_no_half(end, digested, journalled, policy):
    policy = policy if journalled else SMALL_PARTS
    for call in range(await calls_of(end, digested)):
        src, dst = store_of(digested), store_of(digested)
        await fill(src, TREE)
        stopping = Cancelling(src if end == "src" else dst, once_at(call, lost))
        ends = (stopping, dst) if end == "src" else (src, stopping)
        stopping.task = asyncio.create_task(copy(*ends, Selection(), policy))
        with suppress(asyncio.CancelledError):
            await stopping.task
        await no_task_left()
        assert (await content(dst)).items() <= digests(TREE).items()
        if not journalled:
            assert await pending(dst) == [], call
        await copy(src, dst, Selection(), policy)
        assert (await content(dst), await pending(dst)) == (digests(TREE), []), call


class Broken:
    """A copy of one large object of 16 parts that was killed when half of them were there."""

    def __init__(self, policy):
        self.src_store, self.dst_store = Undigested(), Undigested()
        self.src, self.dst = memory(self.src_store), memory(self.dst_store)
        self.policy = policy

    async def break_off(self, faulty=None):
        await fill(self.src, LARGE)
        with suppress(Killed):
            await copy(self.src, Faults(self.dst, dead_from(10, Killed)), Selection(), self.policy)
        assert await pending(self.dst) == ["large"]

    async def again(self):
        report = await copy(self.src, self.dst, Selection(), self.policy)
        assert await pending(self.dst) == []
        return report


@pytest.fixture
async def broken(policy):
    copying = Broken(replace(policy, parallel=1))
    await copying.break_off()
    return copying


async def test_parts_that_are_there_are_not_sent_again(broken):
    report = await broken.again()
    assert 0 < report.sent < len(LARGE["large"]) - 5 * SMALL_PARTS.part_size
    assert await content(broken.dst) == digests(LARGE)


async def test_an_upload_is_gone_on_with_in_the_parts_that_it_was_begun_with(broken):
    broken.policy = replace(broken.policy, part_size=100 * KIB)
    assert (await broken.again()).sent < len(LARGE["large"])
    assert await content(broken.dst) == digests(LARGE)


async def test_a_source_that_changed_in_between_starts_over(broken):
    new = {"large": some_bytes(1000 * KIB, seed=9)}
    await fill(broken.src, new)
    assert (await broken.again()).sent == len(new["large"])
    assert await content(broken.dst) == digests(new)


async def test_a_source_that_is_gone_leaves_no_upload_behind(broken):
    await broken.src.delete([Key("large")])
    assert (await broken.again()).copied == 0
    assert await content(broken.dst) == {}


async def test_an_upload_that_was_aborted_elsewhere_starts_over(broken):
    async for ref in broken.dst.uploads.pending(Key("")):
        await broken.dst.uploads.abort(ref)
    assert (await broken.again()).sent == len(LARGE["large"])
    assert await content(broken.dst) == digests(LARGE)


async def test_a_part_that_is_damaged_in_the_store_is_noticed_and_sent_again(broken):
    [upload] = broken.dst_store._uploads._uploads.values()
    part, data = upload.parts[1]
    upload.parts[1] = (part, b"X" + data[1:])
    await broken.again()
    assert await content(broken.dst) == digests(LARGE)


async def test_an_upload_aborted_while_it_goes_on_starts_over():
    src, dst = memory(), memory()
    await fill(src, LARGE)

    class Aborting(Faults):
        def _draw(self):
            if next(self._plan, None) is not None:
                dst_store._uploads._uploads.clear()

    dst_store = MemoryStore()
    dst = memory(dst_store)
    await copy(src, Aborting(dst, once_at(8, lost)), Selection(), SMALL_PARTS)
    assert (await content(dst), await pending(dst)) == (digests(LARGE), [])


async def test_without_a_journal_a_failure_leaves_no_upload_behind():
    src, dst = memory(), memory()
    await fill(src, LARGE)
    with pytest.raises(StoreError, match="network is gone"):
        await copy(src, Faults(dst, once_at(8, lost)), Selection(), SMALL_PARTS)
    assert await pending(dst) == []


async def test_what_others_have_under_way_is_left_alone(broken):
    other = await broken.dst.uploads.begin(Key("large.other"))
    await copy(broken.src, broken.dst, Selection(), broken.policy)
    assert [ref async for ref in broken.dst.uploads.pending(Key(""))] == [other]


# -- what is unchanged ------------------------------------------------------------------------------------


class Reads(OneByOne):
    """Notes which objects are read, and which are written."""

    def __init__(self, inner):
        super().__init__(inner)
        self.read_keys, self.written = [], []

    async def open(self, key, wanted, if_match):
        self.read_keys.append(key)
        return await super().open(key, wanted, if_match)

    async def write(self, key, *more, **named):
        self.written.append(key)
        return await super().write(key, *more, **named)


@pytest.fixture
async def twice(policy):
    """Both ends after a copy, the source's objects old enough that their times tell versions apart."""
    store = Undigested()
    src, dst = memory(store), memory(Undigested())
    await fill(src, EVERY_WAY)
    store.age(60)
    await copy(src, dst, Selection(), policy)
    return src, dst


async def test_what_the_journal_knows_is_neither_read_nor_sent(twice, policy):
    src, dst = map(Reads, twice)
    report = await copy(src, dst, Selection(), policy)
    assert (report.skipped, report.copied, src.read_keys, dst.read_keys, dst.written) == (10, 0, [], [], [])


async def test_what_changed_at_either_end_is_sent(twice, policy):
    src, dst = twice
    first, second, third, *_ = EVERY_WAY
    await src.write(Key(first), BytesSource(b"new at the source"))
    await dst.write(Key(second), BytesSource(b"x"))
    await dst.delete([Key(third)])
    report = await copy(src, dst, Selection(), policy)
    assert (report.copied, report.skipped) == (3, 7)
    assert await content(dst) == digests(EVERY_WAY | {first: b"new at the source"})


async def test_what_was_touched_is_read_and_not_sent(twice, policy):
    src, dst = twice
    await fill(src, EVERY_WAY)
    src, dst = Reads(src), Reads(dst)
    report = await copy(src, dst, Selection(), policy)
    assert (report.skipped, report.copied, dst.written) == (10, 0, [])
    assert {*src.read_keys} == {*EVERY_WAY}


async def test_what_may_have_changed_within_a_tick_of_its_clock_is_read_again(policy):
    """A file written twice in an instant has one time, and perhaps one size."""
    store = Undigested()
    src, dst = memory(store), memory(Undigested())
    await fill(src, {"a": b"old"})
    await copy(src, dst, Selection(), policy)
    meta, _ = store.objects[Key("a")]
    store.objects[Key("a")] = (meta, b"new")
    await copy(src, dst, Selection(), policy)
    assert await read_bytes(dst, Key("a")) == b"new"


async def test_without_a_journal_digests_that_cost_little_tell(twice):
    src, dst = map(Reads, twice)
    report = await copy(src, dst, Selection(), SMALL_PARTS)
    small = [path for path, data in EVERY_WAY.items() if len(data) < SMALL_PARTS.parts_from]
    assert sorted(dst.written) == sorted(small)
    assert report.skipped == len(EVERY_WAY) - len(small)


async def test_a_copy_from_afar_is_read_once(policy):
    """There, to read is what costs."""
    src, dst = memory(Undigested("s3")), memory()
    await fill(src, EVERY_WAY)
    await copy(src, dst, Selection(), SMALL_PARTS)
    src, dst = Reads(src), Reads(dst)
    await copy(src, dst, Selection(), SMALL_PARTS)
    assert len(src.read_keys) == sum(
        max(1, -(-len(data) // SMALL_PARTS.part_size) if len(data) >= SMALL_PARTS.parts_from else 1)
        for data in EVERY_WAY.values()
    )
