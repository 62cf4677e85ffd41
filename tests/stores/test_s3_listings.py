"""How few pages of a bucket's listing tell what lies in many folders; what they tell, conformance tests."""

from __future__ import annotations

from bisect import bisect_right

import pytest

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.stores.s3.listings import S3Listings


class Bucket:
    """Pages of keys in order, and how many were asked for."""

    def __init__(self, keys):
        self.keys = sorted(keys)
        self.pages = self.shown = 0

    async def page(self, above, behind, most):
        assert all(key.startswith(f"{above}/") for key in self.keys if key > behind)
        at = bisect_right(self.keys, behind)
        page = self.keys[at : at + most]
        self.pages, self.shown = self.pages + 1, self.shown + len(page)
        last = page[-1] if at + most < len(self.keys) else None
        return [ObjectMeta(Key(key), 1, 0.0) for key in page], last


def folder(run):
    return Key(f"1/{run:032x}/artifacts")


@pytest.mark.parametrize(
    ("runs", "step", "pages"), [(300, 1, 10), (3000, 10, 300), (6000, 2000, 3)], ids=["all", "tenth", "few"]
)
async def test_neighbours_share_pages_and_what_lies_between_is_passed_over(runs, step, pages):
    bucket = Bucket(f"{folder(run)}/{at}.txt" for run in range(runs) for at in range(20))
    wanted = [folder(run) for run in range(0, runs, step)]
    found = await S3Listings(bucket.page).of(wanted, 100)
    assert [[meta.key for meta in one] for one in found] == [
        sorted(f"{one}/{at}.txt" for at in range(20)) for one in wanted
    ]
    assert bucket.pages <= pages
    assert bucket.shown <= max(bucket.pages * 60 + 400, 20 * len(wanted) + 1000)


async def test_a_folder_with_more_than_is_wanted_is_left_at_once():
    bucket = Bucket([*(f"1/a/{at:05}" for at in range(50_000)), "1/b/1"])
    assert [
        one if one is None else len(one)
        for one in await S3Listings(bucket.page).of([Key("1/b"), Key("1/a"), Key("1/c")], 100)
    ] == [1, None, 0]
    assert bucket.pages <= 3
