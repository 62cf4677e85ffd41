"""Parts of a download, each at its place in a draft beside the target: a killed process loses nothing."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conformance import expect
from tests.conformance.sources import Paused
from tests.stores.dying import Died, dying

from shoso.core.digest import digest
from shoso.core.keys import ROOT, Key
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import UploadRef
from shoso.errors import Kind, NotFound
from shoso.stores.folder import open_folder

KEY = Key("model/weights.bin")
SIZE = 100_000
PIECES = [bytes([number]) * SIZE for number in range(1, 5)] + [b"last"]
WHOLE = b"".join(PIECES)
PROJECT = Path(__file__).parents[2]


@pytest.fixture
async def folder(root):
    """A folder with nothing in it."""
    store = open_folder(root)
    yield store
    await store.close()


async def _begun(folder) -> UploadRef:
    return await folder.uploads.begin(KEY, len(WHOLE), part_size=SIZE)


async def _put_all(folder, ref, numbers=range(1, 6)):
    return [await folder.uploads.put(ref, number, BytesSource(PIECES[number - 1])) for number in numbers]


def _files(root) -> list[Path]:
    return sorted((root / "model").iterdir())


async def test_the_draft_has_its_room_from_the_start_and_becomes_the_file(folder, root):
    ref = await _begun(folder)
    draft, record = _files(root)
    assert (draft.name.startswith(".weights.bin."), draft.suffix) == (True, ".shoso-part")
    assert record.name == draft.name + "s"
    assert draft.stat().st_size == len(WHOLE)
    assert draft.stat().st_blocks * 512 >= len(WHOLE)
    there = draft.stat().st_ino
    parts = await asyncio.gather(
        *(folder.uploads.put(ref, n, BytesSource(piece)) for n, piece in list(enumerate(PIECES, 1))[::-1])
    )
    assert len(_files(root)) == 2
    meta = await folder.uploads.finish(ref, parts[::-1], digest(WHOLE))
    assert _files(root) == [root / KEY]
    assert (root / KEY).stat().st_ino == there
    assert (root / KEY).read_bytes() == WHOLE
    assert meta.etag == (await folder.stat(KEY)).etag


async def test_an_object_smaller_than_it_was_said_to_be_is_cut(folder, root):
    ref = await folder.uploads.begin(KEY, 10 * SIZE, part_size=SIZE)
    await folder.uploads.finish(ref, await _put_all(folder, ref), digest(WHOLE))
    assert (root / KEY).read_bytes() == WHOLE


@pytest.mark.parametrize("claimed", [True, False], ids=["whole claimed", "nothing claimed"])
async def test_a_draft_that_was_damaged_gets_no_name(folder, root, claimed):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    draft, _ = _files(root)
    with draft.open("r+b") as file:
        file.seek(2 * SIZE)
        file.write(b"x")
    with expect.failure(Kind.CORRUPT) as caught:
        await folder.uploads.finish(ref, parts, digest(WHOLE) if claimed else None)
    assert KEY in caught.value.message
    await folder.uploads.abort(ref)
    assert [*root.iterdir()] == []


async def test_a_part_larger_than_announced_overwrites_no_other(folder, root):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref, [1, 3])
    for source in (BytesSource(b"x" * (SIZE + 1)), BytesSource(b"x" * (3 * CHUNK))):
        with expect.failure(Kind.INVALID) as caught:
            await folder.uploads.put(ref, 2, source)
        assert str(SIZE) in caught.value.message
    assert await folder.uploads.parts(ref) == parts
    parts[1:1] = await _put_all(folder, ref, [2])
    await folder.uploads.finish(ref, parts, digest(b"".join(PIECES[:3])))


async def test_a_part_put_again_with_other_bytes_spoils_nothing(folder, root):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    other = await folder.uploads.put(ref, 2, BytesSource(b"y" * SIZE))
    assert (await folder.uploads.parts(ref))[1] == other
    with expect.failure(Kind.INVALID):
        await folder.uploads.finish(ref, parts)
    parts[1] = other
    await folder.uploads.finish(ref, parts, digest(WHOLE.replace(PIECES[1], b"y" * SIZE)))
    assert (root / KEY).read_bytes() == WHOLE.replace(PIECES[1], b"y" * SIZE)
    assert _files(root) == [root / KEY]


async def test_a_part_put_again_that_fails_leaves_the_one_that_was_there(folder, root):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    with expect.failure(Kind.CORRUPT):
        await folder.uploads.put(ref, 2, BytesSource(b"y" * SIZE, digest(b"other")))
    await folder.uploads.finish(ref, parts, digest(WHOLE))
    assert _files(root) == [root / KEY]


async def test_the_same_part_again_takes_no_more_room(folder, root):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    assert await _put_all(folder, ref, [2, 4]) == [parts[1], parts[3]]
    assert len(_files(root)) == 2


async def test_two_at_one_place_dont_mix(folder, root):
    """One of them has the place, the other a file of its own; the later counts."""
    ref = await _begun(folder)
    slow = Paused(b"s" * SIZE * 30, SIZE * 25)
    ref = await folder.uploads.begin(KEY, part_size=SIZE * 30)
    first = asyncio.ensure_future(folder.uploads.put(ref, 1, slow))
    await slow.waiting.wait()
    other = open_folder(root)
    quick = await other.uploads.put(ref, 1, BytesSource(b"q" * SIZE * 30))
    await other.close()
    assert await folder.uploads.parts(ref) == [quick]
    slow.go.set()
    late = await first
    assert await folder.uploads.parts(ref) == [late]
    await folder.uploads.finish(ref, [late])
    assert (root / KEY).read_bytes() == b"s" * SIZE * 30


async def test_a_part_that_is_late_doesnt_reach_into_the_finished_file(folder, root):
    ref = await folder.uploads.begin(KEY, part_size=3 * CHUNK)
    part = await folder.uploads.put(ref, 1, BytesSource(b"1" * 3 * CHUNK))
    late = Paused(b"2" * 3 * CHUNK, 2 * CHUNK)
    putting = asyncio.ensure_future(folder.uploads.put(ref, 2, late))
    await late.waiting.wait()
    await folder.uploads.finish(ref, [part], digest(b"1" * 3 * CHUNK))
    late.go.set()
    with pytest.raises(NotFound):
        await putting
    assert (root / KEY).read_bytes() == b"1" * 3 * CHUNK
    assert _files(root) == [root / KEY]


async def test_a_part_with_gaps_before_it_is_put_together(folder, root):
    ref = await folder.uploads.begin(KEY, part_size=SIZE)
    parts = await _put_all(folder, ref, [1, 3])
    await folder.uploads.finish(ref, parts)
    assert (root / KEY).read_bytes() == PIECES[0] + PIECES[2]


async def test_finish_repeated_knows_the_file_by_its_bytes(folder, root):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    first = await folder.uploads.finish(ref, parts, digest(WHOLE))
    for claimed in (None, digest(WHOLE)):
        assert await folder.uploads.finish(ref, parts, claimed) == first
    (root / KEY).write_bytes(WHOLE.replace(PIECES[1], b"y" * SIZE))
    for claimed in (None, digest(WHOLE)):
        with pytest.raises(NotFound):
            await folder.uploads.finish(ref, parts, claimed)


DOWNLOADER = """
import asyncio, sys
from pathlib import Path
from shoso.core.keys import Key
from shoso.core.streams import BytesSource, StreamSource
from shoso.stores.folder import open_folder

async def half():
    yield b"3" * 2_000_000
    yield b"3" * 2_000_000
    print("half", flush=True)
    await asyncio.Event().wait()

async def main(root, size):
    store = open_folder(Path(root))
    ref = await store.uploads.begin(Key("model/weights.bin"), 4 * int(size) + 4, part_size=int(size))
    print(ref.id, flush=True)
    for number in (1, 2):
        await store.uploads.put(ref, number, BytesSource(bytes([number]) * int(size)))
    part = store.uploads.put(ref, 3, StreamSource(half()))
    await asyncio.gather(part, store.write(Key("model/b"), StreamSource(half())))

asyncio.run(main(*sys.argv[1:]))
"""


def _killed(root, size) -> UploadRef:
    """The upload of a process that was killed in the middle of its third part."""
    command = [sys.executable, "-c", DOWNLOADER, str(root), str(size)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as downloader:
        upload_id, *said = [downloader.stdout.readline().strip() for _ in range(3)]
        downloader.send_signal(signal.SIGKILL)
    assert said == ["half", "half"]
    return UploadRef(KEY, upload_id)


async def test_what_a_killed_process_had_is_gone_on_with(root):
    size = 5_000_000
    ref = _killed(root, size)
    store = open_folder(root)
    assert await expect.everything(store) == []
    assert [found async for found in store.uploads.pending(ROOT)] == [ref]
    there = await store.uploads.parts(ref)
    assert [(part.number, part.size, part.digest) for part in there] == [
        (number, size, digest(bytes([number]) * size)) for number in (1, 2)
    ]
    await store.write(Key("model/b"), BytesSource(b"b"))  # what was half written goes, the parts stay
    assert len(_files(root)) == 3
    pieces = [bytes([number]) * size for number in range(1, 5)] + [b"last"]
    for number in (3, 4, 5):
        there.append(await store.uploads.put(ref, number, BytesSource(pieces[number - 1])))
    await store.uploads.finish(ref, there, digest(b"".join(pieces)))
    await store.close()
    assert (root / KEY).read_bytes() == b"".join(pieces)
    assert len(_files(root)) == 2


TWO = b"".join(PIECES[:2])


async def _download(store) -> None:
    ref = await store.uploads.begin(KEY, len(TWO), part_size=SIZE)
    await store.uploads.finish(ref, await _put_all(store, ref, [1, 2]), digest(TWO))


async def _go_on(root) -> None:
    """What the next process does: finish what is under way with what is missing, or begin anew."""
    store = open_folder(root)
    refs = [ref async for ref in store.uploads.pending(ROOT)]
    refs = refs or [await store.uploads.begin(KEY, len(TWO), part_size=SIZE)]
    for ref in refs:
        there = {part.number: part for part in await store.uploads.parts(ref)}
        for part in there.values():
            assert part.digest == digest(PIECES[part.number - 1])
        for number in {1, 2} - set(there):
            [there[number]] = await _put_all(store, ref, [number])
        await store.uploads.finish(ref, [there[1], there[2]], digest(TWO))
    await store.write(Key("model/another"), BytesSource(b"."))
    await store.close()
    assert (root / KEY).read_bytes() == TWO
    assert _files(root) == [root / "model/another", root / KEY]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_process_killed_at_any_step_loses_nothing_and_leaves_nothing(tmp_path, monkeypatch, after):
    for at in itertools.count(1):
        root = tmp_path / str(at)
        store = open_folder(root)
        with dying(monkeypatch, at, after) as process, suppress(Died):
            await _download(store)
        await store.close()
        if not process.dead:
            break
        await _go_on(root)
    assert at > 20


@pytest.mark.parametrize("damage", [lambda text: text[:-10], lambda text: text[:-10] + b"\0" * 10])
async def test_a_line_cut_short_is_no_part_and_spoils_no_other(folder, root, damage):
    ref = await _begun(folder)
    parts = await _put_all(folder, ref, [1, 2, 3])
    _, record = _files(root)
    record.write_bytes(damage(record.read_bytes()))
    assert await folder.uploads.parts(ref) == parts[:2]
    parts += await _put_all(folder, ref, [4])
    assert await folder.uploads.parts(ref) == [parts[0], parts[1], parts[3]]
    parts[2:] = await _put_all(folder, ref, [3]) + await _put_all(folder, ref, [4, 5])
    await folder.uploads.finish(ref, parts, digest(WHOLE))
    assert (root / KEY).read_bytes() == WHOLE


async def test_a_record_that_tells_nothing_goes_with_its_draft(folder, root):
    ref = await _begun(folder)
    await _put_all(folder, ref)
    _, record = _files(root)
    record.write_bytes(b"\0" * 100)
    with pytest.raises(NotFound):
        await folder.uploads.parts(ref)
    assert [found async for found in folder.uploads.pending(ROOT)] == []
    other = open_folder(root)
    await other.write(Key("model/other"), BytesSource(b"."))
    await other.close()
    assert _files(root) == [root / "model/other"]


async def test_what_is_left_between_two_steps_is_swept(folder, root):
    """A draft without its record: killed as it began; a record without its draft: killed as it finished."""
    ref = await _begun(folder)
    draft, record = _files(root)
    for left, gone in ((draft, record), (record, draft)):
        gone.unlink(missing_ok=True)
        left.write_bytes(b"left")
        with pytest.raises(NotFound):
            await folder.uploads.put(ref, 1, BytesSource(PIECES[0]))
        other = open_folder(root)
        await other.write(Key("model/other"), BytesSource(b"."))
        await other.close()
        assert _files(root) == [root / "model/other"]


async def test_without_such_locks_parts_still_come_together(folder, root, monkeypatch):
    monkeypatch.delattr("fcntl.F_OFD_SETLK")
    ref = await _begun(folder)
    parts = await _put_all(folder, ref)
    await folder.uploads.finish(ref, parts, digest(WHOLE))
    assert (root / KEY).read_bytes() == WHOLE
    assert _files(root) == [root / KEY]


@pytest.mark.parametrize("part_size", [SIZE, None], ids=["in place", "put together"])
async def test_many_that_finish_at_once_end_in_one_file(folder, root, part_size):
    for _ in range(10):
        ref = await folder.uploads.begin(KEY, len(WHOLE), part_size=part_size)
        parts = await _put_all(folder, ref)
        metas = await asyncio.gather(*(folder.uploads.finish(ref, parts, digest(WHOLE)) for _ in range(4)))
        assert len(set(metas)) == 1
        assert (root / KEY).stat().st_size == len(WHOLE)
        assert _files(root) == [root / KEY]
