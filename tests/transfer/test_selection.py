"""Globs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoso.transfer import Selection


@pytest.mark.parametrize(
    ("glob", "taken", "left"),
    [
        ("*.ckpt", ["a.ckpt", "x/y/a.ckpt", "dir.ckpt/inside"], ["a.ckpt2", "a", "ckpt"]),
        ("cache", ["cache", "cache/x", "a/cache/b"], ["cached", "a/xcache"]),
        ("a/*", ["a/b", "a/b/c"], ["b/a/b", "a"]),
        ("/top", ["top", "top/x"], []),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz", "z"]),
        ("**/z", ["z", "a/b/z"], ["az"]),
        ("a/", ["a/x", "b/a/x", "a"], ["ab/x"]),
        ("?.txt", ["a.txt", "d/b.txt"], ["ab.txt", "/.txt"]),
        ("[a-c]1", ["a1", "c1"], ["d1"]),
        ("x[!0-9]y", ["xay"], ["x1y", "x/y"]),
        ("a.b+(c)", ["a.b+(c)"], ["aXb+(c)"]),
        ("[", ["["], ["a"]),
        ("[z-a]", [], ["z", "a", "-"]),
    ],
)
def test_globs(glob, taken, left):
    wanted = Selection(include=(glob,)).filter()
    assert [path for path in taken if not wanted(path)] == []
    assert [path for path in left if wanted(path)] == []


def test_an_excluded_path_is_left_out_even_if_it_is_included():
    wanted = Selection(include=("*.py", "*.txt"), exclude=("tests/**", "__pycache__")).filter()
    paths = ["a.py", "tests/a.py", "src/__pycache__/a.py", "b.txt", "c.bin"]
    assert [path for path in paths if wanted(path)] == ["a.py", "b.txt"]


@settings(deadline=None)
@given(st.text(alphabet="ab*?[]!-/^&|~\\.\n", max_size=12), st.text(alphabet="ab-/^", max_size=8))
def test_any_text_is_a_glob(glob, path):
    Selection(include=(glob,)).filter()(path)
