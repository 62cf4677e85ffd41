"""An acknowledged write is on the disk: file before name, name before the reply, every folder on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, IfMatch, ObjectMeta, SmallObject
from shoso.stores.local import LocalOptions, LocalStore

KEY = Key("run/model/weights.bin")


class Journal:
    """What was done to the disk, in order: ("sync", path), ("name", path), ("folder", path)."""

    def __init__(self, patch: pytest.MonkeyPatch, root) -> None:
        self.events: list[tuple[str, str]] = []
        self._root = str(root)
        for name, record in (
            ("fsync", self._fsync),
            ("fdatasync", self._fsync),
            ("open", self._open),
            ("replace", self._replace),
            ("link", self._replace),
            ("mkdir", self._mkdir),
            ("pwrite", self._write),
        ):
            patch.setattr(os, name, self._around(getattr(os, name), record))

    def _around(self, real, record):
        def recorded(*args, **kwargs):
            result = real(*args, **kwargs)
            record(*args, **kwargs)
            return result

        return recorded

    def _fsync(self, file):
        self._add("sync", self._path(file))

    def _open(self, name, flags, mode=0o777, *, dir_fd=None):
        if flags & os.O_CREAT and dir_fd is not None:
            self._add("made", self._path(dir_fd, name))

    def _write(self, file, data, position):
        if (self._path(file) or "").startswith((".shoso/drafts", ".shoso/uploads")):
            self._add("bytes", self._path(file))

    def _replace(self, source, target, *, dst_dir_fd=None, **_):
        self._add("name", self._path(dst_dir_fd, target))

    def _mkdir(self, name, mode=0o777, *, dir_fd=None):
        self._add("folder", self._path(dir_fd, name) if dir_fd is not None else self._inside(str(name)))

    def _add(self, what, path):
        if path is not None:
            self.events.append((what, path))

    def _path(self, file, name="") -> str | None:
        return self._inside(str(Path(f"/proc/self/fd/{file}").readlink() / name))

    def _inside(self, path) -> str | None:
        return path.removeprefix(self._root).lstrip("/") if path.startswith(self._root) else None

    def place(self, *event) -> int:
        return self.events.index(event)

    def last(self, *event) -> int:
        return len(self.events) - 1 - self.events[::-1].index(event)


@pytest.fixture
def journal(monkeypatch, root, local):
    """Of what happens after the store was opened."""
    return Journal(monkeypatch, root)


def _draft(journal) -> str:
    [draft] = {path for what, path in journal.events if what == "bytes"}
    return draft


@pytest.mark.parametrize("size", [1, 3 * CHUNK + 1])
@pytest.mark.parametrize("mode", ["overwrite", "create", "if match"])
async def test_bytes_are_on_the_disk_before_they_have_a_name(local, root, monkeypatch, size, mode):
    old = await local.write(KEY, BytesSource(b"old"))
    how = {"overwrite": None, "create": CREATE, "if match": IfMatch(old.etag)}[mode]
    if how is CREATE:
        await local.delete([KEY])
    journal = Journal(monkeypatch, root)
    await local.write(KEY, BytesSource(b"." * size), *([how] if how else []))
    draft = _draft(journal)
    assert journal.last("bytes", draft) < journal.place("sync", draft) < journal.place("name", KEY)


async def test_the_name_is_on_the_disk_before_the_reply(local, journal):
    await local.write(KEY, BytesSource(b"."))
    assert journal.place("name", KEY) < journal.last("sync", "run/model")


async def test_every_new_folder_is_on_the_disk_before_the_reply(local, journal):
    await local.write(KEY, BytesSource(b"."))
    for folder, above in (("run", ""), ("run/model", "run")):
        assert journal.place("folder", folder) < journal.last("sync", above)
    assert journal.last("sync", "") < journal.place("name", KEY)


async def test_a_part_is_on_the_disk_before_the_reply(local, journal):
    ref = await local.uploads.begin(KEY)
    journal.events.clear()
    part = await local.uploads.put(ref, 1, BytesSource(b"part"))
    draft, folder = _draft(journal), f".shoso/uploads/{ref.id}"
    [named] = [path for what, path in journal.events if what == "name"]
    assert named.startswith(folder)
    assert part.etag in named
    assert journal.place("sync", draft) < journal.place("name", named) < journal.last("sync", folder)


async def test_a_part_at_its_place_is_on_the_disk_before_the_reply(local, journal):
    ref = await local.uploads.begin(KEY, 9 * CHUNK, part_size=3 * CHUNK)
    journal.events.clear()
    part = await local.uploads.put(ref, 1, BytesSource(b"." * 3 * CHUNK))
    folder = f".shoso/uploads/{ref.id}"
    whole, mark = f"{folder}/whole", f"{folder}/00001-{part.etag}-{part.size}"
    assert journal.last("bytes", whole) < journal.last("sync", whole) < journal.place("made", mark)
    assert journal.place("made", mark) < journal.place("sync", mark) < journal.last("sync", folder)
    journal.events.clear()
    await local.uploads.finish(ref, [part])
    assert not [what for what, path in journal.events if what == "bytes" and path == whole]
    assert journal.place("sync", whole) < journal.place("name", KEY) < journal.place("sync", "run/model")


async def test_the_file_for_parts_is_on_the_disk_before_the_upload_is(local, journal):
    ref = await local.uploads.begin(KEY, 9 * CHUNK, part_size=3 * CHUNK)
    folder = f".shoso/uploads/{ref.id}"
    assert journal.place("sync", f"{folder}/whole") < journal.place("name", f"{folder}/about")
    assert journal.place("name", f"{folder}/about") < journal.last("sync", folder)


async def test_an_upload_begun_is_on_the_disk_before_the_reply(local, journal):
    ref = await local.uploads.begin(KEY)
    folder = f".shoso/uploads/{ref.id}"
    assert journal.place("folder", ".shoso/uploads") < journal.last("sync", ".shoso")
    assert journal.place("folder", folder) < journal.last("sync", ".shoso/uploads")
    assert journal.place("name", f"{folder}/about") < journal.last("sync", folder)


async def test_a_finished_object_is_on_the_disk_before_its_parts_go(local, journal, monkeypatch):
    ref = await local.uploads.begin(KEY)
    part = await local.uploads.put(ref, 1, BytesSource(b"part"))
    removed = []
    unlink = os.unlink

    def recorded(path, **kwargs):
        removed.append(list(journal.events))
        unlink(path, **kwargs)

    monkeypatch.setattr(os, "unlink", recorded)
    await local.uploads.finish(ref, [part])
    before = removed[0]
    assert before.index(("name", KEY)) < len(before) - 1 - before[::-1].index(("sync", "run/model"))


async def test_the_root_itself_is_on_the_disk(tmp_path, monkeypatch):
    journal = Journal(monkeypatch, tmp_path)
    store = LocalStore(LocalOptions(tmp_path / "new" / "root"))
    await store.write(Key("object"), BytesSource(b"."))
    await store.close()
    for folder, above in (("new", ""), ("new/root", "new"), ("new/root/.shoso", "new/root")):
        assert journal.place("folder", folder) < journal.last("sync", above)


async def test_files_and_folders_follow_the_umask(local, root):
    before = os.umask(0o027)
    try:
        await local.write(KEY, BytesSource(b"."))
        await local.write(Key("created"), BytesSource(b"."), CREATE)
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / KEY).stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "created").stat().st_mode) == 0o640
    assert stat.S_IMODE((root / "run/model").stat().st_mode) == 0o750


async def test_what_is_written_together_is_as_durable_as_what_is_written_alone(local, journal):
    names = [f"run/{place % 3}/{place}" for place in range(20)]
    objects = [SmallObject(ObjectMeta(Key(name), 4, 0.0), b"data") for name in names]
    outcomes = await local.batches.write(objects)
    assert all(isinstance(outcome, ObjectMeta) for outcome in outcomes)
    drafts = [path for what, path in journal.events if what == "bytes"]
    assert len(drafts) == 20
    first_name = min(journal.place("name", name) for name in names)
    assert all(journal.place("bytes", draft) < journal.place("sync", draft) < first_name for draft in drafts)
    for name in names:
        assert journal.place("name", name) < journal.last("sync", name.rpartition("/")[0])
    for folder, above in (("run", ""), ("run/0", "run"), ("run/1", "run"), ("run/2", "run")):
        assert journal.place("folder", folder) < journal.last("sync", above)
    assert [journal.events.count(("sync", f"run/{number}")) for number in range(3)] == [1, 1, 1]


async def test_what_is_moved_is_on_the_disk_under_its_new_name_before_the_reply(local, root, monkeypatch):
    names = [f"run/{place % 2}/{place}" for place in range(10)]
    for name in names:
        await local.write(Key(name), BytesSource(b"data"))
    journal = Journal(monkeypatch, root)
    await local.move([(Key(name), Key(f"trash/{name}")) for name in names])
    for name in names:
        assert journal.place("name", f"trash/{name}") < journal.last(
            "sync", f"trash/{name}".rpartition("/")[0]
        )
    for folder, above in (("trash", ""), ("trash/run", "trash"), ("trash/run/0", "trash/run")):
        assert journal.place("folder", folder) < journal.last("sync", above)
    assert [journal.events.count(("sync", f"trash/run/{number}")) for number in range(2)] == [1, 1]
