"""The files of an upload, in the folder of its target; every function blocks."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from shoso.core import keys
from shoso.core.types import Part, UploadRef
from shoso.errors import Kind, StoreError, store_error
from shoso.stores.disk.drafts import Draft
from shoso.stores.disk.places import Piece, take_place, undamaged
from shoso.stores.folder import names
from shoso.stores.folder.record import Head, Line, Record, encoded
from shoso.stores.folder.tree import Tree, create, name_draft, read


class Files:
    """The draft, the record and the parts that are in files of their own."""

    def __init__(self, folder: int, ref: UploadRef) -> None:
        self.folder, self._ref = folder, ref
        self._stem = names.stem(ref.key, ref.id)
        self.draft, self.record = self._stem + names.DRAFT, self._stem + names.RECORD

    def other(self, token: str) -> str:
        """The name of a part's own file."""
        return f"{self._stem}.{token}{names.DRAFT}"

    def open(self, name: str, flags: int = os.O_RDWR) -> int:
        """One of the files."""
        return os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self.folder)

    def begin(self, head: Head) -> None:
        """Make the record, whole or not at all."""
        draft = names.temporary(self.record)
        file = create(self.folder, draft)
        try:
            os.write(file, encoded(head))
            name_draft(self.folder, draft, self.record, replace=True)
        finally:
            os.close(file)

    def add(self, line: Line) -> None:
        """Say that a part is there. Raises FileNotFoundError where the upload is gone."""
        file = self.open(self.record, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, encoded(line))
        finally:
            os.close(file)

    def read(self) -> Record:
        """What the record says. Raises NOT_FOUND."""
        try:
            return read(self.folder, self.record)
        except (FileNotFoundError, ValueError):
            raise unknown(self._ref) from None

    @contextmanager
    def alone(self) -> Iterator[Record]:
        """The record, while no other process finishes the upload. Raises NOT_FOUND."""
        try:
            file = self.open(self.record)
        except FileNotFoundError:
            raise unknown(self._ref) from None
        try:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(file, fcntl.LOCK_EX)
            yield self.read()
        finally:
            os.close(file)

    def remove(self) -> None:
        """Remove them all, the record last, so that what is left can be removed again."""
        found = [name for name in os.listdir(self.folder) if name.startswith(self._stem)]
        for name in sorted(found, key=lambda name: name == self.record):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.folder)


@contextmanager
def files_of(tree: Tree, ref: UploadRef) -> Iterator[Files]:
    """The files of an upload that may be there. Raises NOT_FOUND."""
    if not names.known(ref.id, ref.key):
        raise unknown(ref)
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(tree.folder(keys.parent(ref.key)))
        except (FileNotFoundError, NotADirectoryError):
            raise unknown(ref) from None
        yield Files(folder, ref)


class PartBerth:
    """Where a part is written: its place in the draft, or a file of its own where that is taken."""

    def __init__(self, tree: Tree, ref: UploadRef, number: int) -> None:
        self._tree, self._ref, self._number = tree, ref, number
        self._token = ""
        self.room: int | None = None

    def open(self, size: int | None) -> tuple[int, int]:
        """See Berth."""
        with files_of(self._tree, self._ref) as files:
            head = files.read().head
            self.room = head.part_size
            if head.part_size is not None:
                start = (self._number - 1) * head.part_size
                file = take_place(
                    files.folder,
                    files.draft,
                    start,
                    head.part_size,
                    free=lambda: self._number not in files.read().lines,
                )
                if file is not None:
                    return file, start
            self._token = secrets.token_hex(4)
            return create(files.folder, files.other(self._token), size), 0

    def keep(self, draft: Draft) -> Part:
        """Say that the part is there; it's the one that counts."""
        size, digest = draft.seal()
        line = Line(self._number, size, digest, self._token)
        with files_of(self._tree, self._ref) as files, draft.at_work():
            if not (self._token and self._there(files, line)):
                files.add(line)
                self._token = ""
        return line.part

    def _there(self, files: Files, line: Line) -> bool:
        """Whether the part that counts is the same, at its place and undamaged."""
        record = files.read()
        there = record.lines.get(line.number)
        if there is None or there.file or there.part != line.part or record.head.part_size is None:
            return False
        start = (line.number - 1) * record.head.part_size
        return undamaged(files.folder, Piece(line.part, files.draft, start))

    def leave(self) -> None:
        """See Berth; the bytes at a place may stay, nothing says that they are a part."""
        if self._token:
            with suppress(OSError, StoreError), files_of(self._tree, self._ref) as files:
                os.unlink(files.other(self._token), dir_fd=files.folder)


def unknown(ref: UploadRef) -> StoreError:
    """The error of an upload that isn't there, or not any more."""
    return store_error(Kind.NOT_FOUND, f"'{ref.key}' has no such upload under way.", key=ref.key)
