"""Settings that come as text, and the words that say what is wrong with one.

A parser turns the text of a flag or variable into a value, or raises ValueError with a sentence that goes on
behind the setting's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from shoso.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its field, its variable, how its text is read, its default, its help."""

    field: str
    variable: str
    parse: Callable[[str], Any]
    default: Any
    help: str

    @property
    def flag(self) -> str:
        """The flag as it is typed, where there is one."""
        return "--" + self.field.replace("_", "-")

    def value(self, source: str, text: str) -> Any:
        """What `text` means; raises ConfigError naming `source`, where the text comes from."""
        try:
            return self.parse(text)
        except ValueError as error:
            raise ConfigError(source, f"{error}.") from None


def from_environment(settings: Iterable[Setting], environment: Mapping[str, str]) -> dict[str, Any]:
    """The value of each setting, by field; an empty variable is an unset one. Raises ConfigError."""
    return {
        setting.field: setting.value(setting.variable, given)
        if (given := environment.get(setting.variable, ""))
        else setting.default
        for setting in settings
    }


def text(value: str) -> str:
    """As it is."""
    return value


def boolean(value: str) -> bool:
    """true, false, 1 or 0."""
    match value.strip().lower():
        case "true" | "1":
            return True
        case "false" | "0":
            return False
    raise ValueError(f"'{value}' is neither true nor false")


def switch(value: str) -> bool:
    """on or off; true, false, 1 or 0."""
    match value.strip().lower():
        case "on":
            return True
        case "off":
            return False
    return boolean(value)


def whole(value: str) -> int:
    """A whole number."""
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"'{value}' is not a whole number") from None


def seconds(value: str) -> float:
    """A time above 0."""
    with suppress(ValueError):
        if 0 < (parsed := float(value)) < float("inf"):
            return parsed
    raise ValueError(f"'{value}' is not a time; use a number of seconds above 0")


def seconds_or_none(value: str) -> float | None:
    """A time above 0, or -1 for none, as MLflow has it."""
    return None if value.strip() in {"-1", "-1.0"} else seconds(value)


def names(value: str) -> tuple[str, ...]:
    """Texts between commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def address(value: str) -> str:
    """A http(s) address, without a slash at its end."""
    if "@" in value:
        raise ValueError("an address may hold no user and no password; leave them out")
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"'{value}' is no address; write one like https://host:9000")
    return value.rstrip("/")


def one_of(*choices: str) -> Callable[[str], str]:
    """One of these, in any case."""

    def parse(value: str) -> str:
        for choice in choices:
            if value.lower() == choice.lower():
                return choice
        raise ValueError(f"'{value}' is not one of {', '.join(choices)}")

    return parse


PUBLIC_ENDPOINT = Setting(
    "public_endpoint",
    "SHOSO_PUBLIC_ENDPOINT_URL",
    address,
    "",
    "The address by which clients reach the storage, for signed URLs, e.g. https://s3.example.com; by default"
    " the one that the server uses.",
)
"""Read by every store that signs; `--public-endpoint-url` of the server sets it."""

TRANSFER_TIMEOUT = "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT"


def silence(default: float | None) -> Setting:
    """The setting that bounds every store: seconds without a byte after which a call is given up."""
    shown = "no limit" if default is None else f"{default:g}"
    return Setting(
        "silence",
        TRANSFER_TIMEOUT,
        seconds_or_none,
        default,
        f"Seconds without a byte after which a call to the store is given up (default {shown}, -1 for none).",
    )
