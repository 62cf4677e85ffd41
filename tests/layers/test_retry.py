"""retry: what may succeed later is tried again, nothing else, and a body goes on where it stopped."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.conformance.sources import SourceBroke, breaking, stream
from tests.layers.stubs import KEY, Breaking, Limited, Recorder, dropped, filled

from shoso.core.keys import ROOT, Key
from shoso.core.store import order, read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import ALL, From, FromTo, Last
from shoso.errors import Kind, Retry, StoreError, store_error
from shoso.layers.faults import Faults
from shoso.layers.retry import RetryLayer, RetryPolicy

QUICK = RetryPolicy(attempts=3, first=0.0001, longest=0.0002)
DATA = b"0123456789abcdef"


@pytest.fixture
def slept(monkeypatch):
    """The waits between attempts, none of which is waited for."""
    waits = []
    sleep = asyncio.sleep

    async def noted(seconds):
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("shoso.layers.retry.asyncio.sleep", noted)
    return waits


def _failing(inner, *plan):
    return RetryLayer(Faults(inner, iter(plan)), QUICK)


@pytest.mark.usefixtures("slept")
class TestCalls:
    async def test_a_call_is_tried_again_until_it_succeeds(self):
        inner = await filled(Recorder())
        store = _failing(inner, dropped(), dropped(), None)
        await store.write(KEY, BytesSource(DATA))
        assert await read_bytes(inner, KEY) == DATA

    async def test_a_store_that_was_silent_for_long_is_not_asked_again(self, monkeypatch):
        clock = itertools.count(0, 40.0)  # each attempt takes 40 s
        monkeypatch.setattr("shoso.layers.retry.time.monotonic", lambda: next(clock))
        for kind, tries in ((Kind.TIMEOUT, 2), (Kind.UNAVAILABLE, 3)):
            plan = iter([store_error(kind, "It said nothing.", retry=Retry.SOON) for _ in range(10)])
            with expect.failure(kind) as caught:
                await RetryLayer(Faults(Limited(), plan), replace(QUICK, patience=60.0)).stat(KEY)
            assert caught.value.retry is Retry.EXHAUSTED
            assert len([*plan]) == 10 - tries

    async def test_a_call_that_goes_on_failing_is_exhausted(self):
        faults = [dropped() for _ in range(10)]
        plan = iter(faults)
        store = RetryLayer(Faults(Limited(), plan), QUICK)
        with expect.failure(Kind.UNAVAILABLE) as caught:
            await store.stat(KEY)
        assert caught.value is faults[2]
        assert caught.value.retry is Retry.EXHAUSTED
        assert len([*plan]) == 10 - QUICK.attempts

    async def test_an_outer_retry_doesnt_multiply(self):
        plan = iter([dropped() for _ in range(100)])
        store = RetryLayer(RetryLayer(Faults(Limited(), plan), QUICK), QUICK)
        with expect.failure(Kind.UNAVAILABLE):
            await store.stat(KEY)
        assert len([*plan]) == 100 - QUICK.attempts

    @pytest.mark.parametrize("retry", [Retry.NEVER, Retry.EXHAUSTED])
    async def test_what_will_not_succeed_is_not_tried_again(self, retry):
        plan = iter([store_error(Kind.FORBIDDEN, "No.", retry=retry), None, None])
        with expect.failure(Kind.FORBIDDEN) as caught:
            await RetryLayer(Faults(Limited(), plan), QUICK).stat(KEY)
        assert caught.value.retry is retry
        assert len([*plan]) == 2

    @pytest.mark.parametrize("error", [SourceBroke(), asyncio.CancelledError(), ValueError()], ids=repr)
    async def test_what_is_no_error_of_the_store_is_not_tried_again(self, error):
        plan = iter([error, None])
        with pytest.raises(type(error)):
            await RetryLayer(Faults(Limited(), plan), QUICK).stat(KEY)
        assert len([*plan]) == 1

    async def test_every_verb_is_tried_again(self):
        inner = await filled(Recorder(), folder__object=DATA)
        plan = (fault() for fault in itertools.cycle([dropped, lambda: None, lambda: None]))
        store = RetryLayer(Faults(inner, plan), QUICK)
        await store.stat(KEY)
        await store.delete([Key("other")])
        await store.write(Key("other"), BytesSource(b"."))
        assert await read_bytes(store, KEY) == DATA
        ref = await store.uploads.begin(KEY)
        part = await store.uploads.put(ref, 1, BytesSource(b"part"))
        assert await store.uploads.parts(ref) == [part]
        await store.uploads.finish(ref, [part])
        await store.uploads.abort(await store.uploads.begin(KEY))


@pytest.mark.usefixtures("slept")
class TestSources:
    @pytest.mark.parametrize("verb", ["write", "put"])
    async def test_a_source_that_comes_once_is_sent_once(self, verb):
        plan = iter([dropped(), None])
        inner = Recorder()
        ref = await inner.uploads.begin(KEY)
        store = RetryLayer(Faults(inner, plan), QUICK)
        calls = {"write": store.write, "put": lambda _, source: store.uploads.put(ref, 1, source)}
        with expect.failure(Kind.UNAVAILABLE) as caught:
            await calls[verb](KEY, stream([DATA]))
        assert caught.value.retry is Retry.EXHAUSTED
        assert len([*plan]) == 1

    async def test_a_source_that_can_be_opened_again_is_sent_whole_again(self):
        opened = []

        class Counted(BytesSource):
            def open(self, start=0):
                opened.append(start)
                return super().open(start)

        class LateFault(Recorder):
            async def write(self, key, source, *rest):
                async for _ in source.open():
                    break
                if len(opened) < 3:
                    raise dropped()
                return await super().write(key, source, *rest)

        inner = LateFault()
        await RetryLayer(inner, QUICK).write(KEY, Counted(DATA))
        assert opened == [0, 0, 0, 0]
        assert await read_bytes(inner, KEY) == DATA

    async def test_a_source_that_breaks_is_not_asked_again(self):
        with pytest.raises(SourceBroke):
            await RetryLayer(Limited(), QUICK).write(KEY, breaking(DATA))


class TestWaits:
    async def test_what_the_far_end_asked_for_is_waited(self, slept):
        store = _failing(await filled(Limited(), folder__object=DATA), dropped(Retry.AFTER, 7.5), None)
        await store.stat(KEY)
        assert slept == [7.5]

    @pytest.mark.parametrize("pause", [61.0, 86400.0, float("inf"), float("nan")])
    async def test_a_pause_for_longer_than_anybody_waits_is_the_callers(self, slept, pause):
        store = RetryLayer(Faults(Limited(), iter([dropped(Retry.AFTER, pause)])), RetryPolicy())
        with expect.failure(Kind.UNAVAILABLE) as caught:
            await store.stat(KEY)
        assert slept == []
        assert caught.value.retry is Retry.EXHAUSTED
        assert caught.value.retry_after is pause

    async def test_waits_double_up_to_the_longest_half_of_it_at_random(self, slept):
        policy = RetryPolicy(attempts=8, first=1.0, longest=10.0)
        store = RetryLayer(Faults(Limited(), itertools.repeat(dropped())), policy)
        with expect.failure(Kind.UNAVAILABLE):
            await store.stat(KEY)
        for wait, most in zip(slept, [1, 2, 4, 8, 10, 10, 10], strict=True):
            assert most / 2 <= wait <= most

    async def test_waits_are_not_all_the_same(self, slept):
        for _ in range(10):
            await _failing(await filled(Limited(), folder__object=DATA), dropped(), None).stat(KEY)
        assert len(set(slept)) > 1

    async def test_a_wait_can_be_cancelled(self):
        policy = RetryPolicy(attempts=2, first=1000.0, longest=1000.0)
        calling = asyncio.ensure_future(RetryLayer(Faults(Limited(), iter([dropped()])), policy).stat(KEY))
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling


@pytest.mark.usefixtures("slept")
class TestBodies:
    @pytest.mark.parametrize("place", range(len(DATA) + 1))
    async def test_a_body_goes_on_where_it_broke_off(self, place):
        inner = await filled(Breaking(DATA, iter([place])), folder__object=DATA)
        etag = (await inner.stat(KEY)).etag
        assert await read_bytes(RetryLayer(inner, QUICK), KEY) == DATA
        again = [(FromTo(place, len(DATA)), etag)] if place < len(DATA) else []
        assert [(wanted, match) for _, wanted, match in inner.of("read")] == [(ALL, None), *again]

    @pytest.mark.parametrize("wanted", [FromTo(2, 11), From(5), Last(7)], ids=str)
    async def test_a_range_goes_on_within_itself(self, wanted):
        inner = await filled(Breaking(DATA, iter([4, 1])), folder__object=DATA)
        whole = await read_bytes(await filled(Limited(), folder__object=DATA), KEY, wanted)
        assert await read_bytes(RetryLayer(inner, QUICK), KEY, wanted) == whole

    async def test_an_error_of_the_last_byte_is_not_lost(self):
        """It may say that what came is corrupt."""

        class Rotten(Limited):
            async def read(self, key, wanted=ALL, if_match=None):
                reading = await super().read(key, wanted, if_match)
                return replace(reading, body=self._rotten(reading))

            async def _rotten(self, reading):
                async for data in reading.body:
                    yield data
                raise store_error(Kind.CORRUPT, "Those bytes were wrong.")

        inner = await filled(Rotten(), folder__object=DATA)
        with expect.failure(Kind.CORRUPT):
            await read_bytes(RetryLayer(inner, QUICK), KEY)

    async def test_a_body_of_nothing_may_break_off_too(self):
        inner = await filled(Breaking(b"", iter([0])), folder__object=b"")
        assert await read_bytes(RetryLayer(inner, QUICK), KEY) == b""

    async def test_a_reader_never_gets_the_halves_of_two_versions(self):
        inner = await filled(Breaking(DATA, iter([5])), folder__object=DATA)
        got = b""
        with expect.failure(Kind.CHANGED):
            async with await RetryLayer(inner, QUICK).read(KEY) as reading:
                async for data in reading.body:
                    got += data
                    await inner.write(KEY, BytesSource(DATA[::-1]))
        assert got == DATA[:5]

    async def test_without_an_etag_a_body_doesnt_go_on(self):
        class Tagless(Breaking):
            async def _broken(self, key, wanted, if_match=None):
                reading = await super()._broken(key, wanted, if_match)
                reading.meta = type(reading.meta)(KEY, len(DATA), 0.0)
                return reading

        inner = await filled(Tagless(DATA, iter([5])), folder__object=DATA)
        with expect.failure(Kind.UNAVAILABLE):
            await read_bytes(RetryLayer(inner, QUICK), KEY)
        assert len(inner.of("read")) == 1

    async def test_without_ranges_a_body_doesnt_go_on(self):
        inner = await filled(Breaking(DATA, iter([5]), ranges=False), folder__object=DATA)
        with expect.failure(Kind.UNAVAILABLE):
            await read_bytes(RetryLayer(inner, QUICK), KEY)
        assert len(inner.of("read")) == 1

    async def test_a_body_that_makes_progress_is_never_given_up(self):
        """A hundred gigabytes over a poor link break more often than a policy has attempts."""
        inner = await filled(Breaking(DATA, itertools.repeat(1)), folder__object=DATA)
        assert await read_bytes(RetryLayer(inner, QUICK), KEY) == DATA
        assert len(inner.of("read")) >= len(DATA)

    async def test_a_body_that_makes_none_is_exhausted(self):
        inner = await filled(Breaking(DATA, itertools.chain([4], itertools.repeat(0))), folder__object=DATA)
        got = b""
        with expect.failure(Kind.UNAVAILABLE) as caught:
            async with await RetryLayer(inner, QUICK).read(KEY) as reading:
                async for data in reading.body:
                    got += data
        assert caught.value.retry is Retry.EXHAUSTED
        assert got == DATA[:4]
        assert len(inner.of("read")) == 1 + QUICK.attempts - 1

    async def test_a_body_whose_object_went_away_is_not_found(self):
        inner = await filled(Breaking(DATA, iter([4])), folder__object=DATA)
        with expect.failure(Kind.NOT_FOUND):
            async with await RetryLayer(inner, QUICK).read(KEY) as reading:
                await inner.delete([KEY])
                [_ async for _ in reading.body]

    @pytest.mark.parametrize("breaks", [[], [4], [4, 4], [0, 4]])
    async def test_every_connection_is_closed(self, breaks):
        inner = await filled(Breaking(DATA, iter(breaks)), folder__object=DATA)
        assert await read_bytes(RetryLayer(inner, QUICK), KEY) == DATA
        assert inner.closed >= len(inner.of("read"))


@pytest.mark.usefixtures("slept")
class TestListings:
    @pytest.mark.parametrize("deep", [False, True])
    @pytest.mark.parametrize("place", range(6))
    async def test_a_listing_goes_on_behind_what_it_has_shown(self, place, deep):
        names = ["a-b", "a.b", "a/b", "a/c", "b/c", "c"]
        inner = await filled(Limited(), **{name.replace("/", "__"): b"." for name in names})
        whole = [order(entry) async for entry in inner.list(ROOT, deep)]
        store = _failing(inner, *[None] * place, dropped(), dropped())
        assert [order(entry) async for entry in store.list(ROOT, deep)] == whole

    async def test_a_listing_that_makes_progress_is_never_given_up(self):
        inner = await filled(Limited(), a=b"", b=b"", c=b"", d=b"", e=b"", f=b"")
        store = RetryLayer(Faults(inner, itertools.cycle([None, dropped()])), QUICK)
        assert [entry.key async for entry in store.list(ROOT)] == list("abcdef")

    async def test_a_listing_that_makes_none_is_exhausted(self):
        store = RetryLayer(Faults(await filled(Limited(), a=b""), itertools.repeat(dropped())), QUICK)
        with expect.failure(Kind.UNAVAILABLE) as caught:
            [_ async for _ in store.list(ROOT)]
        assert caught.value.retry is Retry.EXHAUSTED

    async def test_an_unsorted_listing_starts_again_only_before_its_first_entry(self):
        inner = await filled(Limited(sorted_list=False), a=b"", b=b"", c=b"")
        store = _failing(inner, dropped(), None, None, None)
        assert [entry.key async for entry in store.list(ROOT)] == ["a", "b", "c"]
        store = _failing(inner, None, dropped(), None, None)
        with pytest.raises(StoreError) as caught:
            [_ async for _ in store.list(ROOT)]
        assert caught.value.retry is Retry.EXHAUSTED

    async def test_pending_uploads_are_listed_again(self):
        class Flaky(Limited):
            faults = iter([dropped(), None])

            @property
            def uploads(self):
                return self

            async def pending(self, prefix):
                if fault := next(self.faults):
                    raise fault
                yield "an upload"

        assert [ref async for ref in RetryLayer(Flaky(), QUICK).uploads.pending(ROOT)] == ["an upload"]
