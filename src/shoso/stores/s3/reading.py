"""What comes down, and what the storage says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from shoso.core.keys import Key
from shoso.core.streams import CHUNK
from shoso.core.types import Buffer, ObjectMeta
from shoso.stores.s3.documents import bare, http_moment
from shoso.stores.s3.faults import Asked
from shoso.stores.s3.tags import DIGEST


async def body_of(reply: aiohttp.ClientResponse, asked: Asked) -> AsyncIterator[Buffer]:
    """The bytes of a reply in buffers of about CHUNK. Raises UNAVAILABLE where it breaks off."""
    held = bytearray()
    try:
        async for data in reply.content.iter_any():
            if not held and len(data) >= CHUNK:
                yield data
                continue
            held += data
            if len(held) >= CHUNK:
                yield held
                held = bytearray()
    except (aiohttp.ClientError, OSError) as error:
        if held:
            yield held  # so that whoever goes on where it broke gets further each time
        raise asked.broken(error) from None
    finally:
        reply.close() if not reply.content.at_eof() else reply.release()
    if held:
        yield held


def meta_of(key: Key, headers: Any) -> ObjectMeta:
    """What the headers of a HEAD or GET say; the size is the whole object's."""
    whole = headers.get("content-range", "").rpartition("/")[2] or headers.get("content-length", "0")
    modified = http_moment(headers["last-modified"]) if "last-modified" in headers else 0.0
    return ObjectMeta(
        key, int(whole), modified, bare(headers.get("etag", "")) or None, headers.get(f"x-amz-meta-{DIGEST}"),
        headers.get("content-type"),
    )  # fmt: skip
