"""tar: ours is read by every other, every other's by us, and nothing hostile gets through."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conformance import expect

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError, store_error
from shoso.wire import tar

SEGMENT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/\\%:"), min_size=1
).filter(lambda text: text not in {".", ".."} and len(text.encode()) <= 200)
KEY = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
DATA = st.binary(max_size=1500)
TIME = st.integers(0, 2**41).map(lambda tenths: tenths / 512)
META = st.builds(
    ObjectMeta,
    KEY.map(Key),
    st.just(0),
    TIME,
    st.none() | st.text(min_size=1, max_size=40),
    st.none() | st.binary(max_size=9).map(digest),
    st.none() | st.text(min_size=1, max_size=40),
)
OBJECTS = st.lists(st.tuples(META, DATA), max_size=6)

Objects = list[tuple[ObjectMeta, bytes]]


def written(objects: Objects, own: bool = True) -> bytes:
    """A tar of ours; the sizes are those of the data."""
    pieces = [(tar.head(meta, own), data, tar.tail(len(data))) for meta, data in sized(objects)]
    return b"".join([*(part for piece in pieces for part in piece), tar.END])


def sized(objects: Objects) -> Objects:
    return [
        (ObjectMeta(one.key, len(data), one.modified, one.etag, one.digest, one.content_type), data)
        for one, data in objects
    ]


async def flow(data: bytes, step: int) -> AsyncIterator[bytes]:
    for place in range(0, len(data), step):
        yield data[place : place + step]


def found(data: bytes, step: int = 10_000, prefix: Key = ROOT) -> list[tuple[ObjectMeta, bytes] | StoreError]:
    """All that is in a tar, every second object by `open`."""

    async def read():
        reader, there = tar.Reader(flow(data, step), prefix), []
        while (one := await reader.next()) is not None:
            if isinstance(one, StoreError):
                there.append(one)
            elif len(there) % 2:
                there.append((one, b"".join([bytes(part) async for part in reader.open()])))
            else:
                there.append((one, await reader.whole()))
        return there

    return asyncio.run(read())


def named(data: bytes, **how) -> dict[str, bytes | Kind]:
    """What is in a tar by name: the bytes, or the kind of the refusal."""
    return {
        one.key if isinstance(one, StoreError) else one[0].key: one.kind
        if isinstance(one, StoreError)
        else one[1]
        for one in found(data, **how)
    }


# -- ours -------------------------------------------------------------------------------------------------


@given(OBJECTS, st.integers(1, 3000))
def test_what_is_written_is_read_again(objects, step):
    assert found(written(objects), step) == sized(objects)


@given(OBJECTS, st.booleans())
def test_the_standard_library_reads_what_is_written(objects, own):
    with tarfile.open(fileobj=io.BytesIO(written(objects, own))) as archive:
        there = [(one.name, one.mtime, one.mode, archive.extractfile(one).read()) for one in archive]
    assert there == [(meta.key, meta.modified, 0o644, data) for meta, data in objects]


def test_sizes_and_times_beyond_octal_go_in_records():
    meta = ObjectMeta(Key("huge"), 9 * 2**30, 2.0**40)
    header = tarfile.TarFile(fileobj=io.BytesIO(tar.head(meta))).next()
    assert (header.name, header.size, header.mtime) == ("huge", meta.size, meta.modified)
    assert next_of(tar.head(meta)) == meta


def test_real_tar_unpacks_what_is_written(tmp_path):
    keys = ["a", "b/c", "n" * 120 + "/" + "m" * 130, "ü/日本", "with space", "-dash", "back\\slash"]
    objects = [(ObjectMeta(Key(key), 0, 1e9 + 0.25), key.encode() * 100) for key in keys]
    done = subprocess.run(
        ["tar", "-x"], input=written(objects, own=False), cwd=tmp_path, check=True, capture_output=True
    )
    assert done.stderr == b""
    for key in keys:
        assert (tmp_path / key).read_bytes() == key.encode() * 100
        assert (tmp_path / key).stat().st_mtime == 1e9 + 0.25
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == len(keys)


def test_what_couldnt_be_read_stands_in_its_place():
    error = store_error(Kind.NOT_FOUND, "'ü' is not there.\nReally.", key="ü")
    there = (ObjectMeta(Key("a"), 3, 1.0), b"abc")
    data = tar.failed(Key("ü"), error) + written([there])
    refusal, other = found(data)
    assert (refusal.kind, refusal.message, refusal.key) == (error.kind, error.message, "ü")
    assert isinstance(refusal, FileNotFoundError)
    assert other == there


# -- others' ----------------------------------------------------------------------------------------------

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@given(OBJECTS, st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]), st.integers(1, 3000))
def test_what_the_standard_library_writes_is_read(objects, form, step):
    assert named(archived(objects, form), step=step) == {meta.key: data for meta, data in objects}


def archived(objects: Objects, form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for meta, data in objects:
            one = tarfile.TarInfo(meta.key)
            one.size, one.mtime = len(data), meta.modified
            archive.addfile(one, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_the_time_is_the_files(form):
    whole = form != "pax"
    [(meta, _)] = found(archived([(ObjectMeta(Key("a"), 0, 1e9 + 0.5), b".")], FORMATS[form]))
    assert meta.modified == (1e9 if whole else 1e9 + 0.5)


@pytest.fixture
def folder(tmp_path):
    """A folder with a bit of everything that can be kept."""
    root = tmp_path / "folder"
    for name in ("a", "deep/er/b", "empty/c", "d" * 90 + "/" + "e" * 90, "with space"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.urandom(3000))
    (root / "nothing").write_bytes(b"")
    (root / "empty/folder").mkdir()
    return root


def packed(folder, *flags: str) -> bytes:
    return subprocess.run(["tar", "-c", *flags, "."], cwd=folder, check=True, capture_output=True).stdout


def files(folder) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


@pytest.mark.parametrize("form", ["gnu", "oldgnu", "pax", "ustar"])
def test_what_real_tar_writes_is_read(folder, form):
    if form != "ustar":  # its names end at 255 bytes
        (folder / ("f" * 200)).mkdir()
        (folder / ("f" * 200) / ("g" * 200)).write_bytes(b"long")
        (folder / "ü日本").write_bytes(b"wide")
    assert named(packed(folder, f"--format={form}", "--label=name" if form != "ustar" else "-v")) == files(
        folder
    )


def test_the_oldest_format_is_read(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a").write_bytes(b"old")
    assert named(packed(tmp_path, "--format=v7")) == {"deep/a": b"old"}


def test_an_incremental_tar_is_read(folder):
    """It says of each folder what is in it, and has times where others have the start of a long name."""
    record = folder.parent / "record"
    assert named(packed(folder, "--format=gnu", f"--listed-incremental={record}")) == files(folder)


def test_the_size_that_a_link_or_folder_says_means_no_bytes():
    pieces = [written(SOME)[: -len(tar.END)]]
    for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
        one = tarfile.TarInfo("odd")
        one.type, one.size = kind, 5000
        block = bytearray(one.tobuf(tarfile.USTAR_FORMAT))
        block[124:136] = b"%011o\0" % 5000
        block[148:156] = b"%06o\0 " % (sum(block) - sum(block[148:156]) + 8 * 32)
        pieces.append(bytes(block))
    there = found(b"".join(pieces) + written(SOME))
    assert [one.kind if isinstance(one, StoreError) else one[0].key[:1] for one in there] == (
        ["a", "b"] + [Kind.INVALID] * 3 + ["a", "b"]
    )


@pytest.mark.parametrize("size", [2**33, 2**62])
def test_a_size_in_base_256_is_understood(size):
    one = tarfile.TarInfo("huge")
    one.size, one.mtime = size, -5
    meta = next_of(one.tobuf(tarfile.GNU_FORMAT))
    assert (meta.size, meta.modified) == (size, -5)


def next_of(head: bytes) -> ObjectMeta | StoreError:
    return asyncio.run(tar.Reader(flow(head, 512)).next())


def test_a_header_for_all_is_heeded_until_another_takes_it_back():
    buffer = io.BytesIO()
    records = {"comment": "made by hand", "mtime": "77.5"}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=records) as archive:
        archive.addfile(tarfile.TarInfo("a"))
        back = tarfile.TarInfo("b")
        back.pax_headers = {"mtime": ""}
        archive.addfile(back)
        archive.addfile(tarfile.TarInfo("c"))
    assert [meta.modified for meta, _ in found(buffer.getvalue())] == [77.5, 0, 77.5]


# -- what isn't kept --------------------------------------------------------------------------------------


def test_what_is_no_file_is_refused_by_name_and_the_rest_goes_on(folder):
    (folder / "link").symlink_to("a")
    (folder / "hard").hardlink_to(folder / "a")
    os.mkfifo(folder / "pipe")
    there = named(packed(folder, "--sort=name"))
    refused = {name: kind for name, kind in there.items() if isinstance(kind, Kind)}
    assert refused == dict.fromkeys(["hard", "link", "pipe"], Kind.INVALID)
    assert {name: data for name, data in there.items() if name not in refused} == {
        name: data for name, data in files(folder).items() if name != "hard"
    }


@pytest.mark.parametrize(
    "flags", [["gnu"], ["pax", "--sparse-version=0.0"], ["pax", "--sparse-version=0.1"], ["pax"]], ids=str
)
def test_a_sparse_file_is_refused_by_name_and_the_rest_goes_on(tmp_path, flags):
    with (tmp_path / "holes").open("wb") as file:
        for place in range(40):  # more pieces than a header has room for
            file.seek(place * 65536)
            file.write(b"x" * 4096)
    (tmp_path / "z").write_bytes(b"whole")
    there = named(packed(tmp_path, "--sparse", "--sort=name", f"--format={flags[0]}", *flags[1:]))
    assert there == {"holes": Kind.INVALID, "z": b"whole"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../a", Kind.INVALID_KEY),
        ("a/../../b", Kind.INVALID_KEY),
        ("/etc/passwd", Kind.INVALID_KEY),
        ("a//b", Kind.INVALID_KEY),
        (".", Kind.INVALID_KEY),
        ("..", Kind.INVALID_KEY),
        ("./..", Kind.INVALID_KEY),
        ("a/%2e%2e/%2e%2e/b", Kind.INVALID_KEY),
        ("a\\..\\..\\b", Kind.INVALID_KEY),
        ("new\nline", Kind.INVALID_KEY),
        ("n" * 1025, Kind.INVALID_KEY),
        ("caf\udce9", Kind.INVALID),
        ("n\udce9" + "n" * 200, Kind.INVALID),
        ("", Kind.INVALID),
    ],
)
@pytest.mark.parametrize("prefix", ["", "run/artifacts"])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_hostile_name_is_refused_and_the_rest_goes_on(name, kind, prefix, form):
    objects = [(ObjectMeta(Key(each), 0, 0.0), b"data" * 500) for each in ("a", name, "b")]
    first, refusal, last = found(archived(objects, form), prefix=Key(prefix))
    below = f"{prefix}/" if prefix else ""
    assert (first[0].key, last[0].key) == (below + "a", below + "b")
    assert refusal.kind is kind
    assert len(refusal.message.encode()) < 500


def test_devices_are_refused():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("tty", tarfile.CHRTYPE), ("disk", tarfile.BLKTYPE), ("odd", b"Q")):
            one = tarfile.TarInfo(name)
            one.type = kind
            archive.addfile(one)
    assert named(buffer.getvalue()) == dict.fromkeys(["tty", "disk", "odd"], Kind.INVALID)


# -- what is no tar ---------------------------------------------------------------------------------------

SOME = [
    (ObjectMeta(Key("a" * 150), 0, 1.5, digest=digest(b"")), b"data" * 300),
    (ObjectMeta(Key("b"), 0, 2.0), b""),
]


@given(st.integers(0, len(written(SOME)) - len(tar.END)), st.integers(1, 2000))
def test_a_tar_cut_short_is_incomplete(stop, step):
    with expect.failure(Kind.INCOMPLETE):
        found(written(SOME)[:stop], step)


def test_an_empty_tar_is_one():
    assert found(tar.END) == []
    assert found(tar.END * 10) == []


@pytest.mark.parametrize("data", [b"x" * 5000, b"\x1f\x8b" + bytes(1000), b"PK\x03\x04" + bytes(1000)])
def test_nonsense_is_invalid(data):
    with expect.failure(Kind.INVALID) as caught:
        found(data)
    assert "compressed" in caught.value.message


@settings(max_examples=400)
@given(st.integers(0, len(written(SOME)) - 1), st.integers(1, 255), st.booleans())
def test_whatever_is_damaged_is_an_error_of_ours_or_another_object(place, flip, mend):
    data = bytearray(written(SOME))
    data[place] ^= flip
    if mend:  # with a right checksum, so that more than the checksum is looked at
        start = place - place % tar.BLOCK
        total = sum(data[start : start + tar.BLOCK]) - sum(data[start + 148 : start + 156]) + 8 * 32
        data[start + 148 : start + 156] = b"%06o\0 " % total
    try:
        found(bytes(data))
    except StoreError as error:
        assert error.kind in {Kind.INVALID, Kind.INCOMPLETE}  # noqa: PT017


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([b"x", b"g", b"L", b"K"]))
def test_whatever_an_extended_header_says_is_an_error_of_ours_or_an_object(data, kind):
    one = tarfile.TarInfo("extended")
    one.type, one.size = kind, len(data)
    start = one.tobuf(tarfile.USTAR_FORMAT) + data + tar.tail(len(data))
    try:
        found(start + written(SOME))
    except StoreError as error:
        assert error.kind in {Kind.INVALID, Kind.INCOMPLETE}  # noqa: PT017


@pytest.mark.parametrize("size", ["-1", "1_0", "+5", " 5", "9" * 30, "1e3", "x", "\u0661"])
def test_a_size_that_is_none_is_invalid(size):
    one = tarfile.TarInfo("a")
    one.pax_headers = {"size": size}
    with expect.failure(Kind.INVALID):
        found(one.tobuf(tarfile.PAX_FORMAT) + tar.END)


def test_a_negative_size_is_invalid():
    for kind in (b"0", b"x"):
        one = tarfile.TarInfo("a")
        one.size, one.type = -512, kind
        with expect.failure(Kind.INVALID):
            found(one.tobuf(tarfile.GNU_FORMAT) + tar.END)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L"])
def test_a_header_without_end_is_refused_before_it_is_read(kind):
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        one = tarfile.TarInfo("extended")
        one.type, one.size = kind, 2**40
        yield one.tobuf(tarfile.GNU_FORMAT)
        while True:
            taken += 1
            yield bytes(65536)

    with expect.failure(Kind.INVALID):
        asyncio.run(tar.Reader(endless()).next())
    assert taken == 0


def test_many_headers_before_one_file_are_bounded_together():
    one = tarfile.TarInfo("extended")
    one.type, one.size = b"L", tar.HEAD_LIMIT // 2
    piece = one.tobuf(tarfile.GNU_FORMAT) + b"n" * one.size
    with expect.failure(Kind.INVALID):
        found(piece * 3 + written(SOME))


def test_an_objects_bytes_may_be_left():
    async def read():
        reader = tar.Reader(flow(written(SOME), 100))
        first = await reader.next()
        async for _ in reader.open():
            break
        return first, await reader.next(), await reader.next()

    first, second, end = asyncio.run(read())
    assert (first.key, second.key, end) == ("a" * 150, "b", None)
