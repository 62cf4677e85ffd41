"""An outbox on disk: the calls of one process to one server, kept until the server has them.

    <outbox>/<id>/calls       a line a call, only ever longer
    <outbox>/<id>/shipped     how far they are settled: with the server, or in one of the next two files
    <outbox>/<id>/aside       the calls that the server failed on again and again; they are tried once more
    <outbox>/<id>/refused     the calls that the server refused for good, with its words
    <outbox>/<id>/files/      copies of what is to be uploaded

A call is on file when `append` returns: it survives the process, whatever way that ends. It isn't synced, so
that a machine that loses its power may lose the last seconds.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import msgspec

from shoso.client.outbox.records import Aside, Header, Record, Shipped
from shoso.errors import ConfigError, Kind, StoreError, store_error

CALLS, SHIPPED, ASIDE, REFUSED, FILES = "calls", "shipped", "aside", "refused", "files"

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_ASIDE = msgspec.json.Decoder(Aside)
_ENCODER = msgspec.json.Encoder()

_log = logging.getLogger("shoso.client")


class Journal:
    """The folder of one process, locked while it's open. Raises BlockingIOError where another one has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = os.open(folder / CALLS, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(self._file)
            raise
        self.size = os.fstat(self._file).st_size
        self.shipped = self._read_shipped()

    @classmethod
    def begin(cls, outbox: Path, address: str) -> Self:
        """A new one. Raises ConfigError where the folder can't be written to."""
        folder = outbox / secrets.token_hex(8)
        try:
            folder.mkdir(parents=True, mode=0o700)
            journal = cls(folder)
            journal.append(Header(address))
        except OSError as error:
            message = f"'{outbox}' can't be written to: {error.strerror}. Name another folder, or unset it."
            raise ConfigError("SHOSO_OUTBOX", message) from None
        return journal

    @property
    def waiting(self) -> bool:
        """Whether there is a call that the server hasn't."""
        return self.shipped.offset < self.size

    def address(self) -> str:
        """The server that the calls are for. Raises StoreError(CORRUPT)."""
        with (self.folder / CALLS).open("rb") as file:
            header = self._decoded(file.readline(), 0)
        if not isinstance(header, Header):
            raise self._damaged(0)
        return header.address

    def append(self, record: Record) -> None:
        """Keep a call. Raises OSError; then nothing of it is kept."""
        line = _ENCODER.encode(record) + b"\n"
        if os.write(self._file, line) < len(line):  # a disk that is full takes the beginning
            os.ftruncate(self._file, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += len(line)

    def calls(self) -> Iterator[tuple[Record, int]]:
        """The calls that wait, each with the byte behind it; a line that a dying process tore is none.

        Raises StoreError(CORRUPT).
        """
        with (self.folder / CALLS).open("rb") as file:
            file.seek(self.shipped.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end = file.tell()
                yield self._decoded(line, end - len(line)), end

    def ship(self, offset: int, **runs: str) -> None:
        """Everything up to there is settled."""
        aside = [run_id for run_id in self.shipped.aside if run_id not in runs]
        self._settle(Shipped(offset, {**self.shipped.runs, **runs}, aside))

    def hold(self, run_id: str) -> None:
        """What is logged to that run goes aside, until it is made."""
        self._settle(msgspec.structs.replace(self.shipped, aside=[*self.shipped.aside, run_id]))

    def _settle(self, shipped: Shipped) -> None:
        self._replace(SHIPPED, _ENCODER.encode(shipped))
        self.shipped = shipped

    def refuse(self, record: Record, message: str) -> None:
        """Keep a call that the server won't take."""
        self._add(REFUSED, Aside(message, record))

    def set_aside(self, record: Record, message: str) -> None:
        """Take a call out of the line, to be tried once more."""
        self._add(ASIDE, Aside(message, record))

    def aside(self) -> list[Aside]:
        """The calls that were set aside, in their order."""
        try:
            lines = (self.folder / ASIDE).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            with suppress(msgspec.MsgspecError):  # torn by a full disk: that call is still in line
                found.append(_ASIDE.decode(line))
        return found

    def keep_aside(self, calls: Iterable[Aside]) -> None:
        """These are still aside, and no others."""
        if lines := b"".join(_ENCODER.encode(each) + b"\n" for each in calls):
            self._replace(ASIDE, lines)
        else:
            (self.folder / ASIDE).unlink(missing_ok=True)

    def _add(self, name: str, line: Aside) -> None:
        with (self.folder / name).open("ab+") as file:
            file.seek(max(0, file.tell() - 1))
            torn = file.read() not in {b"", b"\n"}  # by a full disk
            file.write((b"\n" if torn else b"") + _ENCODER.encode(line) + b"\n")

    def _replace(self, name: str, data: bytes) -> None:
        fresh = self.folder / f"{name}.new"
        fresh.write_bytes(data)
        fresh.replace(self.folder / name)

    def copied(self, source: Path) -> str:
        """Copy a file or a folder, as it is now; the name of the copy. Raises OSError.

        Of a folder's files one that can't be read is left out, with a warning.
        """
        with self._new(source.name) as target:
            if source.is_dir():
                _copy_folder(source, target)
            else:
                shutil.copyfile(source, target)
        return target.parent.name

    def kept(self, name: str, data: bytes) -> str:
        """The same of bytes, as a file of that name."""
        with self._new(name) as target:
            target.write_bytes(data)
        return target.parent.name

    @contextmanager
    def _new(self, name: str) -> Iterator[Path]:
        """Where a copy goes; nothing is left of one that fails."""
        target = self.folder / FILES / secrets.token_hex(8) / name
        target.parent.mkdir(parents=True)
        try:
            yield target
        except BaseException:
            self.drop(target.parent.name)
            raise

    def copy(self, name: str) -> Path:
        """Where a copy is. Raises StoreError(NOT_FOUND)."""
        for found in (self.folder / FILES / name).glob("*"):
            return found
        message = f"The outbox's copy of what was to be uploaded is gone: {self.folder / FILES / name}."
        raise store_error(Kind.NOT_FOUND, message, op="upload")

    def drop(self, name: str) -> None:
        """Remove a copy."""
        shutil.rmtree(self.folder / FILES / name, ignore_errors=True)

    def close(self) -> None:
        """Let go of it; one with nothing left in it is removed."""
        if not self.waiting and not any((self.folder / name).exists() for name in (ASIDE, REFUSED)):
            shutil.rmtree(self.folder, ignore_errors=True)
        file, self._file = self._file, -1  # who logs once more must not write to whatever has the number next
        os.close(file)

    def _decoded(self, line: bytes, start: int) -> Record:
        try:
            return _DECODER.decode(line)
        except msgspec.MsgspecError:
            raise self._damaged(start) from None

    def _damaged(self, start: int) -> StoreError:
        message = f"{self.folder / CALLS} is damaged at byte {start}: mend that line, or take it out."
        return store_error(Kind.CORRUPT, message, op="read")

    def _read_shipped(self) -> Shipped:
        """How far it is; from the start where that can't be read: what is shipped twice changes nothing."""
        with suppress(FileNotFoundError, msgspec.MsgspecError):
            return msgspec.json.decode((self.folder / SHIPPED).read_bytes(), type=Shipped)
        return Shipped()


def _copy_folder(source: Path, target: Path) -> None:
    """Copy as `log_artifacts` sends it: what links lead to, but for links to folders. Raises OSError."""
    for folder, _, names in os.walk(source, onerror=_leave_out):
        there = target / Path(folder).relative_to(source)
        there.mkdir()
        for path in (Path(folder, name) for name in names):
            if path.is_file() and os.access(path, os.R_OK):
                shutil.copyfile(path, there / path.name)
            else:
                _leave_out(OSError(0, "it is no file, or can't be read", str(path)))


def _leave_out(error: OSError) -> None:
    _log.warning("'%s' isn't logged: %s.", error.filename, error.strerror)


def folders(outbox: Path) -> list[Path]:
    """The journals in an outbox, the oldest first."""
    found = [path.parent for path in outbox.glob(f"*/{CALLS}")]
    return sorted(found, key=lambda folder: (folder.stat().st_mtime, folder.name))
