"""What the server prints: lines on stderr, by a thread of their own, so that no request waits for a reader.

A terminal that is held, or a full pipe, must not stop the server: lines that nobody takes are dropped, and
their number is told once somebody reads again.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from queue import Empty, Full, Queue
from typing import Any

STDERR = 2

HELD = 256
"""Pieces of output that wait for a reader at most; a piece is what 50 ms of requests had to say."""

FAREWELL = 1.0
"""Seconds that a stopping server waits for a reader."""


class Lines:
    """Writes text to a descriptor, in the order it was given, and never blocks."""

    def __init__(self, descriptor: int = STDERR) -> None:
        self._descriptor = descriptor
        self._queue: Queue[str | None] = Queue(HELD)
        self._dropped = 0
        self._closed = False
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="shoso-lines", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        """Hand over whole lines."""
        try:
            self._queue.put_nowait(text)
        except Full:
            with self._counting:
                self._dropped += text.count("\n")

    def close(self) -> None:
        """Write what waits, if somebody reads it, and nothing afterwards; may be called again."""
        try:
            self._queue.put(None, timeout=FAREWELL)
            self._thread.join(FAREWELL)
        except Full:
            pass
        self._closed = True  # the descriptor's number may become another file's

    def _run(self) -> None:
        last = False
        while not last and not self._closed:
            texts, last = self._take()
            with self._counting:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                texts.append(f"(dropped {dropped} lines that nobody read)\n")
            self._print("".join(texts).encode(errors="backslashreplace"))

    def _take(self) -> tuple[list[str], bool]:
        """All that waits, after waiting for the first, and whether that was the last."""
        taken = [self._queue.get()]
        try:
            while True:
                taken.append(self._queue.get_nowait())
        except Empty:
            return [text for text in taken if text is not None], None in taken

    def _print(self, text: bytes) -> None:
        # Not through sys.stderr: a thread that holds its lock at exit is a fatal error of Python's.
        while text and not self._closed:
            try:
                text = text[os.write(self._descriptor, text) :]
            except OSError:
                return  # the reader has gone: there is nobody to tell


class LinesHandler(logging.Handler):
    """Sends log records to lines; a message can't break out of its line."""

    def __init__(self, lines: Lines, form: str) -> None:
        super().__init__()
        self._lines = lines
        self.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter(_TEXT))

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        self._lines.write(self.format(record) + "\n")


_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _TextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's name)
        record.message = escaped(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's name)
        return "\n".join("    " + escaped(line) for line in super().formatException(ei).splitlines())


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def escaped(text: str) -> str:
    """The text on one line: what a terminal wouldn't print as it is becomes an escape of Python's."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
