"""Shoso's own calls under `/api/shoso/1`: a store over HTTP. `stores.remote` speaks it, the server answers.

GET    capabilities
GET    objects                 list: prefix, deep, after, limit
HEAD   objects/{key}           stat
GET    objects/{key}           read: Range, If-Match
PUT    objects/{key}           write: If-None-Match: *, If-Match
POST   delete                  several keys
POST   move                    several objects to other keys
POST   objects                 write the files of a tar, many at once: prefix
POST   read                    several small objects, as a tar in the order of the keys
GET    tar                     a folder as a tar: prefix
PUT    tar                     a tar into a folder, all of it or an error: prefix
POST   uploads                 begin
GET    uploads                 pending: prefix
PUT    uploads/{id}/{number}   put a part: key
GET    uploads/{id}            the parts that are there: key
POST   uploads/{id}            finish
DELETE uploads/{id}            abort: key
POST   sign                    a request that goes straight to the storage: a read, or a part of an upload
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from shoso.core.types import SignedMethod

ROOT = "/api/shoso/1"

DIGEST_HEADER = "shoso-digest"
"""The BLAKE3 of the whole object, in hex."""

TRAILER_HEADER = "shoso-trailer"
"""`digest`: the last 32 bytes of the body are the raw BLAKE3 of what's before them."""

MODIFIED_HEADER = "shoso-modified"
"""Seconds since the epoch; Last-Modified has whole ones only."""

TAR_TYPE = "application/x-tar"

MOST = 10_000
"""Objects in one POST; a folder by PUT may have any number."""


HeaderText = Annotated[str, Meta(pattern=r"\A[\x20-\x7e]*\Z")]
"""What a header may hold: no line of its own."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of bytes, entries or a part: never negative."""


class CapabilitiesReply(Struct, frozen=True):
    """What the server's store can do; see core.types.Capabilities. `direct`: requests are signed for it."""

    create: bool
    if_match: bool
    ranges: bool
    uploads: str
    part_min: int
    part_max: int
    parts_max: int
    sorted_list: bool
    bulk_delete: int
    digests: str
    direct: bool = False
    move: bool = False


class ListObjects(Struct, frozen=True):
    prefix: str = ""
    deep: bool = False
    after: str | None = None
    limit: Count = 1000


class ObjectEntry(Struct, frozen=True, omit_defaults=True):
    """An object, or a folder where `size` is left out."""

    key: str
    size: Count | None = None
    modified: float = 0.0
    etag: str | None = None
    digest: str | None = None
    content_type: str | None = None


class ObjectPage(Struct, frozen=True, omit_defaults=True):
    """A page of a listing; `after` starts the next one."""

    entries: list[ObjectEntry]
    after: str | None = None


class DeleteObjects(Struct, frozen=True):
    keys: list[str]


class MoveObject(Struct, frozen=True):
    """From one key to another."""

    source: str
    target: str


class MoveObjects(Struct, frozen=True):
    moves: list[MoveObject]


class ReadObjects(Struct, frozen=True):
    keys: list[str]


class OfFolder(Struct, frozen=True):
    prefix: str = ""


class FailureEntry(Struct, frozen=True):
    """Why an object among many couldn't be kept."""

    key: str
    kind: str
    message: str


class Moved(Struct, frozen=True, omit_defaults=True):
    """The end of a move; blanks before it say that it goes on. `failure` is the first, all were tried."""

    failure: FailureEntry | None = None


class OutcomeEntry(Struct, frozen=True, omit_defaults=True):
    """What became of one object among many: one of the two is there."""

    written: ObjectEntry | None = None
    failure: FailureEntry | None = None


class Outcomes(Struct, frozen=True):
    """What became of the objects of a tar, in its order."""

    outcomes: list[OutcomeEntry]


class FolderWritten(Struct, frozen=True):
    """How many objects were kept, and their bytes."""

    objects: Count
    size: Count


class BeginUpload(Struct, frozen=True):
    key: str
    size_hint: Count | None = None
    content_type: str | None = None
    part_size: Count | None = None


class UploadEntry(Struct, frozen=True, omit_defaults=True):
    key: str
    id: str
    begun: float | None = None


class UploadList(Struct, frozen=True):
    uploads: list[UploadEntry]


class PendingUploads(Struct, frozen=True):
    prefix: str = ""


class OfUpload(Struct, frozen=True):
    id: str
    key: str


class PartEntry(Struct, frozen=True, omit_defaults=True):
    number: Count
    size: Count
    etag: str
    digest: str | None = None
    modified: float | None = None


class PartList(Struct, frozen=True):
    parts: list[PartEntry]


class FinishUpload(Struct, frozen=True):
    id: str
    key: str
    parts: list[PartEntry]
    digest: str | None = None


class SignObject(Struct, frozen=True):
    """A read of the object; with an upload's `id`, one of its parts."""

    key: str
    id: str = ""
    number: Count = 0


class SignedObject(Struct, frozen=True, omit_defaults=True):
    """A request to the storage, good for whoever has it; `object` is what a read will find."""

    method: SignedMethod
    url: str
    headers: dict[HeaderText, HeaderText]
    object: ObjectEntry | None = None
