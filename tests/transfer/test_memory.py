"""Memory stays within the window, however many and however large the objects are."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from tests.transfer.ends import memory

from shoso.transfer import Selection
from shoso.transfer.journal import Done
from shoso.transfer.shelf import open_journal

PROJECT = Path(__file__).parents[2]
BOUND = {"many": 4, "large": 24, "medium": 24, "small": 48}
"""MiB; 8 jobs of 4 MiB are 32, where the objects of a batch are in memory at once."""


@pytest.mark.parametrize("shape", BOUND)
def test_a_copy_takes_the_memory_of_its_window(shape):
    command = [sys.executable, "-m", "tests.transfer.peak", shape]
    done = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE, text=True)
    assert int(done.stdout) <= BOUND[shape] * 1024


def test_an_object_takes_a_number_in_the_journal_and_no_more(tmp_path):
    ends, objects = (memory(), memory()), 20_000
    journal = open_journal(tmp_path, *ends, Selection())
    for number in range(objects):
        journal.note(Done(f"folder/object-{number:08}", "s" * 40, "t" * 40, "d" * 64))
    journal.close()
    tracemalloc.start()
    journal = open_journal(tmp_path, *ends, Selection())
    taken = tracemalloc.get_traced_memory()[0] / objects
    tracemalloc.stop()
    assert journal.find("folder/object-00019999").target == "t" * 40
    journal.close()
    assert taken <= 64
