"""An object in parts: unseen until it is finished, and any process can go on with it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, SourceBroke, breaking, stream

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.core.types import CREATE, Digests, Part, UploadRef
from shoso.errors import Kind, StoreError

KEY = Key("run/model/weights.bin")
HOSTILE = [
    "",
    ".",
    "..",
    "../..",
    "../../drafts",
    "/etc",
    "a/b",
    "%2e%2e",
    "..%2f..",
    "\\..\\",
    "x" * 300,
    "é",
    "\x00",
    "0" * 32,
    "0" * 31 + "\n",
]


@pytest.fixture
def pieces(opened):
    """Three pieces that make valid parts of this store, the last one shorter: those of S3 have 5 MiB each."""
    least = max(opened.store.capabilities.part_min, 1000)
    sizes = [opened.part_size or least + number for number in (1, 2)]
    return [bytes([number]) * size for number, size in enumerate(sizes, 1)] + [b"last"]


async def _put_all(uploads, ref, pieces) -> list[Part]:
    return [await uploads.put(ref, number, BytesSource(piece)) for number, piece in enumerate(pieces, 1)]


async def _pending(uploads, prefix=ROOT) -> list[UploadRef]:
    return [ref async for ref in uploads.pending(prefix)]


async def test_parts_become_one_object(opened, uploads, pieces):
    ref = await uploads.begin(KEY, sum(map(len, pieces)))
    parts = await _put_all(uploads, ref, pieces)
    meta = await uploads.finish(ref, parts)
    found = await expect.whole(opened, KEY, b"".join(pieces))
    assert (meta.key, meta.size, meta.etag) == (KEY, found.size, found.etag)
    if opened.store.capabilities.digests is Digests.ALL:
        assert found.digest == digest(b"".join(pieces))


async def test_the_digest_of_the_whole_may_come_with_finishing(opened, uploads, pieces):
    ref = await uploads.begin(KEY, sum(map(len, pieces)))
    parts = await _put_all(uploads, ref, pieces)
    whole = digest(b"".join(pieces))
    assert (await uploads.finish(ref, parts, whole)).digest == whole
    assert (await uploads.finish(ref, parts, whole)).digest in {whole, None}  # it may be another's by then
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_a_wrong_digest_is_corrupt_and_the_upload_stays_as_it_was(opened, uploads, pieces):
    await opened.store.write(KEY, BytesSource(b"old"))
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    if opened.blind:  # then it's found out by whoever reads the whole
        assert (await uploads.finish(ref, parts, digest(b"others"))).digest in {digest(b"others"), None}
        return
    with expect.failure(Kind.CORRUPT) as caught:
        await uploads.finish(ref, parts, digest(b"others"))
    assert KEY in caught.value.message
    await expect.whole(opened, KEY, b"old")
    assert await uploads.parts(ref) == parts
    await uploads.finish(ref, parts, digest(b"".join(pieces)))
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_a_part_says_what_the_store_has(uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    assert [(part.number, part.size) for part in parts] == [
        (number, len(piece)) for number, piece in enumerate(pieces, 1)
    ]
    for part, piece in zip(parts, pieces, strict=True):
        assert part.digest in {digest(piece), None}
    there = await uploads.parts(ref)
    assert there == parts
    assert all(abs((part.modified or 0) - time.time()) < 60 for part in there)


async def test_parts_may_come_in_any_order_and_at_once(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    numbered = list(enumerate(pieces, 1))
    await asyncio.gather(*(uploads.put(ref, number, BytesSource(piece)) for number, piece in numbered[::-1]))
    parts = await uploads.parts(ref)
    assert [part.number for part in parts] == [1, 2, 3]
    await uploads.finish(ref, parts)
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_part_numbers_may_have_gaps(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    last = opened.store.capabilities.parts_max
    parts = [
        await uploads.put(ref, number, BytesSource(piece))
        for number, piece in zip((2, 9, last), pieces, strict=True)
    ]
    await uploads.finish(ref, parts)
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_a_part_may_be_put_again_and_the_last_one_counts(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    await _put_all(uploads, ref, pieces)
    for again in (b"x" * len(pieces[1]), b"y" * len(pieces[1]), b"x" * len(pieces[1]), b"y" * len(pieces[1])):
        part = await uploads.put(ref, 2, BytesSource(again))
        assert (await uploads.parts(ref))[1] == part
    await uploads.finish(ref, await uploads.parts(ref))
    await expect.whole(opened, KEY, b"".join([pieces[0], again, *pieces[2:]]))


async def test_a_part_put_at_once_by_two_is_kept(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    for _ in range(5):
        both = [b"x" * len(pieces[0]), b"y" * len(pieces[0])]
        await asyncio.gather(*(uploads.put(ref, 1, BytesSource(piece)) for piece in both))
        assert len(await uploads.parts(ref)) == 1
    parts = await uploads.parts(ref)
    await uploads.finish(ref, parts)
    assert await read_bytes(opened.store, KEY) in both


async def test_the_same_part_again_is_the_same_part(uploads, pieces):
    ref = await uploads.begin(KEY)
    first = await uploads.put(ref, 1, BytesSource(pieces[0]))
    assert await uploads.put(ref, 1, BytesSource(pieces[0])) == first
    assert await uploads.parts(ref) == [first]


async def test_only_the_parts_named_are_used(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    if opened.all_parts:
        with expect.failure(Kind.INVALID):
            await uploads.finish(ref, parts[:2])
        return
    await uploads.finish(ref, parts[:2])
    await expect.whole(opened, KEY, b"".join(pieces[:2]))


async def test_an_empty_object_may_come_in_one_part(opened, uploads):
    ref = await uploads.begin(KEY)
    await uploads.finish(ref, [await uploads.put(ref, 1, BytesSource(b""))])
    await expect.whole(opened, KEY, b"")


async def test_an_upload_under_way_is_not_seen(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    await _put_all(uploads, ref, pieces)
    await expect.absent(opened, KEY)
    assert await expect.shown(opened.store) == []


async def test_the_old_object_stands_until_the_upload_is_finished(opened, uploads, pieces):
    await opened.store.write(KEY, BytesSource(b"old"))
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    await expect.whole(opened, KEY, b"old")
    await uploads.finish(ref, parts)
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_another_process_can_go_on(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    await _put_all(uploads, ref, pieces[:2])
    async with opened.again() as other:
        known = UploadRef(Key(str(ref.key)), str(ref.id))
        assert known in await _pending(other.uploads)
        there = await other.uploads.parts(known)
        assert [part.number for part in there] == [1, 2]
        for number, piece in list(enumerate(pieces, 1))[2:]:
            there.append(await other.uploads.put(known, number, BytesSource(piece)))
        await other.uploads.finish(known, there)
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_finish_may_be_repeated(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    first = await uploads.finish(ref, parts)
    async with opened.again() as other:
        for again in (await uploads.finish(ref, parts), await other.uploads.finish(ref, parts)):
            assert again.digest in {first.digest, None}  # None: the store keeps none, and may not be sure
            assert replace(again, digest=first.digest) == first
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_finish_may_be_repeated_while_the_first_is_under_way(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    metas = await asyncio.gather(*(uploads.finish(ref, parts) for _ in range(4)))
    assert {(meta.key, meta.size) for meta in metas} == {(KEY, sum(map(len, pieces)))}
    await expect.whole(opened, KEY, b"".join(pieces))


async def test_a_finished_upload_takes_no_more_parts(uploads, pieces):
    ref = await uploads.begin(KEY)
    await uploads.finish(ref, await _put_all(uploads, ref, pieces))
    for call in (uploads.put(ref, 1, BytesSource(b"more")), uploads.parts(ref), uploads.abort(ref)):
        with expect.failure(Kind.NOT_FOUND):
            await call
    assert await _pending(uploads) == []


async def test_a_finished_upload_tells_nothing_of_other_objects(opened, uploads, pieces):
    await opened.store.write(Key("other"), BytesSource(b"secret"))
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    await uploads.finish(ref, parts)
    with expect.failure(Kind.NOT_FOUND):
        await uploads.finish(UploadRef(Key("other"), ref.id), parts)


async def test_parts_that_are_not_there_are_refused(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces[:2])
    wrong = [
        [*parts, Part(3, 10, "never put")],
        [parts[0], Part(2, parts[1].size, parts[0].etag)],
        [Part(1, parts[0].size, "../../etc/passwd")],
    ]
    for named in wrong:
        with expect.failure(Kind.INVALID):
            await uploads.finish(ref, named)
    await expect.absent(opened, KEY)
    await uploads.finish(ref, parts)
    await expect.whole(opened, KEY, b"".join(pieces[:2]))


async def test_the_tag_of_a_replaced_part_is_refused(opened, uploads, pieces):
    ref = await uploads.begin(KEY)
    old = await uploads.put(ref, 1, BytesSource(b"old"))
    new = await uploads.put(ref, 1, BytesSource(b"new"))
    with expect.failure(Kind.INVALID):
        await uploads.finish(ref, [old])
    await uploads.finish(ref, [new])
    await expect.whole(opened, KEY, b"new")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        (lambda: stream([b"short"], size=10), Kind.INCOMPLETE),
        (lambda: stream([b"too long"], size=3), Kind.INCOMPLETE),
        (lambda: BytesSource(b"bytes", digest(b"others")), Kind.CORRUPT),
        (lambda: breaking(b"half"), None),
    ],
    ids=["short", "long", "digest of something else", "breaks"],
)
async def test_a_part_that_fails_is_no_part(uploads, pieces, source, kind):
    ref = await uploads.begin(KEY)
    first = await uploads.put(ref, 1, BytesSource(pieces[0]))
    for number in (1, 2):
        with pytest.raises(StoreError if kind else SourceBroke) as caught:
            await uploads.put(ref, number, source())
        assert kind is None or caught.value.kind is kind
    assert await uploads.parts(ref) == [first]


async def test_a_part_that_is_cancelled_is_no_part(opened, uploads):
    ref = await uploads.begin(KEY)
    source = Paused(b"." * (opened.part_size or 5_000_000), pause=(opened.part_size or 4_100_000) - 100_000)
    putting = asyncio.ensure_future(uploads.put(ref, 1, source))
    await source.waiting.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert source.closed
    assert await uploads.parts(ref) == []


async def test_an_unknown_id_is_not_found(opened, uploads):
    await opened.store.write(KEY, BytesSource(b"old"))
    part = Part(1, 4, digest(b"part"), digest(b"part"))
    for name in HOSTILE:
        ref = UploadRef(KEY, name)
        for call in (
            uploads.put(ref, 1, BytesSource(b"part")),
            uploads.parts(ref),
            uploads.finish(ref, [part]),
            uploads.abort(ref),
        ):
            with expect.failure(Kind.NOT_FOUND):
                await call
        await expect.whole(opened, KEY, b"old")
        assert len(await expect.everything(opened.store)) == 1, name


async def test_an_id_is_good_for_its_own_key_only(uploads, pieces):
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    stranger = UploadRef(Key("another"), ref.id)
    for call in (
        uploads.put(stranger, 1, BytesSource(b"part")),
        uploads.parts(stranger),
        uploads.finish(stranger, parts),
        uploads.abort(stranger),
    ):
        with expect.failure(Kind.NOT_FOUND):
            await call
    assert await uploads.parts(ref) == parts


async def test_an_upload_aborted_is_gone(opened, uploads, pieces):
    await opened.store.write(KEY, BytesSource(b"old"))
    ref = await uploads.begin(KEY)
    parts = await _put_all(uploads, ref, pieces)
    await uploads.abort(ref)
    for call in (
        uploads.put(ref, 1, BytesSource(b"part")),
        uploads.parts(ref),
        uploads.finish(ref, parts),
        uploads.abort(ref),
    ):
        with expect.failure(Kind.NOT_FOUND):
            await call
    assert await _pending(uploads) == []
    await expect.whole(opened, KEY, b"old")


async def test_pending_shows_what_is_under_way_below_a_prefix(uploads, pieces):
    names = ["a/b", "a/c/d", "a-b", "ab/c"]
    refs = {name: await uploads.begin(Key(name)) for name in names}
    twice = await uploads.begin(Key("a/b"))
    found = await _pending(uploads)
    assert set(found) == {*refs.values(), twice}
    assert all(ref.begun is not None and abs(ref.begun - time.time()) < 60 for ref in found)
    assert set(await _pending(uploads, Key("a"))) == {refs["a/b"], refs["a/c/d"], twice}
    assert set(await _pending(uploads, Key("a/b"))) == {refs["a/b"], twice}
    assert await _pending(uploads, Key("missing")) == []
    await uploads.abort(refs["a/b"])
    await uploads.finish(twice, [await uploads.put(twice, 1, BytesSource(b"."))])
    assert await _pending(uploads, Key("a")) == [refs["a/c/d"]]


async def test_uploads_of_one_key_dont_meddle(opened, uploads, pieces):
    first, second = await uploads.begin(KEY), await uploads.begin(KEY)
    assert first.id != second.id
    one = await uploads.put(first, 1, BytesSource(b"one"))
    two = await uploads.put(second, 1, BytesSource(b"two"))
    await uploads.finish(first, [one])
    await expect.whole(opened, KEY, b"one")
    await uploads.finish(second, [two])
    await expect.whole(opened, KEY, b"two")


async def test_finish_where_a_folder_stands_works_or_is_refused(opened, uploads):
    await opened.store.write(Key("model/weights"), BytesSource(b"below"))
    ref = await uploads.begin(Key("model"))
    part = await uploads.put(ref, 1, BytesSource(b"file"))
    with expect.allowed(Kind.EXISTS) as outcome:
        await uploads.finish(ref, [part])
    if outcome.error:
        assert await _pending(uploads) == [ref]
    else:
        await expect.whole(opened, "model", b"file")
    await expect.whole(opened, "model/weights", b"below")


@pytest.mark.usefixtures("create")
async def test_create_sees_what_an_upload_finished(opened, uploads):
    ref = await uploads.begin(KEY)
    await uploads.finish(ref, [await uploads.put(ref, 1, BytesSource(b"parts"))])
    with expect.failure(Kind.EXISTS):
        await opened.store.write(KEY, BytesSource(b"again"), CREATE)
