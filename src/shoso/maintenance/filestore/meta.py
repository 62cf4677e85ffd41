"""meta.yaml: a flat mapping of a few fields, one of which may be a mapping again.

PyYAML finds the scalars and undoes their quotes and folds; it constructs nothing, so that no file makes it
build objects, follow anchors or recurse. What a plain scalar is, is decided here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from shoso.errors import ConfigError
from shoso.maintenance.filestore.files import MIB, Unreadable, text

NAME = "meta.yaml"

META_MAX = 64 * MIB
"""Bytes; the profile of a dataset may have 16 million characters, which YAML escapes."""

Scalar = str | int | bool | None
Value = Scalar | dict[str, Scalar]

_INTEGER = re.compile(r"[-+]?[0-9]{1,19}")
_WORDS: dict[str, Scalar] = {"": None, "~": None, "null": None, "true": True, "false": False}


class Meta:
    """The fields of a meta.yaml, asked for by type. Raises Unreadable for a field of another type."""

    def __init__(self, fields: dict[str, Value]) -> None:
        self._fields = fields

    def text(self, *names: str) -> str:
        """The first of these fields that says anything, else ""; a number counts as what it looks like."""
        for name in names:
            value = self._fields.get(name)
            if isinstance(value, dict | bool):
                raise Unreadable(f"'{name}' is no text.")
            if value not in {None, ""}:
                return str(value)
        return ""

    def optional(self, name: str) -> str | None:
        """A text, or None where there is none."""
        return self.text(name) or None

    def whole(self, *names: str) -> int | None:
        """The first of these fields that holds a number."""
        for name in names:
            value = self._fields.get(name)
            if isinstance(value, str) and _INTEGER.fullmatch(value):
                value = int(value)
            if value is not None and (type(value) is not int or not -(2**63) <= value < 2**63):
                raise Unreadable(f"'{name}' is no whole number of 64 bits.")
            if value is not None:
                return int(value)
        return None

    def texts(self, name: str) -> dict[str, str]:
        """A mapping of texts; one that isn't there is empty."""
        value = self._fields.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Unreadable(f"'{name}' is no mapping.")
        return {key: "" if item is None else str(item) for key, item in value.items()}


def read(folder: Path, *names: str) -> Meta:
    """The meta.yaml in a folder, which must have these fields. Raises Unreadable.

    MLflow sorts the fields: the last ones are missing where the file was only begun.
    """
    said = text(folder / NAME, META_MAX)
    fields = parsed(said)
    if missing := [name for name in names if name not in fields]:
        raise Unreadable(f"It has no '{missing[0]}'; it may be half written.")
    if not said.endswith("\n"):
        raise Unreadable("It breaks off in its last line.")
    return Meta(fields)


def parsed(said: str) -> dict[str, Value]:
    """The fields of a YAML document that is a flat mapping. Raises Unreadable, ConfigError without PyYAML."""
    yaml = _yaml()
    try:
        fields = _Reader(yaml, said).mapping(nested=True)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unreadable(
            f"It isn't YAML: {getattr(error, 'problem', None) or 'it breaks off'}{where}."
        ) from None
    if not fields:
        raise Unreadable("It is empty.")
    return fields


class _Reader:
    """Takes the events of PyYAML's parser one by one."""

    def __init__(self, yaml: Any, said: str) -> None:
        self._yaml = yaml
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._events = yaml.parse(said, Loader=loader)
        self._take(yaml.StreamStartEvent)
        start = self._next()
        self._empty = isinstance(start, yaml.StreamEndEvent)

    def mapping(self, *, nested: bool) -> dict[str, Any]:
        """The document's mapping, up to its end; of lists nothing is kept but that they're there."""
        if self._empty:
            return {}
        self._take(self._yaml.MappingStartEvent)
        return self._fields(nested=nested)

    def _fields(self, *, nested: bool) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self._next(), self._yaml.MappingEndEvent):
            key = str(self._scalar(event))
            event = self._next()
            if nested and isinstance(event, self._yaml.MappingStartEvent):
                found[key] = self._fields(nested=False)
            elif isinstance(event, self._yaml.SequenceStartEvent):
                self._pass_list()
                found[key] = None
            else:
                found[key] = self._scalar(event)
        return found

    def _pass_list(self) -> None:
        """Lists are of old versions, and empty: runs have `tags: []`."""
        while not isinstance(event := self._next(), self._yaml.SequenceEndEvent):
            self._scalar(event)

    def _scalar(self, event: Any) -> Scalar:
        if not isinstance(event, self._yaml.ScalarEvent) or event.anchor:
            raise Unreadable("It is no flat mapping of texts and numbers.")
        if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
            raise Unreadable(f"It has a value of the type '{event.tag}'.")
        value: str = event.value
        if "\0" in value:
            raise Unreadable("It has a NUL character, which no database keeps.")
        if event.style or event.tag:
            return value
        if _INTEGER.fullmatch(value):
            return int(value)
        return _WORDS.get(value.lower(), value)

    def _take(self, kind: type) -> None:
        if not isinstance(self._next(), kind):
            raise Unreadable("It is no flat mapping of texts and numbers.")

    def _next(self) -> Any:
        event = next(self._events)
        if isinstance(event, self._yaml.AliasEvent):
            raise Unreadable("It has an anchor, which MLflow never writes.")
        return event


def _yaml() -> Any:
    try:
        import yaml
    except ModuleNotFoundError:
        message = "an MLflow file store needs the package yaml: pip install 'shoso[filestore]'."
        raise ConfigError("shoso import", message) from None
    return yaml
