"""A write is whole or not at all, and kept; CREATE has one winner, IfMatch loses nothing."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, SourceBroke, breaking, stream

from shoso.core.digest import digest
from shoso.core.keys import Key
from shoso.core.store import exists, read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, OVERWRITE, Digests, IfMatch, ObjectMeta
from shoso.errors import Kind, StoreError

KEY = Key("run/model/weights.bin")
LARGE = b"0123456789abcdef" * (3 * CHUNK // 16) + b"tail"
WRONG = digest(b"something else")


async def test_a_write_returns_what_stat_returns(store):
    before = time.time()
    written = await store.write(KEY, BytesSource(LARGE), content_type="application/octet-stream")
    found = await store.stat(KEY)
    assert (written.key, written.size, written.etag) == (KEY, len(LARGE), found.etag)
    assert (found.key, found.size) == (KEY, len(LARGE))
    assert before - 2 <= found.modified <= time.time() + 2
    assert written.digest == digest(LARGE)
    if store.capabilities.digests is not Digests.NONE:
        assert found.digest == digest(LARGE)


async def test_an_acknowledged_write_is_kept(opened):
    await opened.store.write(KEY, BytesSource(LARGE))
    async with opened.again() as other:
        assert await read_bytes(other, KEY) == LARGE


@pytest.mark.parametrize(("old", "new"), [(b"long" * CHUNK, b"short"), (b"short", LARGE), (b"old", b"")])
async def test_an_overwrite_replaces_all_of_it(opened, old, new):
    await opened.store.write(KEY, BytesSource(old))
    await opened.store.write(KEY, BytesSource(new))
    await expect.whole(opened, KEY, new)


@pytest.mark.usefixtures("etags")
async def test_every_version_has_its_own_etag(store):
    tags = [(await store.write(KEY, BytesSource(b"%02d" % number))).etag for number in range(20)]
    assert None not in tags
    assert len(set(tags)) == 20


async def test_a_write_under_way_is_not_seen(opened):
    source = Paused(LARGE, pause=3 * CHUNK)
    async with asyncio.TaskGroup() as group:
        group.create_task(opened.store.write(KEY, source))
        await source.waiting.wait()
        await expect.absent(opened, KEY)
        assert await expect.shown(opened.store) == []
        source.go.set()
    await expect.whole(opened, KEY, LARGE)


async def test_the_old_object_stands_until_the_new_one_is_whole(opened):
    await opened.store.write(KEY, BytesSource(b"old"))
    source = Paused(LARGE, pause=3 * CHUNK, announced=False)
    async with asyncio.TaskGroup() as group:
        group.create_task(opened.store.write(KEY, source))
        await source.waiting.wait()
        await expect.whole(opened, KEY, b"old")
        source.go.set()
    await expect.whole(opened, KEY, LARGE)


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (lambda: stream([b"x" * 9], size=10), Kind.INCOMPLETE),
        (lambda: stream([b"x" * 11], size=10), Kind.INCOMPLETE),
        (lambda: stream([], size=1), Kind.INCOMPLETE),
        (lambda: stream([b"x"], size=0), Kind.INCOMPLETE),
        (lambda: stream([LARGE[:-1]], size=len(LARGE)), Kind.INCOMPLETE),
        (lambda: stream([LARGE, b"more"], size=len(LARGE)), Kind.INCOMPLETE),
        (lambda: BytesSource(b"small", WRONG), Kind.CORRUPT),
        (lambda: BytesSource(b"", WRONG), Kind.CORRUPT),
        (lambda: BytesSource(LARGE, WRONG), Kind.CORRUPT),
        (lambda: stream([LARGE], expected=WRONG), Kind.CORRUPT),
        (lambda: breaking(b""), None),
        (lambda: breaking(b"small"), None),
        (lambda: breaking(LARGE), None),
    ],
    ids=[
        "one byte short",
        "one byte long",
        "announced, and nothing came",
        "announced as empty",
        "large and short",
        "large and long",
        "digest of something else",
        "empty, digest of something else",
        "large, digest of something else",
        "stream, digest of something else",
        "breaks at once",
        "breaks",
        "breaks late",
    ],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "over an old one"])
async def test_a_write_that_fails_changes_nothing(opened, source, kind, there):
    if there:
        await opened.store.write(KEY, BytesSource(b"old"))
    if kind is None:
        with pytest.raises(SourceBroke):
            await opened.store.write(KEY, source())
    else:
        with expect.failure(kind) as caught:
            await opened.store.write(KEY, source())
        assert KEY in caught.value.message
    await _unchanged(opened, there)


@pytest.mark.parametrize("pause", [0, 10, CHUNK, 3 * CHUNK])
@pytest.mark.parametrize("there", [False, True], ids=["new", "over an old one"])
async def test_a_write_that_is_cancelled_changes_nothing(opened, pause, there):
    if there:
        await opened.store.write(KEY, BytesSource(b"old"))
    source = Paused(LARGE, pause)
    writing = asyncio.ensure_future(opened.store.write(KEY, source))
    await source.waiting.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert source.closed
    await _unchanged(opened, there)
    await opened.store.write(KEY, BytesSource(b"new"))
    await expect.whole(opened, KEY, b"new")


async def test_a_digest_that_is_right_is_accepted(opened):
    await opened.store.write(KEY, BytesSource(LARGE, digest(LARGE)))
    await opened.store.write(Key("empty"), BytesSource(b"", digest(b"")))
    await expect.whole(opened, KEY, LARGE)
    await expect.whole(opened, "empty", b"")


async def test_a_digest_may_come_with_the_last_byte(opened):
    class Trailer:
        size = None
        reopenable = False
        claimed: str | None = None

        async def open(self, start=0):
            yield LARGE
            self.claimed = WRONG

        def expected(self):
            return self.claimed

    with expect.failure(Kind.CORRUPT):
        await opened.store.write(KEY, Trailer())
    await expect.absent(opened, KEY)


@pytest.mark.usefixtures("create")
async def test_create_refuses_what_is_there(opened):
    await opened.store.write(KEY, BytesSource(b"first"), CREATE)
    with expect.failure(Kind.EXISTS) as caught:
        await opened.store.write(KEY, BytesSource(b"second"), CREATE)
    assert isinstance(caught.value, FileExistsError)
    await expect.whole(opened, KEY, b"first")


@pytest.mark.usefixtures("create")
async def test_create_has_exactly_one_winner(opened):
    bodies = [b"%02d" % number * 1000 for number in range(20)]
    outcomes = await asyncio.gather(
        *(opened.store.write(KEY, BytesSource(body), CREATE) for body in bodies), return_exceptions=True
    )
    winners = [
        body for body, outcome in zip(bodies, outcomes, strict=True) if isinstance(outcome, ObjectMeta)
    ]
    losers = [outcome.kind for outcome in outcomes if isinstance(outcome, StoreError)]
    assert losers == [Kind.EXISTS] * 19
    await expect.whole(opened, KEY, winners[0])


@pytest.mark.usefixtures("if_match")
async def test_if_match_replaces_only_what_it_names(opened):
    store = opened.store
    first = await store.write(KEY, BytesSource(b"first"))
    second = await store.write(KEY, BytesSource(b"second"), IfMatch(first.etag))
    with expect.failure(Kind.CHANGED):
        await store.write(KEY, BytesSource(b"third"), IfMatch(first.etag))
    await expect.whole(opened, KEY, b"second")
    await store.delete([KEY])
    with expect.failure(Kind.CHANGED):
        await store.write(KEY, BytesSource(b"third"), IfMatch(second.etag))
    await expect.absent(opened, KEY)


@pytest.mark.usefixtures("if_match")
async def test_if_match_never_loses_an_update(opened):
    writers, rounds = 6, 3
    await opened.store.write(KEY, BytesSource(b"0"))

    async def increment(store):
        while True:
            async with await store.read(KEY) as reading:
                count = int(b"".join([bytes(data) async for data in reading.body]))
            with expect.allowed(Kind.CHANGED) as outcome:
                await store.write(KEY, BytesSource(b"%d" % (count + 1)), IfMatch(reading.meta.etag))
            if not outcome.error:
                return

    async def work(store):
        for _ in range(rounds):
            await increment(store)

    async with opened.again() as other:
        await asyncio.gather(*(work((opened.store, other)[number % 2]) for number in range(writers)))
    assert await read_bytes(opened.store, KEY) == b"%d" % (writers * rounds)


async def test_overwrites_at_once_never_mix(opened):
    bodies = [bytes([letter]) * (CHUNK + 1000 * letter) for letter in b"abcdefgh"]
    async with opened.again() as other:
        await asyncio.gather(
            *((opened.store, other)[n % 2].write(KEY, BytesSource(body)) for n, body in enumerate(bodies))
        )
    left = await read_bytes(opened.store, KEY)
    assert left in bodies
    await expect.whole(opened, KEY, left)


async def test_a_folder_that_others_empty_meanwhile_takes_new_objects(opened):
    async def come_and_go(name):
        key = Key(f"shared/folder/{name}")
        for _ in range(3):
            await opened.store.write(key, BytesSource(b"."))
            assert await exists(opened.store, key)
            await opened.store.delete([key])

    await asyncio.gather(*(come_and_go(name) for name in "abcd"))
    assert await expect.everything(opened.store) == []


async def test_an_object_under_an_object_works_or_is_refused(opened):
    await opened.store.write(Key("model"), BytesSource(b"file"))
    await _all_or_refused(opened, "model/weights", b"below")
    await _all_or_refused(opened, "model/deep/er/weights", b"below")
    await expect.whole(opened, "model", b"file")


async def test_an_object_over_a_folder_works_or_is_refused(opened):
    await opened.store.write(Key("model/weights"), BytesSource(b"below"))
    await _all_or_refused(opened, "model", b"file")
    await expect.whole(opened, "model/weights", b"below")


async def _all_or_refused(opened, key: str, data: bytes) -> None:
    for mode in (OVERWRITE, CREATE) if opened.store.capabilities.create else (OVERWRITE,):
        with expect.allowed(Kind.EXISTS) as outcome:
            await opened.store.write(Key(key), BytesSource(data), mode)
        if outcome.error:
            with expect.failure(Kind.NOT_FOUND):
                await opened.store.stat(Key(key))
        else:
            await expect.whole(opened, key, data)
            await opened.store.delete([Key(key)])


async def _unchanged(opened, there: bool) -> None:
    if there:
        await expect.whole(opened, KEY, b"old")
        assert [entry.key for entry in await expect.everything(opened.store)] == [KEY]
    else:
        await expect.absent(opened, KEY)
        assert await expect.shown(opened.store) == []
