"""What the clients of test_nfs.py do: `python -m tests.stores.nfs_client VERB FOLDER ...`, JSON on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

from shoso.core.keys import ROOT, Key
from shoso.core.store import read_bytes
from shoso.core.streams import CHUNK, BytesSource
from shoso.core.types import CREATE, IfMatch, ObjectMeta, SmallObject
from shoso.errors import ConfigError, Exists, Kind, NotFound, StoreError
from shoso.layers import standard
from shoso.layers.limits import Limits
from shoso.stores.local import LocalOptions, LocalStore

KEY = Key("run/object")


def wait_until(ready):
    """Wait for somebody else, who is no task of this process."""
    while not ready():
        time.sleep(0.01)


async def increment(store, root, times):
    """Add 1 to a number, so often; the errors on the way."""
    errors, done = [], 0
    while done < int(times):
        async with await store.read(KEY) as reading:
            number = int(b"".join([bytes(data) async for data in reading.body]))
        try:
            await store.write(KEY, BytesSource(b"%d" % (number + 1)), IfMatch(reading.meta.etag))
            done += 1
        except StoreError as error:
            errors.append(error.kind.value)
    return errors


async def create(store, root, name, count):
    """Which of so many keys it could create; the other one, who tries the same, is waited for."""
    (root / f"here-{name}").touch()
    wait_until(lambda: len([*root.glob("here-*")]) == 2)
    won = []
    for number in range(int(count)):
        try:
            await store.write(Key(f"created/{number}"), BytesSource(name.encode()), CREATE)
            won.append(number)
        except Exists:
            continue
    return won


async def replace(store, root, seconds):
    """Replace an object all the time, while somebody of this machine has it open; how often."""
    await store.write(KEY, BytesSource(b"first." * 3000))
    end, number = time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        async with await store.read(KEY):
            await store.write(KEY, BytesSource(b"%06d" % number * 3000))
        number += 1
    return number


async def look(store, root, seconds):
    """Read it all the time; what came of it."""
    while not await _named(store, KEY):  # noqa: ASYNC110  # a path that was looked for in vain may stay so for 30 s
        await asyncio.sleep(0.02)
    end, seen = time.monotonic() + float(seconds), Counter()
    while time.monotonic() < end:
        try:
            found = await read_bytes(store, KEY)
            seen["whole" if found == found[:6] * 3000 else "mixed"] += 1
        except StoreError as error:
            seen[error.kind.value] += 1
    return seen


async def wait_for(store, root, *names):
    """How many seconds after it was written each new object is found: by its name, and in a listing."""
    late = []
    for name in names:
        for find in (_named, _listed):
            while not (found := await find(store, Key(f"new/{name}"))):  # noqa: ASYNC110  # it's not in this process
                await asyncio.sleep(0.02)
            late.append(time.time() - found[0].modified)
    return late


async def _named(store, key):
    try:
        return [await store.stat(key)]
    except NotFound:
        return []


async def _listed(store, key):
    return [entry async for entry in store.list(Key("new")) if entry.key == key]


async def write_new(store, root, *names):
    """Write these, one after the other, slowly enough that the other one looked for them before."""
    for name in names:
        await asyncio.sleep(2)
        await store.write(Key(f"new/{name}"), BytesSource(b"."))


async def apart(store, root):
    """Whether the folders of new objects have changed once more since these were named."""
    one, batched, before, moved = (
        Key(f"apart/{way}/object") for way in ("one", "batched", "before", "moved")
    )
    await store.write(one, BytesSource(b"."))
    await store.batches.write([SmallObject(ObjectMeta(batched, 1, 0.0), b".")])
    await store.write(before, BytesSource(b"."))
    await store.move([(before, moved)])
    paths = [root / key for key in (one, batched, moved)]
    return [path.parent.stat().st_ctime_ns > path.stat().st_ctime_ns for path in paths]


async def delete_open(store, root):
    """Delete an object that is half read; what is in its folder then, what is listed, what was read.

    And what the store says that it can do.
    """
    body = os.urandom(6 * CHUNK)
    await store.write(KEY, BytesSource(body))
    async with await store.read(KEY) as reading:
        read = bytes(await anext(reading.body))
        await store.delete([KEY])
        left = [path.name for path in (root / "run").iterdir()]
        listed = [entry.key async for entry in store.list(ROOT, deep=True)]
        try:
            await store.read(Key(f"run/{left[0]}"))
            hidden = False
        except StoreError as error:
            hidden = error.kind is Kind.INVALID_KEY
        read += b"".join([bytes(data) async for data in reading.body])
    await store.delete([Key("run")])
    can = store.capabilities
    return {
        "left": left, "listed": listed, "hidden": hidden, "whole": read == body,
        "can": [can.create, can.if_match, can.digests.value],
    }  # fmt: skip


async def without_server(store, root, signals, silence):
    """Reads and writes an object while the server is gone: how that ended, and in how many seconds."""
    await store.write(KEY, BytesSource(b"old"))
    patient = Limits(store, float(silence))
    (Path(signals) / "ready").touch()
    wait_until((Path(signals) / "gone").exists)
    begun, errors = time.monotonic(), []
    for call in (patient.stat(KEY), patient.write(KEY, BytesSource(b"new"))):
        try:
            await call
        except StoreError as error:
            errors.append(error.kind.value)
    return {"errors": errors, "seconds": time.monotonic() - begun}


async def write(store, root):
    """Write an object."""
    await store.write(KEY, BytesSource(b"."))


async def denied(store, root):
    """What is said where this user may not write: by a write, and by a store opened at a new folder."""
    said = []
    try:
        await store.write(KEY, BytesSource(b"."))
    except StoreError as error:
        said += [error.kind.value, error.message]
    try:
        LocalStore(LocalOptions(root / "new"))
    except ConfigError as error:
        said.append(error.message)
    return said


async def _main(verb, folder, *args):
    bare = LocalStore(LocalOptions(Path(folder)))
    try:
        return await VERBS[verb](bare if verb == "without_server" else standard(bare), Path(folder), *args)
    finally:
        await bare.close()


VERBS = {
    verb.__name__: verb
    for verb in (
        increment, create, replace, look, wait_for, write_new, apart, delete_open, write,
        denied, without_server,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_main(*sys.argv[1:]))))
