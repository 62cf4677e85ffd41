"""limits: no more calls under way than the store takes, and none that lasts for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, breaking
from tests.layers.stubs import KEY, Gated, Limited, Recorder, dropped, filled

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource, StreamSource
from shoso.core.types import ALL, ObjectMeta, SmallObject
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers import limits
from shoso.layers.faults import Faults
from shoso.layers.limits import MOVES, Limits
from shoso.layers.retry import RetryLayer, RetryPolicy

DATA = b"0123456789"


class Deadlines:
    """Stands for asyncio.timeout: no deadline passes until the test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.running: list[asyncio.Timeout] = []
        self.asked: list[float | None] = []
        self._real: Callable = asyncio.timeout
        patch.setattr(limits.asyncio, "timeout", self)

    def __call__(self, delay: float | None) -> asyncio.Timeout:
        self.asked.append(delay)
        self.running.append(self._real(None))
        return self.running[-1]

    def pass_by(self) -> None:
        """The last deadline that was set is over."""
        self.running[-1].reschedule(0)


@pytest.fixture
def deadlines(monkeypatch):
    """Deadlines that pass when the test says so."""
    return Deadlines(monkeypatch)


async def _gated(**capabilities) -> Gated:
    return await filled(Gated(**capabilities), folder__object=DATA)


async def _free(store: Limits) -> bool:
    """Whether a call gets through at once."""
    calling = asyncio.ensure_future(store.delete([Key("nothing")]))
    for _ in range(20):
        await asyncio.sleep(0)
    if not calling.done():
        calling.cancel()
        return False
    await calling
    return True


class TestPermits:
    async def test_no_more_calls_are_under_way_than_the_store_takes(self):
        inner = await _gated(connections=3)
        store = Limits(inner, None)
        calls = [asyncio.ensure_future(store.stat(KEY)) for _ in range(10)]
        await inner.until(3)
        inner.go.set()
        await asyncio.gather(*calls)
        assert inner.most == 3

    async def test_a_permit_lives_as_long_as_the_body(self):
        store = Limits(await filled(Limited(connections=1), folder__object=DATA), None)
        async with await store.read(KEY) as reading:
            assert not await _free(store)
            assert [bytes(data) async for data in reading.body] == [DATA]
            assert not await _free(store)
        assert await _free(store)

    async def test_a_body_left_half_read_gives_its_permit_back(self):
        store = Limits(await filled(Limited(connections=1), folder__object=DATA), None)
        async with await store.read(KEY):
            pass
        assert await _free(store)

    async def test_a_permit_is_given_back_once(self):
        inner = await _gated(connections=1)
        store = Limits(inner, None)
        reading = await store.read(KEY)
        await reading.close()
        await reading.close()
        calls = [asyncio.ensure_future(store.stat(KEY)) for _ in range(3)]
        await inner.until(1)
        inner.go.set()
        await asyncio.gather(*calls)
        assert inner.most == 1

    async def test_a_close_that_fails_gives_the_permit_back(self):
        class Stuck(Limited):
            async def read(self, key, wanted=ALL, if_match=None):
                async def close():
                    raise store_error(Kind.UNAVAILABLE, "It is gone.")

                reading = await super().read(key, wanted, if_match)
                reading.close = close
                return reading

        store = Limits(await filled(Stuck(connections=1), folder__object=DATA), None)
        reading = await store.read(KEY)
        with expect.failure(Kind.UNAVAILABLE):
            await reading.close()
        assert await _free(store)

    async def test_calls_that_fail_give_their_permits_back(self):
        store = Limits(Limited(connections=1), None)
        for _ in range(3):
            with expect.failure(Kind.NOT_FOUND):
                await store.stat(KEY)
            with expect.failure(Kind.NOT_FOUND):
                await store.read(KEY)
        assert await _free(store)

    async def test_calls_that_are_cancelled_give_their_permits_back(self):
        inner = await _gated(connections=1)
        store = Limits(inner, None)
        for call in (store.stat(KEY), store.write(Key("a"), Paused(DATA, 5)), store.read(Key("slow"))):
            calling = asyncio.ensure_future(call)
            for _ in range(5):
                await asyncio.sleep(0)
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
        assert await _free(store)

    async def test_a_listing_takes_its_turn(self):
        store = Limits(await filled(Limited(connections=1), folder__object=DATA), None)
        async with await store.read(KEY):
            listing = asyncio.ensure_future(anext(store.list(ROOT)))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not listing.done()
        assert (await listing).key == "folder"

    async def test_a_write_holds_its_permit_to_its_end(self):
        store = Limits(Limited(connections=1), None)
        source = Paused(DATA, 5)
        writing = asyncio.ensure_future(store.write(KEY, source))
        await source.waiting.wait()
        assert not await _free(store)
        source.go.set()
        await writing
        assert await _free(store)

    async def test_a_listing_holds_a_permit_only_while_it_takes_a_step(self):
        store = Limits(await filled(Limited(connections=1), a=b"", b=b"", c=b""), None)
        found = []
        async for entry in store.list(ROOT):
            found.append(entry.key)
            assert await _free(store)
        assert found == ["a", "b", "c"]

    async def test_a_retry_that_sleeps_holds_no_permit(self, monkeypatch):
        asleep, wake = asyncio.Event(), asyncio.Event()

        async def sleep(seconds):
            asleep.set()
            await wake.wait()

        inner = await filled(Limited(connections=1), folder__object=DATA)
        limited = Limits(Faults(inner, iter([dropped()])), None)
        monkeypatch.setattr("shoso.layers.retry.asyncio.sleep", sleep)
        calling = asyncio.ensure_future(RetryLayer(limited, RetryPolicy()).stat(KEY))
        await asleep.wait()
        monkeypatch.undo()
        assert await _free(limited)
        wake.set()
        assert (await calling).size == len(DATA)

    async def test_a_retry_of_a_body_that_sleeps_holds_no_permit(self, monkeypatch):
        asleep, wake = asyncio.Event(), asyncio.Event()

        async def sleep(seconds):
            asleep.set()
            await wake.wait()

        inner = await filled(Limited(connections=1), folder__object=DATA)
        limited = Limits(Faults(inner, iter([None, dropped()])), None)
        monkeypatch.setattr("shoso.layers.retry.asyncio.sleep", sleep)
        reading = asyncio.ensure_future(read_bytes(RetryLayer(limited, RetryPolicy()), KEY))
        await asleep.wait()
        monkeypatch.undo()
        assert await _free(limited)
        wake.set()
        assert await reading == DATA


class TestDeadlines:
    async def test_a_call_without_an_answer_times_out(self, deadlines):
        inner = await _gated()
        calling = asyncio.ensure_future(Limits(inner, 5.0).stat(KEY))
        await inner.until(1)
        deadlines.pass_by()
        with expect.failure(Kind.TIMEOUT) as caught:
            await calling
        assert isinstance(caught.value, TimeoutError)
        assert (caught.value.retry, caught.value.op, caught.value.key) == (Retry.SOON, "stat", KEY)
        assert "5 s" in caught.value.message
        assert inner.inside == 0
        assert deadlines.asked == [5.0]

    async def test_a_batch_has_a_deadline_for_each_share_of_it(self, deadlines):
        """A slow link needs minutes for what is one call here."""
        store = Limits(Limited(), 5.0)
        meta = ObjectMeta(KEY, 1 << 19, 0.0)
        for objects, shares in ((1, 1), (2, 2), (7, 4)):
            await store.batches.write([SmallObject(meta, bytes(meta.size))] * objects)
            assert deadlines.asked[-1] == 5.0 * shares
        for objects, shares in ((1, 1), (63, 1), (64, 2), (640, 11)):
            await store.batches.read([KEY] * objects)
            assert deadlines.asked[-1] == 5.0 * shares

    async def test_a_batch_without_an_answer_times_out_and_gives_its_permit_back(self, deadlines):
        inner = Limited(connections=1)
        store = Limits(inner, 5.0)

        async def never(keys):
            await asyncio.Event().wait()

        inner.batches.read = never
        reading = asyncio.ensure_future(store.batches.read([KEY] * 64))
        assert not await _free(store)
        deadlines.pass_by()
        with expect.failure(Kind.TIMEOUT) as caught:
            await reading
        assert "10 s" in caught.value.message
        assert await _free(store)

    async def test_a_body_that_stays_silent_times_out(self, deadlines):
        inner = await _gated(connections=1)
        store = Limits(inner, 5.0)
        async with await store.read(KEY) as reading:
            waiting = asyncio.ensure_future(anext(reading.body))
            await inner.until(1)
            deadlines.pass_by()
            with expect.failure(Kind.TIMEOUT) as caught:
                await waiting
            assert (caught.value.op, caught.value.key) == ("read", KEY)
        assert await _free(store)

    async def test_each_buffer_gets_the_deadline_anew(self, deadlines):
        inner = await filled(Limited(), folder__object=bytes(3_000_000))
        assert len(await read_bytes(Limits(inner, 5.0), KEY)) == 3_000_000
        assert len(deadlines.asked) == 1 + 3 + 1  # to open, a buffer of a MiB each, the end

    async def test_each_entry_of_a_listing_gets_the_deadline_anew(self, deadlines):
        inner = await filled(Limited(), a=b"", b=b"")
        inner.list = _slowly(inner.list)
        assert len([entry async for entry in Limits(inner, 5.0).list(ROOT)]) == 2
        assert len(deadlines.asked) == 3

    async def test_an_entry_that_comes_at_once_needs_no_deadline(self, deadlines):
        store = Limits(await filled(Limited(), a=b"", b=b""), 5.0)
        assert len([entry async for entry in store.list(ROOT)]) == 2
        assert deadlines.asked == []

    async def test_a_listing_that_stays_silent_times_out(self, deadlines):
        inner, ended = Limited(), asyncio.Event()

        async def silent(*args):
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            yield

        inner.list = silent
        store = Limits(inner, 5.0)
        listing = asyncio.ensure_future(anext(store.list(ROOT)))
        for _ in range(3):
            await asyncio.sleep(0)
        deadlines.pass_by()
        with expect.failure(Kind.TIMEOUT):
            await listing
        assert ended.is_set()
        assert await _free(store)

    async def test_a_listing_that_breaks_off_does_so_in_its_own_words(self, deadlines):
        inner = Limited()
        inner.list = _slowly(broken)
        with pytest.raises(ZeroDivisionError):
            await anext(Limits(inner, 5.0).list(ROOT))

    async def test_the_wait_for_a_permit_is_not_charged(self, deadlines):
        store = Limits(await filled(Limited(connections=1), folder__object=DATA), 5.0)
        async with await store.read(KEY):
            before = len(deadlines.asked)
            calling = asyncio.ensure_future(store.stat(KEY))
            for _ in range(10):
                await asyncio.sleep(0)
            assert len(deadlines.asked) == before
        await calling
        assert len(deadlines.asked) == before + 1

    async def test_the_error_of_the_store_stays_what_it_is(self, deadlines):
        own = store_error(Kind.TIMEOUT, "The disk sleeps.", retry=Retry.NEVER)
        with pytest.raises(StoreError) as caught:
            await Limits(Faults(Limited(), iter([own])), 5.0).stat(KEY)
        assert caught.value is own

    async def test_a_sender_may_take_its_time(self, deadlines):
        source = Paused(DATA, 5)
        store = Limits(Limited(), 5.0)
        writing = asyncio.ensure_future(store.write(KEY, source))
        await source.waiting.wait()
        assert not [deadline for deadline in deadlines.running if deadline.when() is not None]
        source.go.set()
        await writing

    async def test_a_store_that_takes_the_body_and_says_nothing_times_out(self, deadlines):
        class Dead(Limited):
            async def write(self, key, source, *rest):
                async for _ in source.open():
                    pass
                await asyncio.Event().wait()

        writing = asyncio.ensure_future(Limits(Dead(), 5.0).write(KEY, BytesSource(DATA)))
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            assert deadlines.running
            deadlines.pass_by()
            with expect.failure(Kind.TIMEOUT):
                await writing
        finally:
            writing.cancel()

    async def test_a_store_that_hangs_over_a_broken_source_times_out(self, deadlines):
        class Tidying(Limited):
            async def write(self, key, source, *rest):
                try:
                    async for _ in source.open():
                        pass
                finally:
                    await asyncio.Event().wait()

        writing = asyncio.ensure_future(Limits(Tidying(), 5.0).write(KEY, breaking(DATA)))
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            assert deadlines.running[-1].when() is not None
            deadlines.pass_by()
            with expect.failure(Kind.TIMEOUT):
                await writing
        finally:
            writing.cancel()

    async def test_a_source_that_is_let_go_of_late_changes_no_deadline(self, deadlines):
        class Hasty(Limited):
            async def write(self, key, source, *rest):
                self.buffers = source.open()
                await anext(self.buffers)

        inner = Hasty()
        await Limits(inner, 5.0).write(KEY, BytesSource(DATA))
        await inner.buffers.aclose()

    @pytest.mark.parametrize("silence", [5.0, None])
    async def test_the_time_out_of_a_sender_is_not_the_stores(self, deadlines, silence):
        async def slow():
            yield DATA
            raise TimeoutError("The sender's own.")

        with pytest.raises(TimeoutError, match="own"):
            await Limits(Limited(), silence).write(KEY, StreamSource(slow()))

    async def test_a_finish_may_take_its_time(self, deadlines):
        """A hundred gigabytes are not put together within the time of an answer."""
        store = Limits(Limited(), 5.0)
        ref = await store.uploads.begin(KEY)
        part = await store.uploads.put(ref, 1, BytesSource(b"part"))
        before = len(deadlines.asked)
        await store.uploads.finish(ref, [part])
        assert len(deadlines.asked) == before

    async def test_no_deadline_is_no_deadline(self, deadlines):
        await Limits(await filled(Limited(), folder__object=DATA), None).stat(KEY)
        assert deadlines.asked == []


class TestDeletes:
    async def test_keys_go_in_round_trips_of_as_many_as_the_store_takes(self):
        inner = Recorder(bulk_delete=3)
        await Limits(inner, None).delete([Key(name) for name in "abcdefgh"])
        assert [len(keys) for (keys,) in inner.of("delete")] == [3, 3, 2]

    async def test_no_keys_are_no_round_trip(self):
        inner = Recorder()
        await Limits(inner, None).delete([])
        assert inner.calls == []

    async def test_all_are_tried_before_a_failure_is_raised(self):
        class Picky(Limited):
            async def delete(self, keys):
                await super().delete([key for key in keys if key != "b"])
                if "b" in keys:
                    raise store_error(Kind.FORBIDDEN, "Not that one.", key="b")

        inner = await filled(Picky(bulk_delete=2), a=b"", b=b"", c=b"", d=b"", e=b"")
        with expect.failure(Kind.FORBIDDEN) as caught:
            await Limits(inner, None).delete([Key(name) for name in "abcde"])
        assert caught.value.key == "b"
        assert set(inner.objects) == {"b"}


class TestMoves:
    async def test_they_go_side_by_side_within_the_permits_and_all_are_tried(self):
        class Picky(Limited):
            at_once = most = 0

            async def move(self, moves):
                self.at_once += 1
                self.most = max(self.most, self.at_once)
                await asyncio.sleep(0)
                self.at_once -= 1
                await super().move(moves)

        count = MOVES * 5
        inner = await filled(Picky(connections=3), **{f"a{place}": b"" for place in range(count)})
        moves = [(Key(f"a{place}"), Key(f"b{place}")) for place in range(count)]
        with expect.failure(Kind.NOT_FOUND) as caught:
            await Limits(inner, None).move([(Key("missing"), Key("target")), *moves])
        assert caught.value.key == "missing"
        assert set(inner.objects) == {target for _, target in moves}
        assert inner.most == 3

    async def test_few_go_together_and_many_in_calls_that_the_store_takes(self):
        inner = Recorder(bulk_delete=20, connections=2)
        for count in (0, MOVES, 50):
            moves = [(Key(f"a{place}"), Key(f"b{place}")) for place in range(count)]
            await filled(inner, **{key: b"" for key, _ in moves})
            inner.calls.clear()
            await Limits(inner, None).move(moves)
            sizes = [len(moves) for (moves,) in inner.of("move")]
            assert sizes == {0: [], MOVES: [MOVES], 50: [20, 20, 10]}[count]


async def test_a_store_may_be_used_from_one_loop_after_another():
    store = Limits(await filled(Limited(connections=1), folder__object=DATA), None)

    def elsewhere():
        return asyncio.run(read_bytes(store, KEY))

    assert await asyncio.to_thread(elsewhere) == DATA
    assert await asyncio.to_thread(elsewhere) == DATA
    await store.write(Key("other"), BytesSource(b"."))


def _slowly(listing):
    """The same listing, with a few turns of the loop before each entry and the end."""

    async def listed(*args):
        async for entry in listing(*args):
            for _ in range(3):
                await asyncio.sleep(0)
            yield entry
        await asyncio.sleep(0)

    return listed


async def broken(*args):
    raise ZeroDivisionError
    yield
