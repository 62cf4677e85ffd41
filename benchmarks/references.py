"""What the machine can do without any server, taken in the same round as the rows it stands beside."""

import os
import shutil
import socket
import sqlite3
import threading
import time
from pathlib import Path

CHUNK = 1 << 20


def copy_and_sync(source: Path, target: Path) -> float:
    """Seconds to copy a file and have it on disk: what a durable upload can't be faster than."""
    began = time.perf_counter()
    shutil.copyfile(source, target)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())
    seconds = time.perf_counter() - began
    target.unlink()
    return seconds


def loopback(size: int) -> float:
    """Seconds to send `size` bytes over one TCP connection on this machine, both ends in this process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = threading.Thread(target=_send, args=(listener.getsockname()[1], size))
        began = time.perf_counter()
        sender.start()
        connection, _ = listener.accept()
        with connection:
            _drain(connection, size)
        seconds = time.perf_counter() - began
        sender.join()
    return seconds


def sqlite_commits(home: Path, seconds: float) -> float:
    """Transactions per second of one row each, WAL and synchronous=FULL, in one thread."""
    path = home / "commits.db"
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE point (key TEXT, step INTEGER, value REAL, PRIMARY KEY (key, step))")
        done, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            database.execute("INSERT INTO point VALUES ('loss', ?, 0.5)", (done,))
            done += 1
    finally:
        database.close()
        for leftover in home.glob("commits.db*"):
            leftover.unlink()
    return done / elapsed


def _send(port: int, size: int) -> None:
    block = bytes(CHUNK)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(size // CHUNK):
            connection.sendall(block)


def _drain(connection: socket.socket, size: int) -> None:
    buffer = bytearray(CHUNK)
    left = size
    while left > 0:
        left -= connection.recv_into(buffer)
