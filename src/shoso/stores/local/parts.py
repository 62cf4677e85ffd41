"""The files of an upload, and where each part is; every function blocks.

.shoso/uploads/<id>/about                      the key, and the size of the parts if it's known (JSON)
.shoso/uploads/<id>/whole                      parts at their places, if the size is known
.shoso/uploads/<id>/<number>-<digest>-<size>   says that such a part is at its place: an empty file
.shoso/uploads/<id>/<number>-<digest>          a part in a file of its own
.shoso/uploads/<id>/finished                   the object stands: finish may be repeated

`whole` is there before `about`, and goes when it becomes the object: without it, the object stands.
"""

from __future__ import annotations

import enum
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import Buffer, ObjectMeta, Part, UploadRef
from shoso.stores.disk.drafts import Draft, stamped
from shoso.stores.disk.places import Piece, claim, compare, in_place, take_place, undamaged
from shoso.stores.disk.space import reserve
from shoso.stores.files.names import UPLOADS
from shoso.stores.local.files import Aside, seal, sync
from shoso.stores.local.tree import Tree, again

_ABOUT, _WHOLE, _FINISHED = "about", "whole", "finished"
_ID = re.compile(r"[0-9a-f]{32}")
_PART = re.compile(r"(\d{5})-([0-9a-f]{64})(?:-(\d+))?")
_NEW = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class State(enum.Enum):
    """How far an upload is."""

    UNKNOWN = enum.auto()
    OPEN = enum.auto()
    FINISHED = enum.auto()


@dataclass(frozen=True, slots=True)
class About:
    """What is being uploaded, and the size of its parts where they have places."""

    key: Key
    part_size: int | None


class Files:
    """The files of one upload, which may be there or not."""

    def __init__(self, tree: Tree, upload_id: str) -> None:
        self._tree, self._id = tree, upload_id
        self.place = f"{UPLOADS}/{upload_id}"

    # -- how far it is ------------------------------------------------------------------------------------

    @again
    def about(self) -> About | None:
        """What it says of itself; None where there is no such upload."""
        if not _ID.fullmatch(self._id):
            return None
        try:
            file = self._tree.open_file(f"{self.place}/{_ABOUT}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            said = json.loads(os.read(file, CHUNK))
            return About(keys.parse(said["key"]), said.get("part_size"))
        finally:
            os.close(file)

    def state(self, key: Key) -> State:
        """How far the upload of that key is."""
        about = self.about()
        if about is None or about.key != key:
            return State.UNKNOWN
        renamed = about.part_size is not None and not self._tree.holds(f"{self.place}/{_WHOLE}")
        return State.FINISHED if renamed or self._tree.holds(f"{self.place}/{_FINISHED}") else State.OPEN

    def stale(self, older_than: float, made: float) -> bool:
        """Whether it is finished, or was never begun, and nothing has touched it since then."""
        there = {found.name: found.status.st_mtime for found in self._tree.entries(self.place)}
        about = self.about()
        done = about is None or self.state(about.key) is State.FINISHED
        return done and max(there.values(), default=made) < older_than

    # -- its way ------------------------------------------------------------------------------------------

    def begin(self, about: About, size: int | None) -> None:
        """Make room for `size` bytes where parts have places, then say that it's there. Raises ENOSPC."""
        try:
            if about.part_size is not None:
                self._make_whole(size or 0)
            self._keep(_ABOUT, json.dumps({"key": about.key, "part_size": about.part_size}))
        except BaseException:
            self.clear()
            raise

    def pieces(self) -> dict[int, Piece]:
        """Where each part is; of several with one number the latest."""
        about, newest = self.about(), dict[int, tuple[int, Piece]]()
        for found in self._tree.entries(self.place):
            if match := _PART.fullmatch(found.name):
                number, digest, size = int(match[1]), match[2], match[3]
                held, modified = int(size or found.status.st_size), found.status.st_mtime
                part = Part(number, held, digest, digest, modified)
                start = (number - 1) * ((about and about.part_size) or 0)
                piece = Piece(part, _WHOLE, start) if size else Piece(part, found.name, 0)
                if number not in newest or newest[number][0] <= found.status.st_mtime_ns:
                    newest[number] = found.status.st_mtime_ns, piece
        return {number: newest[number][1] for number in sorted(newest)}

    def has_in_place(self, part: Part) -> bool:
        """Whether the latest of that number is the same, at its place and undamaged."""
        piece = self.pieces().get(part.number)
        if piece is None or piece.part != part or piece.name != _WHOLE:
            return False
        with self._tree.folder(self.place) as folder:
            return undamaged(folder, piece)

    def name_whole(self, key: Key, pieces: Sequence[Piece], expected: str | None) -> ObjectMeta | None:
        """Compare the pieces and let the file they are in become the object.

        None where they must be put together first: one isn't at its place, or isn't named, or somebody is
        still writing. Two at once take turns; raises FileNotFoundError for the second. Raises CORRUPT.
        """
        if not in_place(pieces, _WHOLE) or len(pieces) != len(self.pieces()):
            return None
        with self._alone() as folder:
            file = os.open(_WHOLE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            try:
                if not claim(file, 0):
                    return None
                digest = compare(key, folder, pieces, expected)
                os.ftruncate(file, sum(piece.part.size for piece in pieces))
                sealed = sync(file, digest)
                with self._tree.commit_lock(exclusive=False):
                    self._tree.move(_WHOLE, key, replace=True, among=self.place)
            finally:
                os.close(file)
        return sealed.meta(key)

    def finished(self) -> None:
        """Say that the object stands; the parts go."""
        self._keep(_FINISHED, "")
        self.clear(keep={_ABOUT, _FINISHED})

    def clear(self, keep: frozenset[str] | set[str] = frozenset()) -> None:
        """Remove its files, `about` first, but for those to keep; its folder goes with the last."""
        for found in sorted(self._tree.entries(self.place), key=lambda found: found.name != _ABOUT):
            if found.name not in keep:
                self._tree.remove(Key(f"{self.place}/{found.name}"))
        self._tree.remove(Key(self.place))

    def mark(self, part: Part) -> None:
        """Say, durably, that a part is at its place; it's the latest of that number."""
        with self._tree.folder(self.place) as folder:
            file = os.open(_mark(part), _NEW, 0o666, dir_fd=folder)
            try:
                stamped(file)
                os.fsync(file)
            finally:
                os.close(file)
            os.fsync(folder)

    def take_place(self, number: int, part_size: int) -> tuple[int, int] | None:
        """`whole`, the place of the part locked, and where that is; None where it isn't free."""
        start = (number - 1) * part_size
        with self._tree.folder(self.place) as folder:

            def free() -> bool:
                return not any(name.startswith(f"{number:05d}-") for name in os.listdir(folder))

            file = take_place(folder, _WHOLE, start, part_size, free)
        return None if file is None else (file, start)

    def _make_whole(self, size: int) -> None:
        with self._tree.folder(self.place, create=True) as folder:
            file = os.open(_WHOLE, _NEW | os.O_EXCL, 0o666, dir_fd=folder)
            try:
                reserve(file, size)
                os.fsync(file)
            finally:
                os.close(file)

    def _keep(self, name: str, text: str) -> None:
        data = text.encode()
        berth = Aside(self._tree)
        draft = Draft(Key(name), BytesSource(data), berth)
        try:
            draft.append([data])
            seal(draft)
            berth.move(f"{self.place}/{name}", replace=True)
        finally:
            draft.discard()

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """The upload's folder, while nobody else finishes the upload."""
        with self._tree.folder(self.place) as folder:
            about = os.open(_ABOUT, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
            try:
                fcntl.flock(about, fcntl.LOCK_EX)
                yield folder
            finally:
                os.close(about)


class PartBerth:
    """Where a part is written: at its place, or in a file of its own where that is taken or not known."""

    def __init__(self, tree: Tree, ref: UploadRef, number: int) -> None:
        self._files, self._ref, self._number = Files(tree, ref.id), ref, number
        self._aside = Aside(tree)
        self._placed = False
        self.room: int | None = None

    def open(self, size: int | None) -> tuple[int, int]:
        """See Berth."""
        about = self._files.about()
        self.room = about.part_size if about else None
        if self.room is not None:
            taken = self._files.take_place(self._number, self.room)
            if taken is not None:
                self._placed = True
                return taken
        return self._aside.open(size)

    def keep(self, draft: Draft, rest: Sequence[Buffer]) -> Part:
        """The part, synced: the latest of its number."""
        draft.append(rest)
        if self._placed:
            size, digest = draft.seal()
            with draft.at_work() as file:
                os.fdatasync(file)
                self._files.mark(part := Part(self._number, size, digest, digest))
        else:
            part = self._kept_aside(draft)
        return part

    def leave(self) -> None:
        """See Berth; bytes may stay at the place, but nothing says that they are a part."""
        self._aside.leave()

    def _kept_aside(self, draft: Draft) -> Part:
        sealed = seal(draft)
        part = Part(self._number, sealed.status.st_size, sealed.digest, sealed.digest)
        if not self._files.has_in_place(part):
            with draft.at_work():
                self._aside.move(f"{self._files.place}/{part.number:05d}-{part.digest}", replace=True)
        return part


def _mark(part: Part) -> str:
    return f"{part.number:05d}-{part.digest}-{part.size}"
