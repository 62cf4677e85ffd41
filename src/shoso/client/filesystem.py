"""fsspec's view of artifacts, so that pandas, pyarrow, torch and others read them by URL.

    shoso://runs/<run_id>/<path>        the artifacts of a run
    shoso://models/<model_id>/<path>    the artifacts of a logged model

The server is the one that this process logs to, or the storage option `tracking_uri`. Files are opened to
read only; to write there are `put` and `pipe`. Installed by `pip install 'shoso[fsspec]'`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.utils import isfilelike

from shoso.client import blocking, finding, link
from shoso.client.link import Link
from shoso.client.places import Place, Places
from shoso.client.reader import ArtifactFile, open_artifact
from shoso.client.transfers import download
from shoso.core import keys
from shoso.core.keys import ROOT, Key
from shoso.core.store import delete_tree, is_folder, read_bytes
from shoso.core.types import ALL, ByteRange, Entry, From, FromTo, ObjectMeta, Prefix
from shoso.errors import Kind, NotFound, StoreError, store_error

T = TypeVar("T")

OWNERS = ("runs", "models")


class ShosoFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec brings no types
    """The artifacts of runs and logged models; nothing is cached. Raises FileNotFoundError, StoreError."""

    protocol = "shoso"
    root_marker = ""

    def __init__(self, tracking_uri: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._tracking_uri = tracking_uri

    @property
    def _link(self) -> Link:
        return link.to(self._tracking_uri)

    @property
    def _places(self) -> Places:
        return self._link.places

    # -- what is there ------------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in a folder, sorted; a file is in itself."""
        wanted = _Path.parse(path)
        found = sorted(self._run(self._list(wanted)), key=lambda info: str(info["name"]))
        return found if detail else [info["name"] for info in found]

    async def _list(self, path: _Path) -> list[dict[str, Any]]:
        root, entries = await finding.entries(self._places, path.uri)
        found = [_described(path, root, entry) for entry in entries]
        return found or [await self._info(path)] if path.key else found

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and type of a file or folder; of a file its etag too, and when it was written."""
        return self._run(self._info(_Path.parse(path)))

    async def _info(self, path: _Path) -> dict[str, Any]:
        if not path.key:
            return _described(path, ROOT, Prefix(ROOT))
        return await finding.use(self._places, path.uri, lambda place: _at(path, place))

    def find(
        self,
        path: str,
        maxdepth: int | None = None,
        withdirs: bool = False,
        detail: bool = False,
        **more: Any,
    ) -> Any:
        """Every file below, from one listing."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth, withdirs, detail=detail, **more)
        found = {info["name"]: info for info in self._run(self._deep(_Path.parse(path)))}
        return dict(sorted(found.items())) if detail else sorted(found)

    async def _deep(self, path: _Path) -> list[dict[str, Any]]:
        root, entries = await finding.entries(self._places, path.uri, deep=True)
        if entries or not path.key:
            return [_described(path, root, entry) for entry in entries]
        try:
            return [await self._info(path)]
        except NotFound:
            return []

    def checksum(self, path: str) -> str:
        """What changes when the file does."""
        info = self.info(path)
        return str(info.get("ETag") or (info["size"], info.get("mtime")))

    # -- reading ------------------------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **_: Any) -> ArtifactFile:
        """The file to read; see `shoso.artifacts.open`."""
        if mode != "rb":
            raise ValueError(f"shoso: files are opened with mode 'rb', not {mode!r}; write with put or pipe.")
        wanted = _Path.parse(path)
        return open_artifact(lambda: finding.find(self._places, wanted.uri))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes from start to end, as a slice has them, in one request."""
        wanted = _Path.parse(path)
        return self._run(finding.use(self._places, wanted.uri, lambda place: _cut(place, start, end)))

    def get_file(self, rpath: str, lpath: Any, **more: Any) -> None:
        """Fetch a file, verified, into place when it's whole."""
        if isfilelike(lpath) or more.get("outfile") is not None:
            super().get_file(rpath, lpath, **more)
            return
        if self.isdir(rpath):
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        Path(lpath).parent.mkdir(parents=True, exist_ok=True)
        self._run(self._fetch(_Path.parse(rpath), Path(lpath)))

    async def _fetch(self, path: _Path, target: Path) -> None:
        await download(self._link.settings, await self._places.find(path.uri), target)

    # -- writing ------------------------------------------------------------------------------------------

    def put_file(self, lpath: Any, rpath: str, **_: Any) -> None:
        """Send a file; a folder alone is nothing."""
        if Path(lpath).is_dir():
            return
        wanted = _Path.parse(rpath)
        self._link.sink.upload(wanted.owner, wanted.key, str(Path(lpath).absolute()))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write a file from memory."""
        if mode == "create" and self.exists(path):
            raise store_error(Kind.EXISTS, f"'{path}' is there already.", op="write", key=path)
        wanted = _Path.parse(path)
        self._link.sink.write(wanted.owner, wanted.key, value)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, and folders if `recursive`; what isn't there is an error."""
        if not recursive or maxdepth is not None or not isinstance(path, str) or "*" in path:
            super().rm(path, recursive, maxdepth)
            return
        self.info(path)
        self._run(self._delete(_Path.parse(path)))

    async def _delete(self, path: _Path) -> None:
        place = await self._places.open(path.uri)
        await delete_tree(place.store, place.key)

    def rm_file(self, path: str) -> None:
        """Delete one file."""
        self._run(self._delete_one(_Path.parse(path)))

    async def _delete_one(self, path: _Path) -> None:
        place = await self._places.open(path.uri)
        await place.store.delete([place.key])

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Nothing: folders come with what is in them."""

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Nothing: folders come with what is in them."""

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return blocking.run(coroutine)


class _Path:
    """What a URL names: whose artifacts, and which of them."""

    def __init__(self, owner: str, key: Key) -> None:
        self.owner = owner
        self.key = key

    @classmethod
    def parse(cls, path: str) -> _Path:
        """From `runs/<id>/path`, or the whole URL. Raises StoreError(INVALID_KEY)."""
        kind, _, rest = str(path).removeprefix("shoso://").strip("/").partition("/")
        owner, _, key = rest.partition("/")
        if kind not in OWNERS or not owner:
            message = f"'{path}' names no artifacts: write shoso://runs/<run_id>/<path> or shoso://models/…."
            raise store_error(Kind.INVALID_KEY, message, key=str(path))
        return cls(f"{kind}:/{owner}", keys.parse(key))

    @property
    def uri(self) -> str:
        """As everybody else writes it."""
        return f"{self.owner}/{self.key}" if self.key else self.owner

    @property
    def name(self) -> str:
        """As fsspec has it, without its scheme."""
        return self.uri.replace(":/", "/", 1)


def _described(path: _Path, root: Key, entry: Entry) -> dict[str, Any]:
    """An entry as fsspec has it; `root` is the key of `path`."""
    below = keys.below(entry.key, root) if entry.key != root else ""
    name = f"{path.name}/{below}" if below else path.name
    if not isinstance(entry, ObjectMeta):
        return {"name": name, "size": 0, "type": "directory"}
    return {"name": name, "size": entry.size, "type": "file", "ETag": entry.etag, "mtime": entry.modified}


async def _at(path: _Path, place: Place) -> dict[str, Any]:
    """The file or the folder there. Raises NOT_FOUND."""
    try:
        return _described(path, place.key, await place.store.stat(place.key))
    except NotFound:
        if not await is_folder(place.store, place.key):
            raise
        return _described(path, place.key, Prefix(place.key))


async def _cut(place: Place, start: int | None, end: int | None) -> bytes:
    """The bytes from start to end, as a slice has them."""
    if (start or 0) < 0 or (end or 0) < 0:
        start, end, _ = slice(start, end).indices((await place.store.stat(place.key)).size)
    wanted = _range(start or 0, end)
    if wanted is None:
        await place.store.stat(place.key)
        return b""
    try:
        return await read_bytes(place.store, place.key, wanted)
    except StoreError as error:
        if error.kind is Kind.RANGE:
            return b""
        raise


def _range(start: int, end: int | None) -> ByteRange | None:
    """None where that is no byte."""
    if end is None:
        return From(start) if start else ALL
    return FromTo(start, end) if end > start else None
