"""Large files in parts, each written to its place in one draft beside the target.

The draft takes its room on the disk when the upload begins. A part whose place is taken (it's there already,
or another process is at it) goes to a file of its own, and the whole is then put together when it's finished.
Nothing is synced: it outlives a killed process, not a power cut; what that spoils, the digests show.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Protocol

from shoso.core import keys
from shoso.core.keys import Key
from shoso.core.streams import Source
from shoso.core.types import Buffer, ObjectMeta, Part, UploadRef
from shoso.errors import Kind, NotFound, StoreError, store_error
from shoso.stores.disk.calls import Calls
from shoso.stores.disk.drafts import Draft, stamped
from shoso.stores.disk.places import Piece, claim, compare, in_place
from shoso.stores.folder import names
from shoso.stores.folder.parts import Files, PartBerth, files_of, unknown
from shoso.stores.folder.record import Head, Record
from shoso.stores.folder.tree import Tree, create, name_draft, read
from shoso.stores.folder.walk import meta_of, records


class Parent(Protocol):
    """The store whose uploads they are."""

    @property
    def tree(self) -> Tree: ...
    @property
    def calls(self) -> Calls: ...


class FolderUploads:
    """The Uploads verbs of a folder."""

    def __init__(self, store: Parent) -> None:
        self._tree, self._calls = store.tree, store.calls

    async def begin(
        self,
        key: Key,
        size_hint: int | None = None,
        content_type: str | None = None,
        part_size: int | None = None,
    ) -> UploadRef:
        """See Uploads. Raises NO_SPACE where so many bytes don't fit."""
        return await self._calls.run("begin", key, self._begin, key, size_hint, part_size)

    async def put(self, ref: UploadRef, number: int, source: Source) -> Part:
        """See Uploads."""
        berth = PartBerth(self._tree, ref, number)
        draft = Draft(ref.key, source, berth)
        try:
            rest = await self._calls.take("put", ref.key, source, draft)
            return await self._calls.run("put", ref.key, _kept, draft, berth, rest)
        finally:
            await self._calls.abandon(draft)

    async def parts(self, ref: UploadRef) -> list[Part]:
        """See Uploads."""
        return await self._calls.run("parts", ref.key, self._parts, ref)

    async def finish(self, ref: UploadRef, parts: Sequence[Part], digest: str | None = None) -> ObjectMeta:
        """See Uploads. One that is finished already is known by what stands there: exactly these parts."""
        return await self._calls.run("finish", ref.key, self._finish, ref, parts, digest)

    async def abort(self, ref: UploadRef) -> None:
        """See Uploads."""
        await self._calls.run("abort", ref.key, self._abort, ref)

    async def pending(self, prefix: Key) -> AsyncIterator[UploadRef]:
        """See Uploads."""
        for ref in await self._calls.run("pending", prefix, self._pending, prefix):
            yield ref

    # -- in threads ---------------------------------------------------------------------------------------

    def _begin(self, key: Key, size: int | None, part_size: int | None) -> UploadRef:
        ref = UploadRef(key, names.new_id(key))
        room = size if part_size is not None else None
        folder, file = self._tree.draft(key, names.stem(key, ref.id) + names.DRAFT, room)
        try:
            Files(folder, ref).begin(Head(key, part_size))
        finally:
            os.close(file)
            os.close(folder)
        return ref

    def _parts(self, ref: UploadRef) -> list[Part]:
        with files_of(self._tree, ref) as files:
            lines = files.read().lines
            modified = os.stat(files.record, dir_fd=files.folder).st_mtime  # of the newest
        return [replace(lines[number].part, modified=modified) for number in sorted(lines)]

    def _finish(self, ref: UploadRef, parts: Sequence[Part], expected: str | None) -> ObjectMeta:
        with files_of(self._tree, ref) as files:
            try:
                with files.alone() as record:
                    pieces = [_piece(files, ref, record, part) for part in parts]
                    meta = _named(files, ref, pieces, expected, len(parts) == len(record.lines))
                    files.remove()
                    return meta
            except NotFound:
                meta = _standing(files, ref, parts, expected)
                files.remove()
                return meta

    def _abort(self, ref: UploadRef) -> None:
        with files_of(self._tree, ref) as files:
            files.read()
            files.remove()
        self._tree.prune(keys.parent(ref.key))

    def _pending(self, prefix: Key) -> list[UploadRef]:
        above = keys.parent(prefix)
        beside = records(self._tree.at(above), above, deep=False) if prefix else ()
        found = [self._under_way(*each) for each in (*beside, *records(self._tree.at(prefix), prefix))]
        return [ref for ref in found if ref is not None and keys.contains(prefix, ref.key)]

    def _under_way(self, folder: Key, name: str) -> UploadRef | None:
        """The upload of a record; None for one that isn't ours, or of a file that was moved here."""
        try:
            with self._tree.folder(folder) as there:
                key, begun = Key(read(there, name).head.key), os.stat(name, dir_fd=there).st_mtime
        except (OSError, ValueError):
            return None
        ref = UploadRef(key, names.id_of(name), begun)
        return ref if keys.parent(key) == folder and names.known(ref.id, key) else None


def _kept(draft: Draft, berth: PartBerth, rest: Sequence[Buffer]) -> Part:
    draft.append(rest)
    return berth.keep(draft)


def _piece(files: Files, ref: UploadRef, record: Record, part: Part) -> Piece:
    """Where the part is. Raises INVALID where there is no part like that."""
    line = record.lines.get(part.number)
    if line is None or line.digest != part.etag:
        message = f"'{ref.key}' has no part {part.number} like that."
        raise store_error(Kind.INVALID, message, key=ref.key)
    if line.file:
        return Piece(line.part, files.other(line.file), 0)
    return Piece(line.part, files.draft, (line.number - 1) * (record.head.part_size or 0))


def _named(
    files: Files, ref: UploadRef, pieces: Sequence[Piece], expected: str | None, everything: bool
) -> ObjectMeta:
    """Compare the parts, put them together where they aren't, and give them their name.

    Where they aren't all there is (`everything`), the draft must not be cut: this may fail.
    """
    size = sum(piece.part.size for piece in pieces)
    draft = files.open(files.draft)
    try:
        if not (everything and in_place(pieces, files.draft) and claim(draft, 0)):
            return _joined(files, ref, pieces, size, expected)
        digest = compare(ref.key, files.folder, pieces, expected)
        os.ftruncate(draft, size)
        return _given(files.folder, draft, files.draft, ref.key, digest)
    finally:
        os.close(draft)


def _joined(
    files: Files, ref: UploadRef, pieces: Sequence[Piece], size: int, expected: str | None
) -> ObjectMeta:
    name = files.other(secrets.token_hex(4))
    file = create(files.folder, name, size)
    try:
        digest = compare(ref.key, files.folder, pieces, expected, into=file)
        return _given(files.folder, file, name, ref.key, digest)
    except BaseException:
        os.unlink(name, dir_fd=files.folder)
        raise
    finally:
        os.close(file)


def _given(folder: int, file: int, draft: str, key: Key, digest: str) -> ObjectMeta:
    stamped(file)
    name_draft(folder, draft, keys.name(key), replace=True)
    return meta_of(key, os.fstat(file), digest)


def _standing(files: Files, ref: UploadRef, parts: Sequence[Part], expected: str | None) -> ObjectMeta:
    """The object, if it's what the parts make. Raises NOT_FOUND."""
    name, starts = keys.name(ref.key), accumulate((part.size for part in parts), initial=0)
    pieces = [Piece(part, name, start) for part, start in zip(parts, starts, strict=False)]
    try:
        status = os.stat(name, dir_fd=files.folder, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_size == sum(part.size for part in parts):
            digest = compare(ref.key, files.folder, pieces, expected)
            return meta_of(ref.key, status, digest)
    except (FileNotFoundError, StoreError):
        pass
    raise unknown(ref)
