"""Key: nothing that leaves the root is a key, on any system and however often it is decoded."""

from __future__ import annotations

import ntpath
import posixpath
import string
from urllib.parse import quote, unquote, unquote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.conformance import expect

from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.errors import Kind, StoreError

HOSTILE = [
    "..",
    ".",
    "/",
    "//",
    "a/",
    "/a",
    "a//b",
    "a/./b",
    "a/../b",
    "../a",
    "a/..",
    "/etc/passwd",
    "//server/share",
    "%2e%2e",
    "%2E%2e/a",
    ".%2e",
    "a/%2e%2e/%2e%2e/b",
    "%252e%252e",
    "%25252e%25252e/a",
    "..%2fa",
    "a%2f..%2f..%2fb",
    "%2fetc/passwd",
    "%2Fetc",
    "%252fetc",
    "%2f",
    "..\\a",
    "a\\..\\..\\b",
    "\\a",
    "\\\\server\\share",
    "%5cetc",
    "%5c%5cserver%5cshare",
    "..%5ca",
    "C:\\a",
    "C:/a",
    "c:a",
    "C:",
    "1:a",
    "é:a",
    "C:..\\a",
    "%43:a",
    "C%3aa",
    "C%253a%255ca",
    "\\\\?\\C:\\a",
    "\x00",
    "a\x00b",
    "a\nb",
    "a\rb",
    "a\tb",
    "\x7f",
    "\x1b[31m",
    "\ud800",
    "a\udcff",
    "a" * 1025,
    "é" * 513,
    "%" + "25" * 20 + "2e%2e",
]

ACCEPTED = [
    "a",
    "a/b",
    "...",
    "..a",
    "a..",
    ".a",
    "a.",
    ". .",
    "a b",
    " ",
    "100%",
    "%",
    "%%",
    "50%25",
    "%zz",
    "a%2fb",
    "%41",
    "a\\b",
    "ab:c",
    "a/C:b",
    "~",
    "#",
    "?",
    "日本",
    "\u202e",
    "a" * 1024,
    "é" * 512,
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_leads_astray_is_no_key(text):
    with pytest.raises(StoreError) as caught:
        keys.parse(text)
    assert caught.value.kind is Kind.INVALID_KEY
    assert caught.value.message.startswith("Invalid path")
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000
    caught.value.message.encode()


@pytest.mark.parametrize("text", ACCEPTED, ids=lambda text: ascii(text)[:40])
def test_what_a_user_may_call_a_file_is_a_key(text):
    assert keys.parse(text) == text


def test_the_root_is_a_key():
    assert keys.parse("") == ROOT == ""


PIECES = st.sampled_from([*"/\\%.:aC\x00é", "..", "%2e", "%2f", "%5c", "%3a", "%25", "%252e", "%2E%2E", "C:"])
NASTY = st.lists(PIECES, max_size=12).map("".join)
ANY = st.one_of(st.text(max_size=40), NASTY)


def _decodings(text: str) -> list[str]:
    """The text, and what becomes of it when it is decoded again and again, in every way there is."""
    seen = [text]
    for decode in (unquote, unquote_plus):
        now = text
        for _ in range(30):
            now = decode(now)
            seen.append(now)
    return seen


def _posix_leaves(text: str) -> bool:
    joined = posixpath.normpath(posixpath.join("/srv/root", text))
    return joined != "/srv/root" and not joined.startswith("/srv/root/")


def _windows_leaves(text: str) -> bool:
    joined = ntpath.normpath(ntpath.join("C:\\srv\\root", text))
    return joined.lower() != "c:\\srv\\root" and not joined.lower().startswith("c:\\srv\\root\\")


@given(ANY)
@example("%2fetc")
@example("C:..\\a")
@example("\\\\server\\share")
def test_no_key_leaves_its_root(text):
    with expect.allowed(Kind.INVALID_KEY):
        assert keys.parse(text) == text
        for decoded in _decodings(text):
            assert not _posix_leaves(decoded)
            assert not _windows_leaves(decoded)


@given(ANY)
def test_a_key_decoded_is_not_the_root_either(text):
    """Were `a%2f..` a key, its deletion would be that of everything."""
    with expect.allowed(Kind.INVALID_KEY):
        for decoded in _decodings(keys.parse(text)) if text else ():
            assert posixpath.normpath(posixpath.join("/r", decoded)) != "/r"


SEGMENT = st.text(
    st.characters(exclude_characters="/\\", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20
).filter(lambda text: ":" not in text and "%" not in text and set(text) != {"."})


@given(st.lists(SEGMENT, min_size=1, max_size=8))
def test_plain_segments_make_a_key_and_come_back(segments):
    key = keys.parse("/".join(segments))
    assert key.split("/") == segments
    assert keys.name(key) == segments[-1]
    assert keys.parent(key) == "/".join(segments[:-1])
    assert keys.parse(unquote(quote(key))) == key


@given(st.lists(SEGMENT, min_size=1, max_size=3), st.lists(SEGMENT, min_size=1, max_size=3))
def test_join_and_below_undo_each_other(above, under):
    parent, name = keys.parse("/".join(above)), keys.parse("/".join(under))
    key = keys.join(parent, name)
    assert keys.below(key, parent) == name
    assert keys.contains(parent, key)
    assert keys.contains(ROOT, key)
    assert not keys.contains(key, parent)
    assert keys.below(key, ROOT) == key


@given(st.lists(SEGMENT, min_size=1, max_size=3), ANY)
def test_join_never_leaves_the_parent(above, name):
    parent = keys.parse("/".join(above))
    with expect.allowed(Kind.INVALID_KEY):
        key = keys.join(parent, name)
        assert keys.contains(parent, key)
        for decoded, home in zip(_decodings(key), _decodings(parent), strict=True):
            assert keys.contains(Key(home), posixpath.normpath(decoded))


@given(st.text(string.ascii_letters + "/%.", max_size=30))
def test_parsing_is_stable(text):
    with expect.allowed(Kind.INVALID_KEY):
        assert keys.parse(keys.parse(text)) == text


def test_joining_with_the_root_changes_nothing():
    assert keys.join(ROOT, "a/b") == "a/b"
    assert keys.join(Key("a/b"), "") == "a/b"
    assert keys.join(ROOT, "") == ROOT


def test_a_join_that_is_too_long_is_refused():
    with pytest.raises(StoreError) as caught:
        keys.join(Key("a" * 600), "b" * 600)
    assert caught.value.kind is Kind.INVALID_KEY


@pytest.mark.parametrize("name", ["..", ".", "../b", "/b", "b//c", "/"])
def test_a_join_that_climbs_is_refused(name):
    with pytest.raises(StoreError):
        keys.join(Key("a"), name)


def test_contains_goes_by_whole_segments():
    assert keys.contains(Key("a"), "a")
    assert keys.contains(Key("a"), "a/b")
    assert not keys.contains(Key("a"), "ab")
    assert not keys.contains(Key("a/b"), "a")


def test_the_root_is_its_own_parent():
    assert keys.parent(ROOT) == ROOT
    assert keys.parent(Key("a")) == ROOT
    assert keys.name(ROOT) == ""
