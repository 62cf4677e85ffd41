"""What comes down."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from shoso.core.streams import CHUNK
from shoso.core.types import Buffer
from shoso.stores.s3.faults import Asked


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
