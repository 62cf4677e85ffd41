"""The limits of MLflow's model registry, as pure functions: what they refuse may not be stored.

Each raises TrackingError(INVALID) with MLflow's sentence. Source: MLflow 3.17's utils/validation.py and
entities/model_registry/model_version_stages.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shoso.errors import Kind, TrackingError
from shoso.metadata import rules
from shoso.metadata.schema import DELETED_VERSION
from shoso.wire.decode import missing
from shoso.wire.registry import IS_PROMPT
from shoso.wire.requests import TagInput

NAME_MAX = 256
"""The width of the column; MLflow leaves it to the database, and SQLite knows none."""

TAG_VALUE_MAX = 100_000
ALIAS_MAX = 255

NONE, STAGING, PRODUCTION, ARCHIVED = STAGES = ("None", "Staging", "Production", "Archived")
ACTIVE = (STAGING, PRODUCTION)
"""The stages whose other versions a transition may archive."""

DELETED = DELETED_VERSION

LATEST = "latest"
"""What stands for the last version of all where an alias could be."""

PROMPT_TEXT = "mlflow.prompt.text"

_CANONICAL = {stage.lower(): stage for stage in STAGES}
_ALIAS = re.compile(r"[\w\-]+")
_VERSION_ALIAS = re.compile(r"[vV]\d+")
_VERSION = re.compile(r"-?[0-9]{1,18}")


def model_name(name: str, path: str = "name") -> None:
    """Refuse a name that a registered model can't have."""
    if not name.strip():
        raise missing(path)
    if "/" in name or ":" in name:
        raise _refused(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    rules.check_path(name, path)
    rules.check_length(path, NAME_MAX, name)


def version(text: str) -> int:
    """The number of a version."""
    if _VERSION.fullmatch(text) is None:
        raise _refused(f"Parameter 'version' must be an integer of at most 18 digits, got '{text}'.")
    return int(text)


def alias(name: str) -> None:
    """Refuse what can't be an alias."""
    if _ALIAS.fullmatch(name) is None:
        raise _refused(
            f"Invalid alias name: '{name}'. Names may only contain alphanumerics, underscores (_), and"
            " dashes (-)."
        )
    rules.check_length("Registered model alias name", ALIAS_MAX, name)


def new_alias(name: str) -> None:
    """Refuse what can't be an alias, or means a version by itself."""
    alias(name)
    if name.lower() == LATEST:
        raise _refused("'latest' alias name (case insensitive) is reserved.")
    if _VERSION_ALIAS.fullmatch(name):
        raise _refused(f"Version alias name '{name}' is reserved.")


def stage(text: str) -> str:
    """The stage as it is spelled in the database; requests spell it in any case."""
    if (found := _CANONICAL.get(text.lower())) is None:
        raise _refused(f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES)}.")
    return found


def tags(given: Iterable[TagInput]) -> dict[str, str]:
    """The tags by key; of a key that comes twice the last value stays, as MLflow has it."""
    for each in given:
        tag(each)
    return {each.key: each.value for each in given}


def says_prompt(tags: Mapping[str, str]) -> bool:
    """Whether tags make a prompt of what they belong to."""
    return tags.get(IS_PROMPT, "").lower() == "true"


def tag(given: TagInput) -> None:
    """Refuse a tag of a registered model or of a version; its value is never cut."""
    rules.check_key(given.key, "key")
    rules.check_length("key", rules.KEY_MAX, given.key)
    if given.key == PROMPT_TEXT and len(given.value) > TAG_VALUE_MAX:
        raise _refused(f"Prompt text exceeds max length of {TAG_VALUE_MAX} characters.")
    rules.check_length("value", TAG_VALUE_MAX, given.value)


def _refused(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)
