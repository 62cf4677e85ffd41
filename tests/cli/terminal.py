"""A terminal: what a command shows on it, and what is typed."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading


class Terminal:
    """A pseudo-terminal of so many columns; give `end` to a process, then `read` until that has ended."""

    def __init__(self, columns: int = 100) -> None:
        self._ours, self.end = pty.openpty()
        fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._shown = bytearray()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def type(self, text: str) -> None:
        """Type it."""
        os.write(self._ours, text.encode())

    @property
    def shown(self) -> str:
        """Everything so far, with what steers the terminal."""
        return self._shown.decode(errors="replace")

    def close(self, process: subprocess.Popen[str]) -> str:
        """Wait until the process has ended; what was shown in all."""
        process.wait(60)
        os.close(self.end)
        self._reading.join(10)
        os.close(self._ours)
        return self.shown

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 65536):
                self._shown += data
        except OSError:  # nobody has the other end any more
            return
