"""Both ends side by side: what is there is found for each object, whatever the order of the listings."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transfer.ends import SMALL_PARTS, Undigested, content, digests, fill, memory

from shoso.core.keys import Key
from shoso.core.types import Capabilities
from shoso.stores.memory import MemoryStore
from shoso.transfer import Selection, copy
from shoso.transfer.listing import pairs

PATHS = st.lists(st.sampled_from(["a", "b", "a.b", "a-b", "ä", "z"]), min_size=1, max_size=3).map("/".join)


class Unsorted(MemoryStore):
    """Lists the last first."""

    capabilities = Capabilities(sorted_list=False)

    async def list(self, prefix, deep=False, after=None):
        for entry in reversed([each async for each in super().list(prefix, deep, after)]):
            yield entry


@pytest.mark.parametrize("src_class", [MemoryStore, Unsorted])
@pytest.mark.parametrize("dst_class", [MemoryStore, Unsorted])
@settings(deadline=None)
@given(
    left=st.sets(PATHS), right=st.sets(PATHS), key=st.sampled_from(["", "k"]), to=st.sampled_from(["", "a"])
)
async def test_each_object_is_found_with_what_is_there_of_it(src_class, dst_class, left, right, key, to):
    src, dst = memory(src_class()), memory(dst_class())
    await fill(src, {f"{key}/{path}".lstrip("/"): b"s" for path in left} | {"other": b"", "k2/a": b""})
    await fill(dst, {f"{to}/{path}".lstrip("/"): b"d" for path in right} | {"other": b"", "a2/a": b""})
    if key and not left:
        return
    found = {
        path: there.key if there else None
        async for path, _, there in pairs(src, dst, Selection(Key(key), Key(to)))
    }
    below = {meta.key[len(key) + 1 if key else 0 :] async for meta in src.list(Key(key), deep=True)}
    there = {meta.key[len(to) + 1 if to else 0 :]: meta.key async for meta in dst.list(Key(to), deep=True)}
    assert found == {path: there.get(path) for path in below}


@settings(deadline=None)
@given(
    before=st.dictionaries(PATHS, st.binary(max_size=3)),
    after=st.dictionaries(PATHS, st.binary(max_size=3)),
    there=st.dictionaries(PATHS, st.binary(max_size=3)),
    digested=st.booleans(),
)
async def test_after_any_changes_a_copy_makes_the_destination_like_the_source(
    tmp_path_factory, before, after, there, digested
):
    src, dst = (memory(None if digested else Undigested()) for _ in range(2))
    policy = replace(SMALL_PARTS, journal=tmp_path_factory.mktemp("journals"))
    await fill(dst, there)
    await fill(src, before)
    await copy(src, dst, Selection(), policy)
    await fill(src, after)
    await copy(src, dst, Selection(), policy)
    assert await content(dst) == digests(there | before | after)
