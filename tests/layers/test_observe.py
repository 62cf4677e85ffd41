"""observe: one span a user's call, with its outcome, however it ends."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, SourceBroke, breaking, stream
from tests.layers.stubs import KEY, Gated, Limited, dropped, filled

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import FromTo
from shoso.errors import Kind
from shoso.layers.faults import Faults
from shoso.layers.observe import Observe, Span, log
from shoso.layers.retry import RetryLayer, RetryPolicy

DATA = b"." * (2 * CHUNK + 5)


@pytest.fixture
async def inner():
    """A store with one object."""
    return await filled(Limited(), folder__object=DATA)


@pytest.fixture
def spans():
    """What was reported."""
    return []


@pytest.fixture
def store(inner, spans):
    """The store, observed."""
    return Observe(inner, spans.append)


def _told(spans) -> list[tuple[str, str, int, Kind | None]]:
    return [(span.op, span.key, span.size, span.error and span.error.kind) for span in spans]


async def test_a_call_is_one_span(store, spans):
    await store.stat(KEY)
    await store.write(Key("new"), BytesSource(b"12345"))
    await store.delete([Key("new"), Key("other")])
    assert _told(spans) == [("stat", KEY, 0, None), ("write", "new", 5, None), ("delete", "new", 0, None)]
    assert all(span.seconds >= 0 and span.store == store.info.name for span in spans)


async def test_a_call_that_fails_is_one_span_with_its_error(store, spans):
    with expect.failure(Kind.NOT_FOUND):
        await store.stat(Key("missing"))
    with expect.failure(Kind.NOT_FOUND):
        await store.read(Key("missing"))
    assert _told(spans) == [("stat", "missing", 0, Kind.NOT_FOUND), ("read", "missing", 0, Kind.NOT_FOUND)]


async def test_a_write_of_unknown_size_tells_what_it_had(store, spans):
    await store.write(KEY, stream([b"123", b"45"]))
    assert _told(spans) == [("write", KEY, 5, None)]


async def test_a_read_is_one_span_that_ends_with_its_body(store, spans):
    async with await store.read(KEY) as reading:
        await anext(reading.body)
        assert spans == []
        async for _ in reading.body:
            pass
    assert _told(spans) == [("read", KEY, len(DATA), None)]


async def test_a_range_tells_its_own_size(store, spans):
    assert len(await read_bytes(store, KEY, FromTo(5, 10))) == 5
    assert _told(spans) == [("read", KEY, 5, None)]


async def test_a_body_left_half_read_is_one_span_too(store, spans):
    async with await store.read(KEY) as reading:
        await anext(reading.body)
    await reading.close()
    assert _told(spans) == [("read", KEY, CHUNK, None)]


async def test_a_body_never_read_is_one_span_too(store, spans):
    async with await store.read(KEY):
        pass
    assert _told(spans) == [("read", KEY, 0, None)]


async def test_a_body_that_breaks_is_one_span_with_its_error(inner, spans):
    store = Observe(Faults(inner, iter([None, None, dropped()])), spans.append)
    with expect.failure(Kind.UNAVAILABLE):
        await read_bytes(store, KEY)
    assert _told(spans) == [("read", KEY, CHUNK, Kind.UNAVAILABLE)]


async def test_a_listing_is_one_span(store, spans):
    await store.write(Key("folder/second"), BytesSource(b"."))
    spans.clear()
    assert len([entry async for entry in store.list(Key("folder"))]) == 2
    assert [(span.op, span.key, span.error) for span in spans] == [("list", "folder", None)]


async def test_a_listing_that_breaks_is_one_span_with_its_error(inner, spans):
    store = Observe(Faults(inner, iter([dropped()])), spans.append)
    with expect.failure(Kind.UNAVAILABLE):
        [_ async for _ in store.list(ROOT, deep=True)]
    assert [(span.op, span.error.kind) for span in spans] == [("list", Kind.UNAVAILABLE)]


async def test_attempts_are_not_calls(inner, spans):
    faulty = Faults(inner, iter([dropped(), dropped(), None]))
    store = Observe(RetryLayer(faulty, RetryPolicy(first=0.0001, longest=0.0001)), spans.append)
    await store.stat(KEY)
    assert _told(spans) == [("stat", KEY, 0, None)]


async def test_a_call_that_is_cancelled_is_one_span(spans):
    inner = await filled(Gated(), folder__object=b".")
    calling = asyncio.ensure_future(Observe(inner, spans.append).stat(KEY))
    await inner.until(1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [(span.op, span.key) for span in spans] == [("stat", KEY)]
    assert spans[0].error is not None


async def test_a_write_whose_source_breaks_is_one_span(store, spans):
    with pytest.raises(SourceBroke):
        await store.write(KEY, breaking(b"half"))
    assert [(span.op, span.key) for span in spans] == [("write", KEY)]
    assert isinstance(spans[0].error, SourceBroke)


async def test_the_parts_of_an_upload_are_spans(store, spans):
    ref = await store.uploads.begin(KEY)
    part = await store.uploads.put(ref, 1, BytesSource(b"12345"))
    await store.uploads.parts(ref)
    await store.uploads.finish(ref, [part])
    await store.uploads.abort(await store.uploads.begin(KEY))
    assert [span.op for span in spans] == ["begin", "put", "parts", "finish", "begin", "abort"]
    assert spans[1].size == 5


async def test_a_span_lasts_as_long_as_its_call(inner, spans):
    source = Paused(b"12", 1)
    writing = asyncio.ensure_future(Observe(inner, spans.append).write(KEY, source))
    await source.waiting.wait()
    assert spans == []
    source.go.set()
    await writing
    assert len(spans) == 1


def test_the_log_tells_how_it_ended(caplog):
    caplog.set_level(logging.DEBUG, "shoso.store")
    for error in (None, dropped(), SourceBroke(), asyncio.CancelledError()):
        log(Span("memory-0", "read", "a", 0.25, 10, error))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", "memory-0 read a done 10 bytes 0.250 s"),
        ("DEBUG", "memory-0 read a unavailable 10 bytes 0.250 s"),
        ("DEBUG", "memory-0 read a SourceBroke 10 bytes 0.250 s"),
        ("DEBUG", "memory-0 read a CancelledError 10 bytes 0.250 s"),
    ]
