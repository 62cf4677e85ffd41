"""How far a transfer is, seen from its other end."""

from __future__ import annotations

from pathlib import Path


def uploads(api) -> list[dict]:
    """The uploads that the server has under way."""
    return api.call("GET", "uploads", root="api/shoso/1").json()["uploads"]


def arrived(api, name: str) -> int:
    """Parts that the server has of uploads to keys with that name in them."""
    return sum(
        len(
            api.call("GET", f"uploads/{one['id']}", root="api/shoso/1", key=one["key"])
            .json()
            .get("parts", [])
        )
        for one in uploads(api)
        if name in one["key"]
    )


def fetched(folder: Path) -> int:
    """Parts in their places of files that a download puts right below the folder."""
    records = [*folder.glob(".*.shoso-parts")] if folder.exists() else []
    return sum(record.read_bytes().count(b'"number"') for record in records)
