"""The digest of an object that was written in parts: a tag, bound to the etag, where the storage has tags."""

from __future__ import annotations

from dataclasses import replace

from shoso.core.keys import Key
from shoso.core.types import ObjectMeta
from shoso.errors import Kind, StoreError
from shoso.stores.s3 import documents
from shoso.stores.s3.body import Piece
from shoso.stores.s3.connection import Connection

DIGEST = "shoso-digest"
_REFUSED = {Kind.FORBIDDEN, Kind.UNSUPPORTED, Kind.INVALID}


class Tags:
    """Puts and reads that tag; a storage that refuses is not asked again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._possible = True

    async def with_digest(self, meta: ObjectMeta) -> ObjectMeta:
        """The same with the digest, where it can be known; objects in parts have a dash in their etag."""
        if meta.digest or not self._possible or "-" not in (meta.etag or ""):
            return meta
        try:
            data, _ = await self._connection.fetch(
                "stat", meta.key, "GetObjectTagging", "GET", query={"tagging": ""}
            )
            digest, _, etag = documents.tags(data).get(DIGEST, "").partition("/")
        except StoreError as error:
            self._note(error)
            return meta
        return replace(meta, digest=digest) if digest and etag == meta.etag else meta

    async def keep(self, key: Key, digest: str, etag: str) -> None:
        """Keep the digest beside the user's own tags, where the storage lets us."""
        await self._put(key, {DIGEST: f"{digest}/{etag}"})

    async def follow(self, key: Key, target: Key) -> None:
        """Put an object's own tags on its copy."""
        data, _ = await self._connection.fetch("move", key, "GetObjectTagging", "GET", query={"tagging": ""})
        if own := {name: text for name, text in documents.tags(data).items() if name != DIGEST}:
            await self._put(target, own)

    async def repeat(self, key: Key) -> None:
        """Put the user's tags on an object in parts: Ceph 16 forgets those that it was begun with."""
        if self._connection.extra.tags:
            await self._put(key, {})

    async def _put(self, key: Key, ours: dict[str, str]) -> None:
        if not self._possible:
            return
        pairs = dict(self._connection.extra.tags) | ours
        body = documents.tagging(pairs.items())
        piece = Piece([body], len(body))
        headers = {"content-md5": await piece.md5()}
        try:
            await self._connection.fetch(
                "write", key, "PutObjectTagging", "PUT", query={"tagging": ""}, headers=headers, body=piece
            )
        except StoreError as error:
            self._note(error)

    def _note(self, error: StoreError) -> None:
        self._possible = error.kind not in _REFUSED
