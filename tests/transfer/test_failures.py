"""What fails is named, the rest arrives; what fails for everybody stops the copy; nothing wrong is kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.conformance import expect
from tests.transfer.ends import (
    EVERY_WAY,
    KIB,
    SMALL_PARTS,
    OneByOne,
    Undigested,
    content,
    digests,
    fill,
    folder,
    memory,
    pending,
    some_bytes,
)

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import exists
from shoso.core.streams import BytesSource
from shoso.core.types import Capabilities
from shoso.errors import ConfigError, Kind, StoreError, store_error
from shoso.layers.layer import Layer
from shoso.stores.memory import MemoryStore
from shoso.transfer import CopyError, Selection, copy
from shoso.transfer.report import NAMED, STREAK

MANY = {f"{number:03}": some_bytes(10, number) for number in range(100)}


class Refusing(OneByOne):
    """Refuses writes to some keys: `refused` says with which error."""

    def __init__(self, inner, refused):
        super().__init__(inner)
        self.refused, self.tries = refused, 0

    async def call(self, op, key, attempt, source=None):
        if op in {"write", "put", "finish"} and (kind := self.refused(key)):
            self.tries += 1
            raise kind if isinstance(kind, Exception) else store_error(kind, f"'{key}' is refused.", key=key)
        return await super().call(op, key, attempt, source)


@pytest.fixture
async def src():
    store = memory()
    await fill(store, EVERY_WAY)
    return store


@pytest.mark.parametrize("path", EVERY_WAY)
async def test_the_one_that_fails_is_named_and_the_rest_arrives(src, path):
    dst = Refusing(memory(), lambda key: Kind.FORBIDDEN if key == path else None)
    with pytest.raises(
        CopyError, match=f"1 of 10 objects could not be copied: '{path}' is refused"
    ) as caught:
        await copy(src, dst, Selection(), SMALL_PARTS)
    assert await content(dst) == {each: found for each, found in digests(EVERY_WAY).items() if each != path}
    assert await pending(dst) == []
    error = caught.value
    assert (error.kind, error.key, [failure.key for failure in error.failures]) == (
        Kind.FORBIDDEN,
        path,
        [path],
    )
    assert (error.report.copied, error.report.failed) == (9, 1)


async def test_all_that_failed_are_carried_and_the_first_named():
    src = memory()
    await fill(src, MANY)
    dst = Refusing(memory(), lambda key: Kind.EXISTS if key >= "050" else None)
    with pytest.raises(CopyError, match="50 of 100 objects") as caught:
        await copy(src, dst, Selection(), SMALL_PARTS)
    assert f"And {50 - NAMED} more." in caught.value.message
    assert {failure.key for failure in caught.value.failures} == {key for key in MANY if key >= "050"}


async def test_a_single_object_fails_in_its_own_words(src):
    dst = Refusing(memory(), lambda _: Kind.FORBIDDEN)
    with pytest.raises(PermissionError, match="'c' is refused"):
        await copy(src, dst, Selection(Key("f0/g0/000"), Key("c")))


@pytest.mark.parametrize(
    "error", [Kind.NO_SPACE, Kind.UNAUTHENTICATED, Kind.CONFIG, ConfigError("AWS_REGION", "is missing.")]
)
async def test_what_fails_for_everybody_stops_the_copy_at_once(error):
    src = memory()
    await fill(src, MANY)
    dst = Refusing(memory(), lambda _: error)
    with pytest.raises((StoreError, ConfigError)) as caught:
        await copy(src, dst, Selection())
    assert not isinstance(caught.value, CopyError)
    assert dst.tries <= len(MANY) + 1  # all of one batch at once, and one by itself


@pytest.mark.parametrize("kind", [Kind.FORBIDDEN, Kind.UNAVAILABLE, Kind.TIMEOUT])
async def test_what_seems_to_fail_for_everybody_stops_it_soon(kind):
    src = memory()
    await fill(src, MANY)
    dst = Refusing(memory(), lambda _: kind)
    with expect.failure(kind) as caught:
        await copy(src, dst, Selection())
    assert not isinstance(caught.value, CopyError)
    assert dst.tries <= len(MANY) + STREAK


async def test_what_fails_for_some_doesnt():
    src = memory()
    await fill(src, MANY)
    dst = Refusing(memory(), lambda key: Kind.FORBIDDEN if key.endswith(("1", "2", "3", "4")) else None)
    with pytest.raises(CopyError, match="40 of 100 objects"):
        await copy(src, dst, Selection())
    assert len(await content(dst)) == 60


async def test_what_is_there_doesnt_count_as_a_refusal_of_everything():
    src, dst = memory(), memory()
    await fill(src, MANY)
    await copy(src, dst, Selection())
    await dst.delete([Key(key) for key in MANY if key >= "050"])
    with pytest.raises(CopyError, match="50 of 100 objects"):
        await copy(src, Refusing(dst, lambda _: Kind.FORBIDDEN), Selection())


@pytest.mark.parametrize("name", ["a\tb", "c%2f..%2fd", "e" * 200])
async def test_a_name_that_no_object_can_have_is_named_and_the_rest_arrives(name, tmp_path):
    (tmp_path / name).write_bytes(b".")
    (tmp_path / "good").write_bytes(b".")
    src, dst = folder(tmp_path), memory()
    with pytest.raises(CopyError, match="1 of 2 objects") as caught:
        await copy(src, dst, Selection(to=Key("x" * 900)))
    assert caught.value.kind is Kind.INVALID_KEY
    assert [*await content(dst, "x" * 900)] == ["good"]
    await src.close()


async def test_a_destination_that_may_not_be_listed_is_written_all_the_same(src):
    class Blind(Layer):
        async def stat(self, key):
            raise store_error(Kind.FORBIDDEN, "You may not look.")

        async def listing(self, op, prefix, begin, after):
            raise store_error(Kind.FORBIDDEN, "You may not list.")
            yield

    dst = memory()
    await copy(src, Blind(dst), Selection(), SMALL_PARTS)
    assert await content(dst) == digests(EVERY_WAY)
    await copy(src, Blind(dst), Selection(Key("f0/g0/000"), Key("again")))
    assert await exists(dst, Key("again"))


async def test_a_copy_within_a_store_of_one_connection_is_refused():
    class Narrow(MemoryStore):
        capabilities = Capabilities(connections=1)

    store = memory(Narrow())
    await fill(store, {"a/b": b"."})
    with expect.failure(Kind.UNSUPPORTED):
        await copy(store, store, Selection(Key("a"), Key("b")))


async def test_a_copy_within_a_store_doesnt_wait_for_itself():
    class Narrow(MemoryStore):
        capabilities = Capabilities(connections=2)
        batches = None

        async def read(self, *asked):
            await asyncio.sleep(0)
            return await super().read(*asked)

    store = memory(Narrow())
    await fill(store, {f"a/{path}": data for path, data in EVERY_WAY.items()})
    async with asyncio.timeout(20):
        await copy(store, store, Selection(Key("a"), Key("b")), SMALL_PARTS)
    assert await content(store, "b") == digests(EVERY_WAY)


# -- bytes that change ------------------------------------------------------------------------------------


class Restless(Layer):
    """Changes an object each time it has been read a little, `times` times."""

    def __init__(self, store, inner, times):
        super().__init__(inner)
        self._store, self.left = store, times

    async def open(self, key, wanted, if_match):
        reading = await super().open(key, wanted, if_match)
        return replace(reading, body=self._changing(key, reading))

    async def _changing(self, key, reading):
        async for data in reading.body:
            yield data
            if self.left > 0:
                self.left -= 1
                size = self._store.objects[key][0].size
                await self._store.write(key, BytesSource(some_bytes(size, self.left + 1)))

    async def newest(self, key) -> str:
        return digest(self._store.objects[key][1])


SIZES = [300 * KIB, 1000 * KIB]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("times", [1, 2])
async def test_a_source_that_changes_meanwhile_starts_over(size, times):
    store = Undigested()
    src, dst = Restless(store, memory(store), times), memory()
    await fill(src, {"a": some_bytes(size)})
    await copy(src, dst, Selection(), replace(SMALL_PARTS, parallel=1))
    assert await content(dst) == {"a": await src.newest(Key("a"))}
    assert await pending(dst) == []


async def test_a_source_that_is_written_to_for_a_moment_is_waited_for():
    store = Undigested()
    src, dst = Restless(store, memory(store), 10**9), memory()
    await fill(src, {"a": some_bytes(1000 * KIB)})
    asyncio.get_running_loop().call_later(0.7, setattr, src, "left", 0)
    await copy(src, dst, Selection(), SMALL_PARTS)
    assert await content(dst) == {"a": await src.newest(Key("a"))}


async def test_without_etags_the_times_tell_that_a_source_changed():
    class Timeless(Undigested):
        def _kept(self, meta):
            return super()._kept(replace(meta, etag=None))

    store = Timeless("ftp")
    src, dst = Restless(store, memory(store), 1), memory()
    await fill(src, {"a": some_bytes(1000 * KIB)})
    await copy(src, dst, Selection(), replace(SMALL_PARTS, parallel=1))
    assert await content(dst) == {"a": await src.newest(Key("a"))}


async def test_a_source_that_changed_since_it_was_listed_is_copied_as_it_is_now():
    class Stale(Layer):
        async def listing(self, op, prefix, begin, after):
            async for entry in super().listing(op, prefix, begin, after):
                await self.inner.write(entry.key, BytesSource(some_bytes(entry.size, 5)))
                yield entry

    src, dst = memory(Undigested()), memory()
    await fill(src, {"a": some_bytes(300 * KIB), "b": some_bytes(150 * KIB)})
    await fill(dst, {"a": some_bytes(300 * KIB, 1), "b": some_bytes(150 * KIB, 2)})
    await copy(Stale(src), dst, Selection(), replace(SMALL_PARTS, parts_from=200 * KIB))
    assert await content(dst) == digests({"a": some_bytes(300 * KIB, 5), "b": some_bytes(150 * KIB, 5)})


async def test_what_is_there_and_cant_be_told_is_sent_again():
    class Dumb(Layer):
        async def call(self, op, key, attempt, source=None):
            if op == "stat":
                raise store_error(Kind.FORBIDDEN, "You may not ask.")
            return await super().call(op, key, attempt, source)

        async def listing(self, op, prefix, begin, after):
            async for entry in super().listing(op, prefix, begin, after):
                yield replace(entry, digest=None)

    src, dst = memory(), memory()
    for store, seed in ((src, 0), (dst, 1)):
        await fill(store, {"a": some_bytes(300 * KIB, seed)})
    await copy(src, Dumb(dst), Selection(), SMALL_PARTS)
    assert await content(dst) == digests({"a": some_bytes(300 * KIB)})


async def test_a_source_that_never_rests_is_an_error_that_names_it(tmp_path):
    store = Undigested()
    src, dst = Restless(store, memory(store), 10**9), memory()
    await fill(src, {"a": some_bytes(1000 * KIB)})
    for policy in (SMALL_PARTS, replace(SMALL_PARTS, journal=tmp_path)):
        with expect.failure(Kind.CHANGED) as caught:
            await copy(src, dst, Selection(), policy)
        assert "'a' was changed each of the 3 times" in caught.value.message
        assert (await content(dst), await pending(dst)) == ({}, [])


async def test_a_source_that_vanishes_between_listing_and_reading_is_named(src):
    class Vanishing(Layer):
        async def listing(self, op, prefix, begin, after):
            async for entry in super().listing(op, prefix, begin, after):
                yield entry
                await self.inner.delete([Key("f0/g0/000"), Key("f2/g0/008")])

    dst = memory()
    with pytest.raises(CopyError, match="2 of 10") as caught:
        await copy(Vanishing(src), dst, Selection(), SMALL_PARTS)
    assert {error.kind for error in caught.value.failures} == {Kind.NOT_FOUND}
    assert len(await content(dst)) == 8


# -- bytes that rot ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path, data in EVERY_WAY.items() if data])
async def test_an_object_that_has_rotted_is_never_copied(path):
    store = MemoryStore()
    src, dst = memory(store), memory()
    await fill(src, EVERY_WAY)
    meta, data = store.objects[Key(path)]
    store.objects[Key(path)] = (meta, bytes([data[0] ^ 1]) + data[1:])
    with expect.failure(Kind.CORRUPT) as caught:
        await copy(src, dst, Selection(to=Key("there")), SMALL_PARTS)
    assert f"'{path}'" in caught.value.message
    assert caught.value.key == path
    arrived = {each: found for each, found in digests(EVERY_WAY).items() if each != path}
    assert await content(dst, "there") == arrived
    assert await pending(dst) == []


class Garbling(OneByOne):
    """Changes a byte of what passes, `times` times."""

    def __init__(self, inner, times):
        super().__init__(inner)
        self.left = times

    async def write(self, key, source, *more, **named):
        return await super().write(key, _Garbled(self, source), *more, **named)

    @property
    def uploads(self):
        return _GarblingUploads(self, super().uploads)


class _Garbled:
    def __init__(self, layer, source):
        self._layer, self._source = layer, source
        self.size, self.reopenable, self.expected = source.size, source.reopenable, source.expected

    async def open(self, start=0):
        async for data in self._source.open(start):
            if data and self._layer.left > 0:
                self._layer.left -= 1
                yield bytes([data[0] ^ 1]) + bytes(data[1:])
            else:
                yield data


class _GarblingUploads:
    def __init__(self, layer, inner):
        self._layer, self._inner = layer, inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def put(self, ref, number, source):
        return await self._inner.put(ref, number, _Garbled(self._layer, source))


async def test_a_byte_that_changes_on_the_way_costs_another_try(src):
    dst = memory()
    await copy(src, Garbling(dst, 1), Selection(), SMALL_PARTS)
    assert await content(dst) == digests(EVERY_WAY)


async def test_bytes_that_change_every_time_are_never_kept(src):
    dst = memory()
    with expect.failure(Kind.CORRUPT):
        await copy(src, Garbling(dst, 10**9), Selection(), SMALL_PARTS)
    assert (await content(dst), await pending(dst)) == (digests({"f0/g0/000": b""}), [])


async def test_the_whole_is_compared_where_only_a_near_source_can_tell():
    """Each part arrives as it was sent: only the digest of the whole, read beside them, tells."""
    src, dst = memory(Undigested()), memory()
    await fill(src, {"a": some_bytes(300 * KIB)})
    await copy(src, Garbling(dst, 1), Selection(), SMALL_PARTS)
    assert await content(dst) == digests({"a": some_bytes(300 * KIB)})


# -- two at once ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("journalled", [True, False])
async def test_two_copies_at_once_into_one_folder(src, journalled, tmp_path):
    dst = memory()
    policy = replace(SMALL_PARTS, journal=tmp_path / "journals") if journalled else SMALL_PARTS
    await asyncio.gather(*(copy(src, dst, Selection(), policy) for _ in range(3)))
    assert (await content(dst), await pending(dst)) == (digests(EVERY_WAY), [])
    again = await copy(src, dst, Selection(ROOT), policy)
    assert again.skipped == len(EVERY_WAY)
