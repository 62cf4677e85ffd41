"""Memory stays within a few buffers, whatever the size of the object."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conformance.subjects import SUBJECTS

SIZE = 128 * 1024 * 1024
BOUND = 24 * 1024  # KiB
PERSISTENT = [
    (name, dress)
    for name, subject in SUBJECTS.items()
    if not subject.volatile and not name.startswith("remote-")  # a client's memory: `remote` is one
    for dress in subject.dresses
]
PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(("subject", "dress"), PERSISTENT)
def test_memory_stays_within_a_few_buffers(tmp_path, subject, dress):
    command = [
        sys.executable,
        "-m",
        "tests.conformance.peak",
        subject,
        dress,
        str(tmp_path / "root"),
        str(SIZE),
    ]
    growth = json.loads(subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout)
    assert growth["written"] <= BOUND + SUBJECTS[subject].queued, growth
    assert growth["read"] <= BOUND, growth
