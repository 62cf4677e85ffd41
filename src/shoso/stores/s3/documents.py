"""The XML of S3, read and written. What it says comes from the storage, which the settings trust."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from shoso.core.types import Part
from shoso.errors import Kind, Retry, StoreError, store_error


@dataclass(frozen=True, slots=True)
class Fault:
    """Code and message of an error, and the region that one of a wrong region names."""

    code: str = ""
    message: str = ""
    region: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """An object in a listing."""

    key: str
    size: int
    modified: float
    etag: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload under way, and when it was begun."""

    key: str
    id: str
    begun: float


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a listing: its objects and folders, sorted, and where the next one starts."""

    entries: list[Found | str]
    next: str | None


class Document:
    """A reply whose names are read without their namespace, which lookalikes leave out."""

    def __init__(self, data: bytes) -> None:
        try:
            self._root = ET.fromstring(data.strip())  # noqa: S314  (see above; S3 sends spaces while it works)
        except ET.ParseError:
            raise store_error(Kind.UNEXPECTED, "The storage's answer is no XML.", retry=Retry.SOON) from None
        for element in self._root.iter():
            element.tag = element.tag.rpartition("}")[2]

    @property
    def name(self) -> str:
        """What the document is."""
        return str(self._root.tag)

    def text(self, path: str) -> str:
        """What stands there; "" where nothing does."""
        return self._root.findtext(path) or ""

    def all(self, path: str) -> Iterator[ET.Element]:
        """Every element there."""
        yield from self._root.iterfind(path)


def fault(data: bytes) -> Fault:
    """What an error says; nothing where it's no XML."""
    try:
        document = Document(data)
    except StoreError:
        return Fault()
    return Fault(document.text("Code"), document.text("Message"), document.text("Region"))


def failures(data: bytes) -> list[Fault]:
    """What went wrong in a deletion of many."""
    return [
        Fault(error.findtext("Code", ""), error.findtext("Message", ""), key=error.findtext("Key", ""))
        for error in Document(data).all("Error")
    ]


def page(data: bytes) -> Page:
    """A page of a listing, whose keys are encoded as in a URL."""
    document = Document(data)
    found: list[Found | str] = [
        Found(
            unquote_plus(one.findtext("Key", "")),
            _number(one, "Size"),
            moment(one.findtext("LastModified", "")),
            bare(one.findtext("ETag", "")),
        )
        for one in document.all("Contents")
    ]
    found += [unquote_plus(one.findtext("Prefix", "")) for one in document.all("CommonPrefixes")]
    found.sort(key=lambda entry: entry if isinstance(entry, str) else entry.key)
    more = document.text("IsTruncated") == "true"
    return Page(found, document.text("NextContinuationToken") if more else None)


def parts(data: bytes) -> tuple[list[Part], str | None]:
    """A page of an upload's parts, and the number behind which the next page starts."""
    document = Document(data)
    found = [
        Part(
            _number(one, "PartNumber"),
            _number(one, "Size"),
            bare(one.findtext("ETag", "")),
            modified=moment(when) if (when := one.findtext("LastModified")) else None,
        )
        for one in document.all("Part")
    ]
    more = document.text("IsTruncated") == "true"
    return found, document.text("NextPartNumberMarker") if more else None


def uploads(data: bytes) -> tuple[list[Upload], tuple[str, str] | None]:
    """A page of uploads under way, and where the next one starts."""
    document = Document(data)
    found = [
        Upload(
            unquote_plus(one.findtext("Key", "")),
            one.findtext("UploadId", ""),
            moment(one.findtext("Initiated", "")),
        )
        for one in document.all("Upload")
    ]
    behind = unquote_plus(document.text("NextKeyMarker")), document.text("NextUploadIdMarker")
    return found, behind if document.text("IsTruncated") == "true" else None


def tags(data: bytes) -> dict[str, str]:
    """An object's tags."""
    return {one.findtext("Key", ""): one.findtext("Value", "") for one in Document(data).all("TagSet/Tag")}


def tagging(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The body that sets them."""
    inner = "".join(
        f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in pairs
    )
    return f"<Tagging><TagSet>{inner}</TagSet></Tagging>".encode()


def deletion(keys: Iterable[str]) -> bytes:
    """The body that deletes them, and asks for failures only."""
    inner = "".join(f"<Object><Key>{_escaped(key)}</Key></Object>" for key in keys)
    return f"<Delete><Quiet>true</Quiet>{inner}</Delete>".encode()


def completion(named: Iterable[Part]) -> bytes:
    """The body that joins the parts."""
    inner = "".join(
        f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{_escaped(part.etag)}"</ETag></Part>'
        for part in named
    )
    return f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode()


def bare(etag: str) -> str:
    """The etag without its quotes."""
    return etag.strip('"')


@lru_cache(256)
def http_moment(text: str) -> float:
    """Seconds since the epoch of a time in a header; many objects share a second."""
    return parsedate_to_datetime(text).timestamp()


def moment(text: str) -> float:
    """Seconds since the epoch of a time in ISO 8601."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _number(element: ET.Element, name: str) -> int:
    return int(element.findtext(name, "0"))


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;", "\n": "&#10;"})
