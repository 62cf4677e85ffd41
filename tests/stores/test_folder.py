"""A folder of the user's: plain files, read as MLflow's client reads them, written without leaving it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
import threading
import tracemalloc

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused, stream
from tests.stores.held import Held

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, FromTo, ObjectMeta, SmallObject
from shoso.errors import ConfigError, Forbidden, Kind, NotFound, StoreError
from shoso.stores.folder import names, open_folder, tree, walk

KEY = Key("model/weights.bin")
LARGE = bytes(range(256)) * (3 * CHUNK // 256) + b"tail"


@pytest.fixture
async def folder(root):
    """A folder with nothing in it; it isn't there yet."""
    store = open_folder(root)
    yield store
    await store.close()


def _small(key: str, data: bytes, claimed: str | None = None) -> SmallObject:
    return SmallObject(ObjectMeta(Key(key), len(data), 0.0, digest=claimed), data)


async def _listed(store, prefix=ROOT) -> list[str]:
    return [entry.key for entry in await expect.everything(store, prefix)]


# -- plain files ------------------------------------------------------------------------------------------


async def test_what_is_written_is_a_plain_file_and_nothing_else(folder, root):
    await folder.write(KEY, BytesSource(LARGE))
    await folder.batches.write([_small("model/a", b"a"), _small("b", b"b")])
    ref = await folder.uploads.begin(Key("model/large"), 8, part_size=4)
    await folder.uploads.finish(ref, [await folder.uploads.put(ref, 1, BytesSource(b"part"))])
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "b",
        "model",
        "model/a",
        "model/large",
        "model/weights.bin",
    ]
    for path in root.rglob("*"):
        assert os.listxattr(path) == []
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


async def test_opening_a_folder_touches_nothing(folder, root):
    assert await _listed(folder) == []
    with pytest.raises(NotFound):
        await folder.stat(KEY)
    await folder.delete([KEY])
    assert [ref async for ref in folder.uploads.pending(ROOT)] == []
    assert not root.exists()


def test_a_file_is_no_folder(root):
    root.write_bytes(b"")
    with pytest.raises(ConfigError, match="is no folder"):
        open_folder(root)


async def test_a_folder_stays_the_same_when_the_process_goes_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    store = open_folder(type(tmp_path)("here"))
    monkeypatch.chdir("/")
    await store.write(Key("file"), BytesSource(b"."))
    await store.close()
    assert (tmp_path / "here/file").exists()


# -- a source of uploads ----------------------------------------------------------------------------------


async def test_a_link_to_a_file_is_that_file(folder, root, tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"linked")
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    [entry] = await expect.everything(folder)
    assert (entry.key, entry.size) == ("link", 6)
    assert (await folder.stat(Key("link"))).etag == entry.etag
    assert await read_bytes(folder, Key("link")) == b"linked"
    assert [(await folder.batches.read([Key("link")]))[0].data] == [b"linked"]


async def test_a_link_to_a_folder_is_passed_over_as_by_os_walk(folder, root, tmp_path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "elsewhere/deep/file").write_bytes(b".")
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "circle").symlink_to(root)
    (root / "file").write_bytes(b".")
    assert await _listed(folder) == ["file"] == [name for *_, names in os.walk(root) for name in names]
    assert [entry.key for entry in await expect.shown(folder)] == ["file"]


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("dangling", "no/such/file", "is a link to 'no/such/file', which isn't there"),
        ("round", "round", "is a link that leads in a circle"),
    ],
)
async def test_a_link_that_leads_nowhere_is_an_error_that_names_it(folder, root, name, target, words):
    root.mkdir()
    (root / name).symlink_to(target)
    (root / "whole").write_bytes(b".")
    assert await _listed(folder) == sorted([name, "whole"])
    for call in (folder.stat(Key(name)), folder.read(Key(name))):
        with pytest.raises(NotFound, match=words) as caught:
            await call
        assert caught.value.key == name
    bad, whole = await folder.batches.read([Key(name), Key("whole")])
    assert isinstance(bad, NotFound)
    assert words in bad.message
    assert whole.data == b"."


async def test_what_is_no_file_is_an_error_that_names_it_and_nobody_waits_for_it(folder, root):
    root.mkdir()
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
    assert await _listed(folder) == ["pipe", "socket"]
    for name in ("pipe", "socket"):
        with pytest.raises(NotFound, match="a pipe, a socket or a device"):
            await folder.read(Key(name))


async def test_a_name_that_is_no_key_is_listed_so_that_it_isnt_passed_over(folder, root):
    root.mkdir()
    (root / "two\nlines").write_bytes(b".")
    (root / os.fsdecode(b"not-\xff-unicode")).write_bytes(b".")
    assert len(await _listed(folder)) == 2


async def test_a_folder_that_may_not_be_read_is_an_error_that_names_it(folder, root, monkeypatch):
    (root / "open/locked").mkdir(parents=True)
    real = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read everything
    with pytest.raises(Forbidden, match="'open/locked' may not be touched"):
        await expect.everything(folder)


async def test_a_source_that_changed_is_noticed(folder, root):
    await folder.write(KEY, BytesSource(LARGE))
    before = await folder.stat(KEY)
    os.utime(root / KEY, ns=(1, before_ns(root / KEY) + 1))
    with expect.failure(Kind.CHANGED):
        await folder.read(KEY, FromTo(0, 10), if_match=before.etag)


async def test_a_change_is_noticed_whose_time_was_set_back(folder, root):
    written = await folder.write(KEY, BytesSource(b"one"))
    before = await folder.stat(KEY)
    assert written.etag == before.etag
    status = (root / KEY).stat()
    with (root / KEY).open("r+b") as file:
        file.write(b"two")
    os.utime(root / KEY, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (await folder.stat(KEY)).etag != before.etag
    with expect.failure(Kind.CHANGED):
        await folder.read(KEY, if_match=before.etag)


async def test_a_source_that_is_replaced_while_it_is_read_is_read_to_its_end(folder, root, tmp_path):
    await folder.write(KEY, BytesSource(LARGE))
    (tmp_path / "new").write_bytes(b"new")
    async with await folder.read(KEY) as reading:
        (tmp_path / "new").replace(root / KEY)
        assert b"".join([data async for data in reading.body]) == LARGE


def before_ns(path) -> int:
    return path.stat().st_mtime_ns


@pytest.mark.parametrize("change", ["written to", "grown", "cut"])
async def test_a_source_that_changes_while_it_is_read_is_an_error_not_a_mixture(folder, root, change):
    await folder.write(KEY, BytesSource(LARGE))
    async with await folder.read(KEY) as reading:
        await anext(reading.body)
        with (root / KEY).open("r+b") as file:
            file.seek(0 if change == "written to" else len(LARGE))
            file.write(b"new")
            if change == "cut":
                file.truncate(2 * CHUNK + 1)
        with expect.failure(Kind.CHANGED):
            async for _ in reading.body:
                pass


async def test_a_source_removed_while_it_is_listed_is_left_out(folder, root, monkeypatch):
    await folder.batches.write([_small("a/file", b"."), _small("b/file", b"."), _small("c", b".")])
    real = os.scandir

    def removing(path):
        if str(path).endswith("/b"):
            (root / "b/file").unlink()
            (root / "b").rmdir()
        return real(path)

    monkeypatch.setattr(os, "scandir", removing)
    assert await _listed(folder) == ["a/file", "c"]


async def test_a_deep_listing_of_many_is_in_the_order_of_keys(folder):
    names = [f"d{number % 7}/{'e/' * (number % 3)}f{number}" for number in range(2500)]
    await folder.batches.write([_small(name, b"") for name in names])
    assert await _listed(folder) == sorted(names)
    assert await _listed(folder, "d3") == sorted(name for name in names if name.startswith("d3/"))


def test_of_a_folder_of_many_files_little_more_than_the_names_is_held(root):
    root.mkdir()
    for number in range(20_000):
        (root / f"{number:05}").touch()
    tracemalloc.start()
    try:
        assert sum(map(len, walk.batches(str(root), ROOT, None))) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 200 * 20_000
    finally:
        tracemalloc.stop()


# -- a target of downloads --------------------------------------------------------------------------------


async def test_nothing_is_written_through_a_link_to_a_folder(folder, root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(b"theirs")
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    for key in (Key("link/file"), Key("link/deep/file")):
        for call in (folder.write(key, BytesSource(b"new")), folder.uploads.begin(key, 10, part_size=5)):
            with pytest.raises(Forbidden, match="a link to a folder is on the way"):
                await call
    [failed] = await folder.batches.write([_small("link/file", b"new")])
    assert isinstance(failed, Forbidden)
    with pytest.raises(Forbidden):
        await folder.delete([Key("link/file")])
    assert [path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()] == [b"theirs"]


async def test_a_link_of_the_targets_name_is_replaced_not_followed(folder, root, tmp_path):
    (tmp_path / "theirs").write_bytes(b"theirs")
    root.mkdir()
    for name in ("one", "two", "three"):
        (root / name).symlink_to(tmp_path / "theirs")
    await folder.write(Key("one"), BytesSource(b"new"))
    await folder.batches.write([_small("two", b"new")])
    await folder.delete([Key("three")])
    assert (tmp_path / "theirs").read_bytes() == b"theirs"
    assert (root / "one").read_bytes() == (root / "two").read_bytes() == b"new"
    assert not (root / "one").is_symlink()


async def test_the_folder_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    root.symlink_to(tmp_path / "elsewhere")
    store = open_folder(root)
    await store.write(KEY, BytesSource(b"."))
    await store.close()
    assert (tmp_path / "elsewhere" / KEY).read_bytes() == b"."


async def test_a_folder_in_the_way_is_an_error_and_stays(folder, root):
    (root / "model/weights.bin").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="is a folder"):
        await folder.write(KEY, BytesSource(b"."))
    [failed] = await folder.batches.write([_small(KEY, b".")])
    assert failed.kind is Kind.EXISTS
    ref = await folder.uploads.begin(KEY, 1, part_size=1)
    with pytest.raises(FileExistsError, match="is a folder"):
        await folder.uploads.finish(ref, [await folder.uploads.put(ref, 1, BytesSource(b"."))])
    await folder.uploads.abort(ref)
    assert [*(root / "model").iterdir()] == [root / KEY]


async def test_a_file_where_a_folder_would_be_is_an_error(folder, root):
    root.mkdir()
    (root / "model").write_bytes(b"file")
    with pytest.raises(FileExistsError, match="a file stands where"):
        await folder.write(KEY, BytesSource(b"."))
    [failed] = await folder.batches.write([_small(KEY, b".")])
    assert failed.kind is Kind.EXISTS
    assert (root / "model").read_bytes() == b"file"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EACCES, Kind.FORBIDDEN),
        (errno.EROFS, Kind.FORBIDDEN),
        (errno.ENOSPC, Kind.NO_SPACE),
        (errno.EDQUOT, Kind.NO_SPACE),
        (errno.EINVAL, Kind.INVALID_KEY),
        (errno.EILSEQ, Kind.INVALID_KEY),
        (errno.EFBIG, Kind.TOO_LARGE),
    ],
)
async def test_what_the_system_refuses_is_said_in_words(folder, root, monkeypatch, number, kind):
    await folder.write(KEY, BytesSource(b"old"))
    real = os.open

    def refusing(path, flags, *args, **kwargs):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    with expect.failure(kind) as caught:
        await folder.write(KEY, BytesSource(b"new"))
    assert KEY in caught.value.message
    assert (await folder.batches.write([_small(KEY, b"new")]))[0].kind is kind
    with expect.failure(kind):
        await folder.uploads.begin(KEY, 3, part_size=3)
    assert (root / KEY).read_bytes() == b"old"


async def test_a_full_disk_is_known_before_the_first_byte(small_disk):
    store = open_folder(small_disk)
    came = []

    async def counted():
        for _ in range(9):
            came.append(1)
            yield b"." * CHUNK

    with expect.failure(Kind.NO_SPACE):
        await store.write(KEY, stream([b"." * CHUNK] * 9, size=9 * CHUNK))
    with expect.failure(Kind.NO_SPACE):
        await store.uploads.begin(KEY, 9 * CHUNK, part_size=CHUNK)
    with expect.failure(Kind.NO_SPACE):
        await store.write(KEY, stream([b"." * CHUNK] * 9))
    assert [*small_disk.rglob("*")] == []
    await store.write(KEY, BytesSource(LARGE))
    assert (small_disk / KEY).read_bytes() == LARGE
    await store.close()


async def test_a_draft_has_a_hidden_name_that_says_what_it_is(folder, root):
    source = Paused(LARGE, 3 * CHUNK)
    writing = asyncio.ensure_future(folder.write(KEY, source))
    await source.waiting.wait()
    async with asyncio.timeout(10):
        while not [*root.glob("model/*")]:  # noqa: ASYNC110  # no event comes from the store's thread
            await asyncio.sleep(0.001)
    [draft] = (root / "model").iterdir()
    assert draft.name.startswith(".weights.bin.")
    assert draft.name.endswith(".shoso-part")
    source.go.set()
    await writing
    assert [*(root / "model").iterdir()] == [root / KEY]


@pytest.mark.parametrize(
    "name", [".x.0123456789abcdef.shoso-part", "deep/.x.shoso-parts", ".y.shoso-part/below"]
)
async def test_the_names_of_drafts_are_nobodys(folder, name):
    for call in (
        lambda: folder.write(Key(name), BytesSource(b".")),
        lambda: folder.read(Key(name)),
        lambda: folder.delete([Key(name)]),
        lambda: folder.uploads.begin(Key(name)),
    ):
        with expect.failure(Kind.INVALID_KEY):
            await call()
    assert (await folder.batches.read([Key(name)]))[0].kind is Kind.INVALID_KEY
    assert (await folder.batches.write([_small(name, b".")]))[0].kind is Kind.INVALID_KEY


async def test_what_a_killed_process_left_goes_with_the_next_write_to_that_folder(folder, root):
    (root / "model").mkdir(parents=True)
    left = root / "model/.weights.bin.0123456789abcdef.shoso-part"
    left.write_bytes(b"half")
    assert await _listed(folder) == []
    await folder.write(Key("model/other"), BytesSource(b"."))
    assert not left.exists()


async def test_what_a_living_process_writes_stays(folder, root):
    source = Paused(LARGE, 3 * CHUNK)
    writing = asyncio.ensure_future(folder.write(KEY, source))
    await source.waiting.wait()
    other = open_folder(root)
    await other.write(Key("model/other"), BytesSource(b"."))
    await other.close()
    source.go.set()
    await writing
    assert (root / KEY).read_bytes() == LARGE


async def test_a_folder_removed_before_the_draft_is_in_it_is_made_again(folder, root, monkeypatch):
    await folder.write(Key("model/other"), BytesSource(b"."))
    held = Held(monkeypatch, "listdir")  # the first look into a folder: it's open, and nothing is in it yet
    other = open_folder(root)
    writing = asyncio.ensure_future(other.write(KEY, BytesSource(b"object")))
    await held.reached.wait()
    await folder.delete([Key("model/other")])
    held.go.set()
    await writing
    await other.close()
    assert (root / KEY).read_bytes() == b"object"


async def test_create_replaces_nothing(folder, root):
    (root / "model").mkdir(parents=True)
    (root / KEY).symlink_to("nowhere")
    with expect.failure(Kind.EXISTS):
        await folder.write(KEY, BytesSource(b"."), CREATE)
    assert [*(root / "model").iterdir()] == [root / KEY]


# -- many at once -----------------------------------------------------------------------------------------


async def test_each_of_a_batch_stands_or_falls_by_itself(folder, root):
    (root / "folder").mkdir(parents=True)
    right, wrong, folder_there, last = await folder.batches.write(
        [
            _small("a/right", b"right", digest(b"right")),
            _small("a/wrong", b"wrong", digest(b"other")),
            _small("folder", b"."),
            _small("b/last", b"last"),
        ]
    )
    assert (right.key, right.size, right.digest) == ("a/right", 5, digest(b"right"))
    assert right.etag == (await folder.stat(Key("a/right"))).etag
    assert (wrong.kind, wrong.key, folder_there.kind) == (Kind.CORRUPT, "a/wrong", Kind.EXISTS)
    assert last.key == "b/last"
    assert await _listed(folder) == ["a/right", "b/last"]
    first, missing, other = await folder.batches.read([Key("b/last"), Key("missing"), Key("a/right")])
    assert (first.data, other.data) == (b"last", b"right")
    assert isinstance(missing, NotFound)
    assert (missing.key, missing.store) == ("missing", folder.info.name)


async def test_no_path_leaves_a_file_open(folder, root, descriptors):
    await folder.write(KEY, BytesSource(LARGE))
    await folder.batches.write([_small("warm", b".")])
    before = descriptors()
    for number in range(3):
        await folder.write(Key(f"a/{number}"), BytesSource(LARGE))
        await folder.batches.write([_small("a/x", b"."), _small("b/y", b".", "wrong"), _small("model", b".")])
        await folder.batches.read([KEY, Key("missing")])
        await read_bytes(folder, KEY)
        for source in (BytesSource(LARGE, digest(b"")), stream([LARGE], size=1)):
            with pytest.raises(StoreError):
                await folder.write(KEY, source)
        with pytest.raises(StoreError):
            await folder.read(KEY, if_match="other")
        with pytest.raises(StoreError):
            await folder.read(Key("model"))
        async with await folder.read(KEY) as reading:
            await anext(reading.body)
        ref = await folder.uploads.begin(Key("c/large"), 10, part_size=4)
        part = await folder.uploads.put(ref, 1, BytesSource(b"1234"))
        with pytest.raises(StoreError):
            await folder.uploads.put(ref, 2, BytesSource(b"12345"))
        await folder.uploads.parts(ref)
        if number:
            await folder.uploads.finish(ref, [part])
        else:
            await folder.uploads.abort(ref)
        assert [ref async for ref in folder.uploads.pending(ROOT)] == []
        assert len(await _listed(folder)) > 0
    async with asyncio.timeout(10):
        while descriptors() != before:  # noqa: ASYNC110  # a thread that was let go closes in its own time
            await asyncio.sleep(0.001)


def test_a_draft_that_a_sweep_has_just_taken_is_made_again(tmp_path, monkeypatch):
    """Whoever first writes to a folder sweeps it, while others make their drafts there."""
    folder, draft, real = os.open(tmp_path, os.O_RDONLY), names.temporary("object"), fcntl.flock
    sweeper = threading.Timer(0.05, lambda: ((tmp_path / draft).unlink(), os.close(taken[0])))
    taken = []

    def taken_first(file, how):
        if not taken:
            taken.append(os.open(tmp_path / draft, os.O_RDWR))
            real(taken[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweeper.start()
        real(file, how)

    monkeypatch.setattr(tree.fcntl, "flock", taken_first)
    file = tree.create(folder, draft)
    sweeper.join()
    tree.name_draft(folder, draft, "object", replace=True)
    assert os.path.samestat(os.fstat(file), (tmp_path / "object").stat())
    os.close(file)
    os.close(folder)
