"""What Azure's headers and XML say, as values of the contract."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from xml.sax.saxutils import escape

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta

META = "x-ms-meta-"
DIGEST = "shosodigest"
UPLOAD = "shosoupload"
KEY = "shosokey"
"""Names in the metadata of a blob: Azure takes what is an identifier in C#."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in a listing, by its full name; `folder` for what lies below a name."""

    name: str
    folder: bool = False
    size: int = 0
    modified: float = 0.0
    etag: str = ""
    content_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def meta(self, key: Key) -> ObjectMeta:
        """The object of that key."""
        digest = self.metadata.get(DIGEST)
        return ObjectMeta(key, self.size, self.modified, self.etag, digest, self.content_type)


def is_folder(headers: Mapping[str, str]) -> bool:
    """Whether the blob stands for a folder of an account with a hierarchical namespace."""
    return headers.get(META + "hdi_isfolder") == "true" or headers.get("x-ms-resource-type") == "directory"


def meta_of(key: Key, headers: Mapping[str, str], size: int | None = None) -> ObjectMeta:
    """The object that a reply speaks of. Raises KeyError, ValueError for a reply that isn't Azure's."""
    if size is None:
        whole = headers.get("content-range", "").rpartition("/")[2]
        size = int(whole or headers["content-length"])
    modified = parsedate_to_datetime(headers["last-modified"]).timestamp()
    return ObjectMeta(
        key,
        size,
        modified,
        headers["etag"].strip('"'),
        headers.get(META + DIGEST),
        headers.get("content-type"),
    )


Page = tuple[list[Blob], str]
"""Some blobs, and where the next page starts; "" after the last."""


def page(document: bytes) -> Page:
    """A page of List Blobs."""
    root = ET.fromstring(document)  # noqa: S314  (the storage's own reply; expat bounds its entities)
    blobs = root.find("Blobs")
    return list(_blobs(blobs)) if blobs is not None else [], root.findtext("NextMarker") or ""


def _blobs(blobs: ET.Element) -> Iterator[Blob]:
    for element in blobs:
        name = element.findtext("Name") or ""
        if element.tag == "BlobPrefix":
            yield Blob(name, folder=True)
        elif (about := element.find("Properties")) is not None and about.findtext(
            "ResourceType"
        ) != "directory":
            yield Blob(
                name,
                size=int(about.findtext("Content-Length") or 0),
                modified=parsedate_to_datetime(about.findtext("Last-Modified") or "").timestamp(),
                etag=(about.findtext("Etag") or "").strip('"'),
                content_type=about.findtext("Content-Type"),
                metadata={item.tag.lower(): item.text or "" for item in element.iterfind("Metadata/*")},
            )


def block_list(ids: list[str]) -> bytes:
    """The body of Put Block List."""
    blocks = "".join(f"<Uncommitted>{escape(block)}</Uncommitted>" for block in ids)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()


def fields(document: bytes) -> dict[str, str]:
    """The texts of a flat document, by element."""
    root = ET.fromstring(document)  # noqa: S314  (the storage's own reply)
    return {element.tag: element.text or "" for element in root}
