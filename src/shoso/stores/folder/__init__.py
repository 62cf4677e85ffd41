"""folder: a folder of the user's own machine, where uploads come from and downloads go.

Plain files and nothing else. What is written lies beside its target under a hidden name and is renamed when
it's whole and its digest is right; nothing is synced, for a download can be made again. What a killed process
left is cleared away by the next that writes to that folder, or goes on with it (see `uploads`).

Reading follows links to files, as `mlflow.log_artifacts` does. Writing and deleting never leave the folder:
they go through no link below it, and a link of the target's name is replaced, not followed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from shoso.core.keys import Key
from shoso.core.store import Batches, Store, StoreInfo, Uploads
from shoso.core.streams import Source
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    Capabilities,
    Digests,
    Entry,
    Move,
    ObjectMeta,
    Reading,
    WriteMode,
    span,
)
from shoso.errors import ConfigError, Kind, StoreError, store_error
from shoso.stores.disk.calls import Calls
from shoso.stores.disk.drafts import Draft, stamped
from shoso.stores.disk.reading import OpenFile
from shoso.stores.files.errors import KINDS, WRITING, known, several
from shoso.stores.folder import names, walk
from shoso.stores.folder.drafts import Beside
from shoso.stores.folder.reading import SourceFile
from shoso.stores.folder.small import FolderBatches
from shoso.stores.folder.tree import Tree
from shoso.stores.folder.uploads import FolderUploads

THREADS = 16


def open_folder(path: Path) -> Store:
    """The folder at `path`, made with the first write. Raises ConfigError where something else is there."""
    return FolderStore(path)


class FolderStore:
    """Objects as the files that they are."""

    capabilities = Capabilities(if_match=False, digests=Digests.NONE, connections=512)
    listings = None
    signer = None

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise ConfigError(str(path), "is no folder; name the folder that it is in.")
        self.tree = Tree(path)
        self.info = StoreInfo("folder", self.tree.path, silence=None)
        self.calls = Calls(self.info, THREADS, self)
        self._uploads, self._batches = FolderUploads(self), FolderBatches(self)

    @property
    def uploads(self) -> Uploads:
        """Files in parts."""
        return self._uploads

    @property
    def batches(self) -> Batches | None:
        """Many small files at once."""
        return self._batches

    # -- the verbs ----------------------------------------------------------------------------------------

    async def stat(self, key: Key) -> ObjectMeta:
        """See Store."""
        return await self.calls.run("stat", key, self._stat, key)

    async def read(self, key: Key, wanted: ByteRange = ALL, if_match: str | None = None) -> Reading:
        """See Store."""
        return await self.calls.opened("read", key, lambda: self._open(key, wanted, if_match))

    async def write(
        self, key: Key, source: Source, mode: WriteMode = OVERWRITE, content_type: str | None = None
    ) -> ObjectMeta:
        """See Store. Not synced; the type isn't kept: a file has its name."""
        berth = Beside(self.tree, key)
        draft = Draft(key, source, berth)
        try:
            rest = await self.calls.take("write", key, source, draft)
            return await self.calls.run("write", key, _commit, draft, berth, rest, mode)
        except BaseException:
            await self.calls.abandon(draft)
            raise

    async def list(self, prefix: Key, deep: bool = False, after: str | None = None) -> AsyncIterator[Entry]:
        """See Store; a few thousand entries are held in memory at a time."""
        if not deep:
            path = self.tree.at(prefix)
            for entry in await self.calls.run("list", prefix, walk.level, path, prefix, after):
                yield entry
            return
        walking = walk.batches(self.tree.at(prefix), prefix, after)
        while batch := await self.calls.run("list", prefix, next, walking, None):
            for entry in batch:
                yield entry

    async def delete(self, keys: Sequence[Key]) -> None:
        """See Store."""
        if not keys:
            return
        outcomes = await self.calls.run("delete", keys[0], self._remove, keys)
        if failures := [outcome for outcome in outcomes if outcome is not None]:
            raise several(failures, self.info.name)

    async def move(self, moves: Sequence[Move]) -> None:
        """See Store; nobody needs it here."""
        if moves:
            raise self.error(
                Kind.UNSUPPORTED, "move", moves[0][0], "can't be moved; rename the file yourself"
            )

    async def close(self) -> None:
        """See Store."""
        await self.calls.close()

    # -- in threads ---------------------------------------------------------------------------------------

    def _stat(self, key: Key) -> ObjectMeta:
        file = self.tree.open_file(key)
        try:
            return walk.meta_of(key, os.fstat(file))
        finally:
            os.close(file)

    def _open(self, key: Key, wanted: ByteRange, if_match: str | None) -> OpenFile:
        file = self.tree.open_file(key)
        try:
            meta = walk.meta_of(key, os.fstat(file))
            self._match(meta, if_match)
            return SourceFile(file, meta, *span(wanted, meta.size))
        except BaseException:
            os.close(file)
            raise

    def _match(self, meta: ObjectMeta, if_match: str | None) -> None:
        if if_match is not None and if_match != meta.etag:
            raise self.error(Kind.CHANGED, "read", meta.key, "has changed since")

    def _remove(self, keys: Sequence[Key]) -> Sequence[StoreError | None]:
        return [self.calls.attempt("delete", key, self.tree.remove, key) for key in keys]

    # -- errors -------------------------------------------------------------------------------------------

    def error(self, kind: Kind, op: str, key: Key, what: str) -> StoreError:
        """The error in this store's name."""
        return store_error(kind, f"'{key}' {what}.", op=op, key=key, store=self.info.name)

    def refuse(self, op: str, key: Key) -> None:
        """See Rules."""
        if names.reserved(key):
            raise self.error(Kind.INVALID_KEY, op, key, "is a name that Shoso keeps for what is under way")

    def translate(self, error: OSError, op: str, key: Key) -> StoreError:
        """See Rules."""
        kinds = _WRITING if op in WRITING or op == "delete" else _READING
        kind, what = known(error, op, kinds)
        if kinds is _READING and error.errno == errno.ENOENT:
            with suppress(OSError):
                what = f"is a link to '{os.readlink(self.tree.at(key))}', which isn't there"
        if op == "list" and isinstance(error.filename, str):
            key = Key(os.path.relpath(error.filename, self.tree.path))
        return self.error(kind, op, key, what)


def _commit(draft: Draft, berth: Beside, rest: Sequence[Buffer], mode: WriteMode) -> ObjectMeta:
    draft.append(rest)
    _, digest = draft.seal()
    with draft.at_work() as file:
        stamped(file)
        berth.move(replace=mode is not CREATE)
        status = os.fstat(file)
    draft.close()
    return walk.meta_of(berth.key, status, digest)


_NO_RIGHT = "may not be touched by you; change the permissions or the owner of it or of its folder"

_KINDS: Mapping[int, tuple[Kind, str]] = {
    **KINDS,
    errno.ENXIO: (Kind.NOT_FOUND, "is no file, but a pipe, a socket or a device"),
    errno.EACCES: (Kind.FORBIDDEN, _NO_RIGHT),
    errno.EPERM: (Kind.FORBIDDEN, _NO_RIGHT),
    errno.ESTALE: (Kind.CHANGED, "was changed while it was read"),
    errno.EMFILE: (Kind.UNAVAILABLE, "can't be opened: raise the limit of open files (ulimit -n)"),
    errno.ENFILE: (Kind.UNAVAILABLE, "can't be opened: this machine has too many files open"),
    errno.EOPNOTSUPP: (Kind.UNSUPPORTED, "can't be written: the file system doesn't do that"),
}
_READING = {**_KINDS, errno.ELOOP: (Kind.NOT_FOUND, "is a link that leads in a circle")}
_WRITING = {
    **_KINDS,
    errno.ELOOP: (
        Kind.FORBIDDEN,
        "isn't written: a link to a folder is on the way; remove it, or download to where it leads",
    ),
}
