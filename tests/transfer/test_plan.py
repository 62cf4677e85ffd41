"""The plan: every object once, batches within bounds, parts that every store takes."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shoso.core.keys import Key
from shoso.core.types import Capabilities, ObjectMeta, UploadStyle
from shoso.transfer import Policy, plan
from shoso.transfer.journal import Done
from shoso.transfer.plan import BATCH_COUNT, BATCH_SIZE, SMALL, Item, Job, Planner, Way, part_size, spans

MIB = 1 << 20
TIB = 1 << 40

some_sizes = st.lists(st.one_of(st.integers(0, SMALL + 2), st.integers(0, 100 * MIB)), max_size=60)


def item(number: int, size: int) -> Item:
    key = Key(f"k{number}")
    return Item(key, ObjectMeta(key, size, 1.0), key)


def jobs(sizes, policy=None, src=None, dst=None) -> list[Job]:
    planner = Planner(policy or Policy(), src or Capabilities(), dst or Capabilities())
    made = [job for number, size in enumerate(sizes) for job in planner.add(item(number, size))]
    return [*made, *planner.rest()]


@settings(deadline=None)
@given(some_sizes)
@example([0] * (BATCH_COUNT + 1))
@example([SMALL] * 17)
def test_every_object_travels_once_in_batches_that_are_bounded(sizes):
    made = jobs(sizes)
    assert sorted(one.path for job in made for one in job.items) == sorted(f"k{n}" for n in range(len(sizes)))
    for job in made:
        assert job.size == sum(one.meta.size for one in job.items)
        if job.way is Way.BATCH:
            assert len(job.items) <= BATCH_COUNT
            assert job.size <= BATCH_SIZE
        else:
            [one] = job.items
            assert one.meta.size > SMALL
            assert (job.way is Way.PARTS) == (one.meta.size >= Policy().parts_from)


def test_small_objects_fill_their_batches():
    assert [len(job.items) for job in jobs([1] * (2 * BATCH_COUNT + 3))] == [BATCH_COUNT, BATCH_COUNT, 3]
    assert [len(job.items) for job in jobs([SMALL] * 33)] == [16, 16, 1]


def test_a_large_object_breaks_no_batch():
    assert [job.way for job in jobs([1, 70 * MIB, 1, MIB, 1])] == [Way.PARTS, Way.STREAM, Way.BATCH]


def test_nothing_goes_in_parts_where_either_end_cant():
    for src, dst in (
        (Capabilities(ranges=False), Capabilities()),
        (Capabilities(), Capabilities(uploads=UploadStyle.NONE)),
        (Capabilities(), Capabilities(part_max=MIB, parts_max=99)),
    ):
        [job] = jobs([100 * MIB], None, src, dst)
        assert job.way is Way.STREAM


def test_nothing_goes_in_parts_of_which_versions_cant_be_told_apart():
    [job] = Planner(Policy(), Capabilities(), Capabilities()).add(
        Item("a", ObjectMeta(Key("a"), 100 * MIB, 0.0), Key("a"))
    )
    assert job.way is Way.STREAM


def test_what_is_to_go_in_parts_is_no_small_object():
    [job] = jobs([1000], Policy(parts_from=1000))
    assert job.way is Way.PARTS


@settings(deadline=None)
@given(
    wanted=st.integers(1, 10 * 1024 * MIB),
    size=st.integers(1, 6 * TIB),
    limits=st.builds(
        lambda least, more, most: Capabilities(part_min=least, part_max=least + more, parts_max=most),
        st.integers(0, 16 * MIB),
        st.integers(MIB, 5 * 1024 * MIB),
        st.integers(1, 10_000),
    ),
)
@example(wanted=32 * MIB, size=5 * TIB, limits=Capabilities(part_min=5 * MIB))
def test_parts_are_as_many_and_as_large_as_the_store_takes(wanted, size, limits):
    part = part_size(wanted, size, limits)
    assert 1 <= part <= limits.part_max
    if size <= limits.part_max * limits.parts_max:
        assert part >= min(limits.part_min, limits.part_max)
        assert -(-size // part) <= limits.parts_max


def test_parts_are_as_wanted_where_nothing_is_against_it():
    assert part_size(32 * MIB, 1024 * MIB, Capabilities(part_min=5 * MIB)) == 32 * MIB
    assert part_size(MIB, 1024 * MIB, Capabilities(part_min=5 * MIB)) == 5 * MIB


@settings(deadline=None)
@given(size=st.integers(1, 500), part=st.integers(1, 200))
def test_spans_cover_every_byte_once(size, part):
    found = [*spans(size, part)]
    assert [number for number, _, _ in found] == [*range(1, len(found) + 1)]
    assert [place for _, start, stop in found for place in range(start, stop)] == [*range(size)]
    assert {stop - start for _, start, stop in found[:-1]} <= {part}


def meta(size=1, digest=None, etag="e", modified=1.0):
    return ObjectMeta(Key("a"), size, modified, etag, digest)


def done(digest=None, source="e", target="e"):
    return Done("a", source, target, digest)


@pytest.mark.parametrize(
    ("there", "noted", "same"),
    [
        (None, done(), False),
        (meta(digest="d"), None, True),
        (meta(digest="x"), done(), False),
        (meta(2, digest="d"), done(), False),
        (meta(), None, False),
        (meta(), done(), True),
        (meta(), done(source=""), False),
        (meta(), done(source="other"), False),
        (meta(etag="other"), done(), False),
        (meta(2), done(), False),
    ],
)
def test_unchanged_is_what_digests_say_or_else_versions(there, noted, same):
    assert plan.unchanged(meta(digest="d"), there, noted) is same


@pytest.mark.parametrize(
    ("there", "noted", "digest"),
    [
        (meta(2, digest="d"), done("d"), "none of that size"),
        (meta(digest="d"), None, "d"),
        (meta(), None, None),
        (meta(), done("d"), "d"),
        (meta(), done("d", target="other"), None),
        (meta(digest="d"), done("x"), "d"),
    ],
)
def test_the_journal_knows_digests_that_a_listing_leaves_out(there, noted, digest):
    found = plan.candidate(meta(), there, noted)
    assert (found.digest if found else "none of that size") == digest


def test_what_has_no_version_is_never_known_to_be_there():
    there = meta(etag=None, modified=0.0)
    for noted in (done("d", target=plan.version(there)), done("d", source=plan.version(there))):
        assert not plan.unchanged(meta(), there, noted)
        assert not plan.unchanged(there, meta(), noted)
        assert plan.candidate(meta(), there, noted).digest is None


def test_a_version_is_the_etag_or_time_and_size():
    assert plan.version(meta(etag="x")) == "x"
    assert plan.version(meta(1, etag=None)) != plan.version(meta(2, etag=None))
