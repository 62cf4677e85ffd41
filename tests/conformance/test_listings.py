"""Many folders in one call: of each the same that a listing of it alone shows."""

from __future__ import annotations

import random

import pytest

from shoso.core.batches import write_many
from shoso.core.keys import Key
from shoso.core.types import ObjectMeta, SmallObject

FOLDERS = [f"1/{place:032x}/artifacts" for place in range(0, 40, 3)]
ODD = ["1/0", "1/0-", "1/0/inner", "1/0/inner/most", "1/zz", "1/ünï", "not there"]


@pytest.fixture
def listings(store):
    """Only for stores that list many folders at once."""
    if store.listings is None:
        pytest.skip("the store says that it lists each folder alone")
    return store.listings


def versions(metas):
    return sorted((one.key, one.size, one.etag) for one in metas)


async def test_many_folders_are_listed_as_each_alone(store, listings):
    dice = random.Random(7)
    keys = [f"1/{place:032x}/artifacts/{at}.txt" for place in range(42) for at in range(dice.randint(0, 9))]
    keys += [f"{folder}/{at}" for folder in ODD[:-1] for at in range(3)]
    keys += ["1/0.txt", "1/0/inner.txt", "2/0/a"]
    outcomes = await write_many(store, [SmallObject(ObjectMeta(Key(key), 1, 0.0), b".") for key in keys])
    assert all(isinstance(outcome, ObjectMeta) for outcome in outcomes)
    folders = [Key(folder) for folder in (*FOLDERS, *ODD)]
    dice.shuffle(folders)
    for most in (1000, 4):
        for folder, found in zip(folders, await listings.of(folders, most), strict=True):
            alone = [one async for one in store.list(folder, deep=True)]
            assert (found is None) == (len(alone) > most), folder
            assert found is None or versions(found) == versions(alone), folder
    assert await listings.of([], 10) == []
