"""The status of a logged model: a number in the database, a LOGGED_MODEL_* name on the wire."""

from __future__ import annotations

NAME_OF = {
    0: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    1: "LOGGED_MODEL_PENDING",
    2: "LOGGED_MODEL_READY",
    3: "LOGGED_MODEL_UPLOAD_FAILED",
}

PENDING = 1

_DIGITS = {str(number): number for number in NAME_OF}

NUMBER_OF = {"UNSPECIFIED": 0, "PENDING": 1, "READY": 2, "FAILED": 3, "UPLOAD_FAILED": 3}
"""By the short names that MLflow's clients show."""


def number_of(text: str | int) -> int | None:
    """The number of a status given as number, digits, short name or wire name; None if there's no such."""
    name = str(text)
    if name in _DIGITS:
        return _DIGITS[name]
    return NUMBER_OF.get(name.removeprefix("LOGGED_MODEL_").removeprefix("STATUS_"))
