"""What may be searched, and how: one table per search; `filters` reads it, nothing is decided elsewhere.

A search has entities: attribute, metric, param, tag, dataset. The keys of some are ours and fixed (`fields`),
those of others are the users' (`free`). Source: MLflow 3.17's search utilities and SQL store.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from shoso.metadata.model_status import NUMBER_OF

EQUALITY = ("=", "!=")
ORDERING = ("=", "!=", "<", "<=", ">", ">=")
PATTERNS = ("LIKE", "ILIKE")
LISTS = ("IN", "NOT IN")
PRESENCE = ("IS NULL", "IS NOT NULL")


class Value(enum.Enum):
    """How the right-hand side is written, and what it is read as."""

    REAL = "a number"
    NUMBER = "a number of at most 64 bits"
    WHOLE = "a whole number of at most 64 bits"
    TEXT = "a text in quotes"
    WHOLE_TEXT = "a whole number in quotes"
    LOOSE_TEXT = "a text"
    LOOSE_WHOLE = "a whole number, in quotes or not"
    STATUS = "one of " + ", ".join(NUMBER_OF)


@dataclass(frozen=True, slots=True)
class Field:
    """What a key stands for; `name` is the attribute after aliases, and empty where keys are free."""

    value: Value
    comparators: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Searchable:
    """One search: its entities by every spelling, their fields, and the entities results are ordered by."""

    what: str
    entities: Mapping[str, str]
    fields: Mapping[str, Mapping[str, Field]]
    free: Mapping[str, Field]
    ordered: frozenset[str]


def _named(value: Value, comparators: tuple[str, ...], *names: str) -> dict[str, Field]:
    return {name: Field(value, comparators, name) for name in names}


def _aliases(name: str, *spellings: str, value: Value, comparators: tuple[str, ...]) -> dict[str, Field]:
    return {spelling: Field(value, comparators, name) for spelling in (name, *spellings)}


def _spellings(**entities: str) -> dict[str, str]:
    return {spelling: entity for entity, text in entities.items() for spelling in text.split()}


_KEYED_TEXT = Field(Value.TEXT, EQUALITY + PATTERNS + PRESENCE)

RUNS = Searchable(
    what="runs",
    entities=_spellings(
        attribute="attribute attributes attr run",
        metric="metric metrics",
        param="parameter parameters param params",
        tag="tag tags",
        dataset="dataset datasets",
    ),
    fields={
        "attribute": {
            **_named(Value.TEXT, EQUALITY + PATTERNS, "status", "artifact_uri", "user_id"),
            **_named(Value.TEXT, EQUALITY + PATTERNS + LISTS, "run_id"),
            **_aliases(
                "run_name",
                "run name",
                "Run name",
                "Run Name",
                value=Value.TEXT,
                comparators=EQUALITY + PATTERNS,
            ),
            **_aliases("start_time", "created", "Created", value=Value.NUMBER, comparators=ORDERING),
            **_named(Value.NUMBER, ORDERING, "end_time"),
        },
        "dataset": _named(Value.TEXT, EQUALITY + PATTERNS + LISTS, "name", "digest", "context"),
    },
    free={"metric": Field(Value.REAL, ORDERING), "param": _KEYED_TEXT, "tag": _KEYED_TEXT},
    ordered=frozenset({"attribute", "metric", "param", "tag"}),
)

EXPERIMENTS = Searchable(
    what="experiments",
    entities=_spellings(attribute="attribute", tag="tag tags"),
    fields={
        "attribute": {
            **_named(Value.TEXT, EQUALITY + PATTERNS, "name"),
            **_named(Value.WHOLE_TEXT, EQUALITY + LISTS, "experiment_id"),
            **_named(Value.WHOLE, ORDERING, "creation_time", "last_update_time"),
        },
    },
    free={"tag": _KEYED_TEXT},
    ordered=frozenset({"attribute"}),
)

_LOOSE = EQUALITY + PATTERNS + LISTS

# Text needs no quotes here, `status = 2` and `name = m1` are legal; no search for absent keys.
LOGGED_MODELS = Searchable(
    what="logged models",
    entities=_spellings(attribute="attributes", metric="metrics", param="params", tag="tags"),
    fields={
        "attribute": {
            **_named(
                Value.LOOSE_TEXT,
                _LOOSE,
                "model_id",
                "name",
                "artifact_location",
                "lifecycle_stage",
                "model_type",
                "source_run_id",
                "status_message",
            ),
            **_named(Value.LOOSE_WHOLE, EQUALITY + LISTS, "experiment_id"),
            **_named(Value.STATUS, EQUALITY + LISTS, "status"),
            **_aliases(
                "creation_timestamp_ms",
                "creation_time",
                "creation_timestamp",
                value=Value.NUMBER,
                comparators=ORDERING,
            ),
            **_aliases(
                "last_updated_timestamp_ms",
                "last_updated_timestamp",
                value=Value.NUMBER,
                comparators=ORDERING,
            ),
        },
    },
    free={
        "metric": Field(Value.REAL, ORDERING),
        "param": Field(Value.LOOSE_TEXT, _LOOSE),
        "tag": Field(Value.LOOSE_TEXT, _LOOSE),
    },
    ordered=frozenset({"attribute", "metric"}),
)

_REGISTRY = _spellings(attribute="attribute", tag="tag tags")
_TAG = Field(Value.TEXT, EQUALITY + PATTERNS)

REGISTERED_MODELS = Searchable(
    what="registered models",
    entities=_REGISTRY,
    fields={"attribute": _named(Value.TEXT, EQUALITY + PATTERNS + LISTS, "name")},
    free={"tag": _TAG},
    ordered=frozenset(),
)

MODEL_VERSIONS = Searchable(
    what="model versions",
    entities=_REGISTRY,
    fields={
        "attribute": {
            **_named(Value.TEXT, EQUALITY + PATTERNS + LISTS, "name", "run_id"),
            **_named(Value.TEXT, EQUALITY + PATTERNS, "source_path"),
            **_named(Value.LOOSE_WHOLE, ORDERING, "version_number"),
        },
    },
    free={"tag": _TAG},
    ordered=frozenset(),
)


def _orders(what: str, fields: Mapping[str, Field]) -> Searchable:
    """What is ordered by other fields than it is searched by."""
    entities = {"attribute": "attribute"}
    return Searchable(what, entities, {"attribute": fields}, {}, ordered=frozenset(entities))


ORDERED_REGISTERED_MODELS = _orders(
    "registered models",
    {
        **_named(Value.TEXT, (), "name"),
        **_aliases("last_updated_timestamp", "timestamp", value=Value.WHOLE, comparators=()),
    },
)

ORDERED_VERSIONS = _orders(
    "model versions",
    _named(Value.TEXT, (), "name", "version_number", "creation_timestamp", "last_updated_timestamp"),
)
