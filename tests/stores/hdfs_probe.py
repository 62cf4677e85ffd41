"""Opens a store by this process's environment, writes an object and reads it: JSON of what came of it.

HDFS users and Kerberos tickets are a process's, so what depends on them is tried in one of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from shoso.core.keys import Key
from shoso.core.store import read_bytes
from shoso.core.streams import BytesSource
from shoso.errors import ShosoError
from shoso.layers import Policy, standard
from shoso.stores import open_store

KEY = Key("probe/object")


async def tried(uri: str) -> dict[str, str]:
    """What came of it: "read" with the bytes, or the error's kind and message."""
    try:
        # Tries again: with `privacy`, hdfs-native 0.14 at times sends on to a DataNode that has it all.
        store = standard(open_store(uri, os.environ), Policy())
        await store.write(KEY, BytesSource(b"content"))
        return {"read": (await read_bytes(store, KEY)).decode()}
    except ShosoError as error:
        return {"kind": error.kind.value, "message": error.message}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(tried(sys.argv[1]))))
