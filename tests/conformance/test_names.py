"""Names are the user's: whatever a key may hold comes back as it went in."""

from __future__ import annotations

import unicodedata

import pytest
from tests.conformance import expect

from shoso.core import keys
from shoso.core.store import exists, read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import Kind

UMLAUT = "Größe ñ が"
NAMES = {
    "spaces": ["two words", " leading and trailing "],
    "percent": ["100%", "%41", "%zz", "%25", "50%25 off"],
    "of a URL": ["a+b", "a&b=c", "key=value", "a#b", "#", "what?", "?a=b", "semi;colon", "aa:b:c", "@", ","],
    "of a shell": [
        "it's",
        '"quoted"',
        "`ticks` $HOME $(id)",
        "<tag>",
        "a|b",
        "a*b",
        "[1]",
        "{x}",
        "~",
        "~root",
        "!",
    ],
    "dots": [".hidden", "...", ".a.", "trailing."],
    "dashes": ["-dash", "--flag", "-", "_", "^", "()"],
    "of Windows": ["back\\slash", "CON", "nul.txt"],
    "scripts": ["日本語/倉.bin", "эксперимент", "🏯/👩\u200d🔬"],
    "unseen": ["\u200b", "\u202egnp.exe", "\u2028", "\ufeffbom"],
    "forms": [unicodedata.normalize("NFC", UMLAUT), unicodedata.normalize("NFD", UMLAUT)],
    "long": ["n" * 255, "é" * 127, "a/" * 60 + "a", "/".join(["s" * 255] * 4)],
    "of routes": ["0/1/artifacts/model/MLmodel", "index.html", "artifacts", "objects/uploads", "HEAD"],
}


@pytest.mark.parametrize("group", NAMES)
async def test_a_name_comes_back_as_it_went_in(opened, group):
    for name in opened.refused.intersection(NAMES[group]):
        await _refused(opened, name)
    await _round_trip(opened, [keys.parse(name) for name in NAMES[group] if name not in opened.refused])


async def _round_trip(opened, names: list[keys.Key]) -> None:
    for key in names:
        await opened.store.write(key, BytesSource(key.encode()))
    for key in names:
        await expect.whole(opened, key, key.encode())
    await _listed(opened.store, names)
    await opened.store.delete(names)
    for key in names:
        assert not await exists(opened.store, key)
        assert opened.get is None or opened.get(key) is None
    assert await expect.everything(opened.store) == await expect.shown(opened.store) == []


async def _listed(store, names: list[keys.Key]) -> None:
    """They, and nothing else, in their folders and in all above."""
    for folder in {keys.ROOT, *map(keys.parent, names)}:
        below = {key for key in names if keys.contains(folder, key)}
        assert {entry.key for entry in await expect.everything(store, folder)} == below
        depth = folder.count("/") + 1 if folder else 0
        level = {"/".join(key.split("/")[: depth + 1]) for key in below}
        assert {entry.key for entry in await expect.shown(store, folder)} == level


async def _refused(opened, name: str) -> None:
    """A name that the storage would change is another object's: it is never written."""
    with expect.failure(Kind.INVALID_KEY):
        await opened.store.write(keys.parse(name), BytesSource(name.encode()))
    assert await expect.shown(opened.store) == []


async def test_names_that_look_alike_are_different_objects(opened):
    alike = [
        unicodedata.normalize("NFC", UMLAUT),
        unicodedata.normalize("NFD", UMLAUT),
        "a b",
        "a%20b",
        "a+b",
        "a%2520b",
        "case",
        "Case",
        "dot",
        "dot.",
        "space",
        "space ",
        " space",
    ]
    for name in alike:
        await opened.store.write(keys.parse(name), BytesSource(name.encode()))
    for name in alike:
        assert await read_bytes(opened.store, keys.parse(name)) == name.encode()
    assert {entry.key for entry in await expect.everything(opened.store)} == set(alike)


async def test_the_longest_key_round_trips(opened):
    key = keys.parse("/".join(["s" * 254] * 4) + "/end")
    assert len(key.encode()) == keys.MAX_BYTES - 1
    await opened.store.write(key, BytesSource(b"."))
    await expect.whole(opened, key, b".")
