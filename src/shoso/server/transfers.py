"""Objects over HTTP: request body → source, store → reply, by RFC 9110's rules for ranges and conditions."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate
from urllib.parse import quote

from shoso.core import digest, keys
from shoso.core.streams import CHUNK, BytesSource, Source
from shoso.core.types import (
    ALL,
    CREATE,
    OVERWRITE,
    Buffer,
    ByteRange,
    From,
    FromTo,
    IfMatch,
    Last,
    ObjectMeta,
    WriteMode,
)
from shoso.errors import Kind, StoreError, TrackingError
from shoso.server.exchange import AnyReply, Exchange, Header, Reply, StreamReply, fault_reply
from shoso.server.locations import Place
from shoso.wire.objects import DIGEST_HEADER, MODIFIED_HEADER, TRAILER_HEADER

_RANGE = re.compile(r"bytes=([0-9]{0,30})-([0-9]{0,30})")
_ETAG = re.compile(r'"[^"]+"')
_DIGEST = re.compile(r"[0-9a-f]{64}")

TEXT_ENDINGS = {"txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml"}
TEXT_ENDINGS |= {"yaml", "yml", "xml", "json", "js", "py", "py3", "csv", "tsv", "md", "rst", "ipynb"}
TEXT_ENDINGS |= {"MLmodel", "MLproject"}
"""What MLflow shows as text/plain, by the ending or, without one, by the whole name."""


async def download(exchange: Exchange, place: Place, extra: Sequence[Header] = ()) -> AnyReply:
    """GET or HEAD of an object: 200, 206, 304. Raises NOT_FOUND, RANGE, CHANGED."""
    if exchange.method == "HEAD" or exchange.header(b"if-none-match"):
        meta = await place.store.stat(place.key)
        headers = [*object_headers(meta), *extra]
        if _names(exchange.header(b"if-none-match"), meta.etag):
            return Reply(304, headers)
        if exchange.method == "HEAD":
            return Reply(200, headers, length=meta.size)
    wanted = await _wanted(exchange, place)
    try:
        reading = await place.store.read(place.key, wanted, _etag(exchange.header(b"if-match")))
    except StoreError as error:
        if error.kind is Kind.RANGE:
            return _unsatisfiable(error, await place.store.stat(place.key))
        raise
    headers = [*object_headers(reading.meta), *extra]
    if wanted == ALL:
        return StreamReply(200, headers, reading)
    span = f"bytes {reading.start}-{reading.stop - 1}/{reading.meta.size}"
    return StreamReply(206, [*headers, (b"content-range", span.encode())], reading)


async def upload(exchange: Exchange, place: Place) -> ObjectMeta:
    """PUT of an object; `If-None-Match: *` creates, `If-Match` replaces what it names.

    A sender that claims a digest, before (`shoso-digest`) or behind the bytes (`shoso-trailer: digest`, 32
    raw bytes), has it compared before the object appears.
    """
    kind = exchange.header(b"content-type")
    mode = _mode(exchange)
    return await place.store.write(place.key, await received(exchange), mode, kind)


async def received(exchange: Exchange) -> Source:
    """The body as a source; a small one is read at once, so that a storage that stumbles is asked again."""
    source = BodySource(exchange)
    if source.size is None or source.size > CHUNK:
        return source
    data = b"".join([bytes(part) async for part in source.open()])
    return BytesSource(data, source.expected())


class BodySource:
    """The body of a request as a source: it comes once."""

    reopenable = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._trailing = _has_trailer(exchange.header(TRAILER_HEADER.encode()))
        self._expected = _claimed(exchange.header(DIGEST_HEADER.encode()))

    @property
    def size(self) -> int | None:
        """Bytes of the object, where the sender announced them."""
        announced = self._exchange.announced
        if announced is None:
            return None
        return announced - digest.SIZE if self._trailing else announced

    def open(self, start: int = 0) -> AsyncIterator[Buffer]:
        """The body, without the digest behind it."""
        return self._without_trailer() if self._trailing else self._exchange.stream()

    def expected(self) -> str | None:
        """The digest that the sender claimed."""
        return self._expected

    async def _without_trailer(self) -> AsyncIterator[Buffer]:
        """The last bytes are held back; of a body whose size is known it's known which those are."""
        held, left = b"", self.size or 0
        async for data in self._exchange.stream():
            if left >= len(data):
                left -= len(data)
                yield data
                continue
            held, left = held + data, 0
            if len(held) > digest.SIZE:
                yield memoryview(held)[: -digest.SIZE]
                held = held[-digest.SIZE :]
        if len(held) < digest.SIZE:
            raise TrackingError(Kind.INCOMPLETE, "The body ended before the digest that it announced.")
        self._expected = held.hex()


def object_headers(meta: ObjectMeta) -> list[Header]:
    """What a reply says of an object."""
    return [
        (b"content-type", content_type(meta).encode("latin-1", "replace")),
        (b"content-disposition", disposition(keys.name(meta.key))),
        (b"last-modified", formatdate(meta.modified, usegmt=True).encode()),
        (b"accept-ranges", b"bytes"),
        *written_headers(meta),
    ]


def written_headers(meta: ObjectMeta) -> list[Header]:
    """The identity of an object: its etag, when it was written, its digest where that's kept."""
    headers: list[Header] = [(MODIFIED_HEADER.encode(), repr(meta.modified).encode())]
    if meta.etag:
        headers.append((b"etag", f'"{meta.etag}"'.encode()))
    if meta.digest:
        headers.append((DIGEST_HEADER.encode(), meta.digest.encode()))
    return headers


def content_type(meta: ObjectMeta) -> str:
    """By the name, as MLflow has it: text as text/plain, so that no browser runs what a run logged."""
    name = keys.name(meta.key)
    _, dot, ending = name.rpartition(".")
    if (ending if dot else name) in TEXT_ENDINGS:
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def disposition(name: str) -> bytes:
    """Always an attachment; a name beyond plain ASCII goes the way of RFC 5987."""
    if name.isascii() and name.isprintable() and not set(name) & set('"\\'):
        return f'attachment; filename="{name}"'.encode()
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}".encode()


async def _wanted(exchange: Exchange, place: Place) -> ByteRange:
    """The range asked for; several at once, another unit or a stale If-Range mean the whole object."""
    found = _RANGE.fullmatch((exchange.header(b"range") or "").replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return ALL
    condition = exchange.header(b"if-range")
    if condition and _etag(condition) != (await place.store.stat(place.key)).etag:
        return ALL
    first, last = found[1], found[2]
    if not first:
        return Last(int(last))
    if not last:
        return _from(int(first))
    return FromTo(int(first), int(last) + 1) if int(first) <= int(last) else ALL


def _from(first: int) -> ByteRange:
    """`bytes=0-` is a range too, and answered as one."""
    return From(first) if first else FromTo(0, 2**63 - 1)


def _unsatisfiable(error: StoreError, meta: ObjectMeta) -> Reply:
    reply = fault_reply(error)
    reply.headers.append((b"content-range", f"bytes */{meta.size}".encode()))
    return reply


def _mode(exchange: Exchange) -> WriteMode:
    """The condition of a PUT; one that can't be kept is refused, for ignoring it would overwrite."""
    absent, same = exchange.header(b"if-none-match"), exchange.header(b"if-match")
    if absent is None and same is None:
        return OVERWRITE
    if absent is not None and same is None and absent.strip() == "*":
        return CREATE
    if absent is None and same is not None and _ETAG.fullmatch(same.strip()):
        return IfMatch(same.strip().strip('"'))
    message = "A PUT takes 'If-None-Match: *' or 'If-Match' with one etag, and no other condition."
    raise TrackingError(Kind.INVALID, message)


def _has_trailer(header: str | None) -> bool:
    if header in {None, "digest"}:
        return header is not None
    raise TrackingError(Kind.INVALID, f"'{TRAILER_HEADER}' can only be 'digest'.")


def _claimed(header: str | None) -> str | None:
    """The digest that a header claims. Raises INVALID for what can't be one."""
    if header is None or _DIGEST.fullmatch(header.lower()):
        return header and header.lower()
    raise TrackingError(Kind.INVALID, f"'{DIGEST_HEADER}' must be a BLAKE3 digest: 64 hex digits.")


def _etag(header: str | None) -> str | None:
    """The one etag of a condition; `*` asks for none in particular."""
    text = (header or "").strip().removeprefix("W/").strip('"')
    return text if text and text != "*" else None


def _names(header: str | None, etag: str | None) -> bool:
    """Whether an If-None-Match list holds the etag."""
    if not header or not etag:
        return False
    return header.strip() == "*" or etag in [_etag(part) for part in header.split(",")]
