"""An outbox on disk: the calls of one process to one server, kept until the server has them.

    <outbox>/<id>/calls       a line a call, only ever longer
    <outbox>/<id>/shipped     how far the server has them
    <outbox>/<id>/files/      copies of what is to be uploaded
    <outbox>/<id>/refused     the calls that the server refused for good, with its words

A call is on file when `append` returns: it survives the process, whatever way that ends. It isn't synced, so
that a machine that loses its power may lose the last seconds.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from shoso.client.outbox.records import Header, Record, Shipped
from shoso.errors import ConfigError, Kind, StoreError, store_error

CALLS, SHIPPED, FILES, REFUSED = "calls", "shipped", "files", "refused"

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_ENCODER = msgspec.json.Encoder()


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
        """The server has everything up to there."""
        self.shipped = Shipped(offset, {**self.shipped.runs, **runs})
        fresh = self.folder / f"{SHIPPED}.new"
        fresh.write_bytes(_ENCODER.encode(self.shipped))
        fresh.replace(self.folder / SHIPPED)

    def refuse(self, record: Record, message: str) -> None:
        """Put a call aside that the server won't take."""
        with (self.folder / REFUSED).open("ab") as file:
            file.write(_ENCODER.encode({"error": message, "call": record}) + b"\n")

    def copied(self, source: Path) -> str:
        """Copy a file or a folder, as it is now; the name of the copy. Raises OSError."""
        name = secrets.token_hex(8)
        target = self.folder / FILES / name / source.name
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return name

    def kept(self, name: str, data: bytes) -> str:
        """The same of bytes, as a file of that name."""
        copy = secrets.token_hex(8)
        target = self.folder / FILES / copy / name
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
        return copy

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
        if not self.waiting and not (self.folder / REFUSED).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._file)

    def _decoded(self, line: bytes, start: int) -> Record:
        try:
            return _DECODER.decode(line)
        except msgspec.MsgspecError:
            raise self._damaged(start) from None

    def _damaged(self, start: int) -> StoreError:
        message = f"{self.folder / CALLS} is damaged at byte {start}: mend that line, or take it out."
        return store_error(Kind.CORRUPT, message, op="read")

    def _read_shipped(self) -> Shipped:
        with suppress(FileNotFoundError):
            return msgspec.json.decode((self.folder / SHIPPED).read_bytes(), type=Shipped)
        return Shipped()


def folders(outbox: Path) -> list[Path]:
    """The journals in an outbox, the oldest first."""
    found = [path.parent for path in outbox.glob(f"*/{CALLS}")]
    return sorted(found, key=lambda folder: (folder.stat().st_mtime, folder.name))
