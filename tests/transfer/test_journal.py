"""The journal: what was noted is found again, whatever happened to the file."""

from __future__ import annotations

import fcntl
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transfer.ends import memory

from shoso.core.keys import Key
from shoso.transfer import Selection, shelf
from shoso.transfer.journal import SPARE, Begin, Done, End, Journal, Upload
from shoso.transfer.shelf import COPIES, left_behind, open_journal

SRC, DST = memory(), memory()
ALL = Selection()
A, B = Done("a", "s1", "t1", "d1"), Done('b/ä"\n', "s2", "t2", None)


@pytest.fixture
def opened(tmp_path):
    """Opens the journal of one and the same copy; closes what the test has left open."""
    journals = []

    def opened(selection=ALL, folder=tmp_path / "journals", src=SRC, dst=DST) -> Journal:
        journals.append(open_journal(folder, src, dst, selection))
        return journals[-1]

    yield opened
    for journal in journals:
        journal.close()


@pytest.fixture
def file(opened, tmp_path):
    """The file of a journal in which A and B stand."""
    journal = opened()
    journal.note(A, B)
    journal.close()
    [path] = (tmp_path / "journals").iterdir()
    return path


def test_what_was_noted_is_found_by_the_next_copy(file, opened):
    journal = opened()
    assert (journal.find("a"), journal.find(B.path), journal.find("c")) == (A, B, None)


def test_the_last_line_of_an_object_counts(file, opened):
    journal = opened()
    newer = Done("a", "s3", "t3", None)
    journal.note(newer)
    journal.close()
    assert opened().find("a") == newer


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_a_torn_line_and_any_other_garbage_costs_nothing_else(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("journals")
    with_a = open_journal(folder, SRC, DST, Selection())
    with_a.note(A)
    with_a.close()
    [path] = folder.iterdir()
    with path.open("ab") as file:
        file.write(garbage + b"\n" + garbage.replace(b"\n", b"") + b'["done","b')
    after = open_journal(folder, SRC, DST, Selection())
    after.note(B)
    after.close()
    again = open_journal(folder, SRC, DST, Selection())
    assert (again.find("a"), again.find(B.path)) == (A, B)
    again.close()


def test_uploads_are_known_until_they_end(opened):
    upload = Upload("a", "s", "id", 5)
    for lines, uploads, begun in (
        ([Begin("a")], {}, {"a"}),
        ([upload], {"a": upload}, set()),
        ([Begin("a")], {"a": upload}, {"a"}),
        ([End("a")], {}, set()),
        ([Begin("a"), upload, A], {"a": upload}, set()),
        ([End("a"), A], {}, set()),
    ):
        journal = opened()
        journal.note(*lines)
        journal.close()
        journal = opened()
        assert (journal.uploads, journal.begun) == (uploads, begun)
        journal.close()


def test_every_copy_has_its_own(file, opened):
    others = [
        {"selection": Selection(Key("x"))},
        {"selection": Selection(to=Key("x"))},
        {"src": memory()},
        {"dst": memory()},
    ]
    assert [opened(**other).find("a") for other in others] == [None] * 4
    assert opened(Selection(include=("*",))).find("a") == A


def test_two_at_once_dont_share_one(file, opened):
    first, second = opened(), opened()
    assert (first.kept, second.kept) == (True, True)
    assert second.find("a") is None
    second.note(Done("a", "x", "y", None))
    second.close()
    first.close()
    assert opened().find("a") == A


def test_too_many_at_once_have_none(opened):
    assert [opened().kept for _ in range(COPIES + 1)] == [True] * COPIES + [False]


def test_what_others_have_left_behind_is_found_and_forgotten(file, opened):
    folder, upload = file.parent, Upload("u", "s", "id", 5)
    own, killed, alive = opened(), opened(), opened()
    killed.note(upload)
    killed.close()
    for left in ({"u": upload}, {"u": upload}):
        assert [journal.uploads for journal in left_behind(folder, SRC, DST, ALL)] == [left]
    for journal in left_behind(folder, SRC, DST, ALL):
        journal.note(End("u"))
    assert [*left_behind(folder, SRC, DST, ALL)] == []
    assert len([*folder.iterdir()]) == len([own, alive])


def test_a_file_that_was_replaced_before_it_was_locked_is_nobodys(file, opened, monkeypatch):
    lock = fcntl.flock

    def replaced_first(*asked):
        file.unlink()
        file.touch()
        lock(*asked)

    monkeypatch.setattr(shelf, "COPIES", 1)
    monkeypatch.setattr(fcntl, "flock", replaced_first)
    assert not opened().kept


def test_a_file_that_is_mostly_outdated_is_written_anew(file, opened, monkeypatch):
    monkeypatch.setattr(shelf, "COPIES", 1)
    journal = opened()
    for number in range(2 * SPARE + 10):
        journal.note(Done("a", "s", f"{number}", None))
    journal.note(Upload("u", "s", "id", 5), Begin("v"))
    journal.close()
    large = file.stat().st_size
    journal = opened()
    assert file.stat().st_size < large / 100
    assert journal.find("a").target == f"{2 * SPARE + 9}"
    assert journal.find(B.path) == B
    assert (set(journal.uploads), journal.begun) == ({"u"}, {"v"})
    assert not opened().kept
    journal.note(A)
    journal.close()
    assert opened().find("a") == A
    assert [*file.parent.iterdir()] == [file]


def test_journals_that_nobody_uses_are_removed(file, opened):
    used = opened(Selection(Key("used")))
    [other] = set(file.parent.iterdir()) - {file}
    for path in (file, other):
        os.utime(path, (0, time.time() - shelf.OLD - 60))
    opened(Selection(Key("new")))
    assert not file.exists()
    assert other.exists()
    used.close()
    opened(Selection(Key("used"))).close()
    assert other.stat().st_mtime > time.time() - 60


def test_a_folder_that_cant_be_written_means_no_journal(opened, tmp_path, caplog):
    (tmp_path / "file").touch()
    journal = opened(folder=tmp_path / "file" / "journals")
    journal.note(A)
    journal.flush()
    assert not journal.kept
    assert "No journal in" in caplog.text


def test_a_disk_that_fills_up_ends_the_journal(file, opened, monkeypatch, caplog):
    journal = opened()
    monkeypatch.setattr(os, "write", lambda *_: 3)
    journal.note(A)
    journal.flush()
    monkeypatch.undo()
    assert "The journal can't be written" in caplog.text
    assert (journal.kept, journal.find("a")) == (False, None)
    journal.note(A)
    journal.close()
    assert opened().find("a") == A


def test_no_journal_keeps_nothing():
    journal = open_journal(None, SRC, DST, Selection())
    journal.note(A, Upload("u", "s", "id", 5))
    assert (journal.kept, journal.find("a"), set(journal.uploads)) == (False, None, {"u"})


def test_only_its_owner_may_read_it(file):
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
