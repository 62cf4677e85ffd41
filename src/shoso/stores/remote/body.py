"""A source on its way to a Shoso server, which compares the digest behind it before the object appears."""

from __future__ import annotations

from typing import ClassVar

from shoso.http.body import Body
from shoso.http.credentials import Headers
from shoso.wire.objects import TRAILER_HEADER


class DigestedBody(Body):
    """The bytes, and their digest behind them."""

    trailer: ClassVar[bool] = True

    def headers(self) -> Headers:
        """What announces it."""
        return {TRAILER_HEADER: "digest", **super().headers()}
