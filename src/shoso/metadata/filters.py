"""Filter and order_by texts → comparisons: MLflow's grammar, read by our own parser.

    filter      = { comparison | AND }                  comparisons hold together; there's no OR, NOT or ()
    comparison  = identifier comparator value
                | identifier [NOT] IN "(" value {"," value} ")"
                | identifier IS [NOT] NULL
    identifier  = [entity "."] key                      no entity: an attribute
    key         = word {"." word}                       a word is letters, digits and _, or anything in quotes
    order_by    = identifier [ASC | DESC]

Keywords are read in any case, keys and entities as they are. Identifiers are quoted by backticks or double
quotes, values by single or double ones; between quotes everything stands for itself, so a value with one kind
of quote in it goes into the other kind. What a search allows is data: `searchable`. As in MLflow, an AND may
be missing, doubled or dangling: it carries no meaning.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shoso.errors import Kind, TrackingError
from shoso.metadata.model_status import number_of
from shoso.metadata.searchable import LISTS, PATTERNS, PRESENCE, Field, Searchable, Value

MAX_COMPARISONS = 100
"""In a filter; SQLite allows about 1,000 nested terms."""

MAX_VALUES = 10_000
"""In all the lists of a filter; SQLite allows 32,766 parameters in a statement."""

MAX_PATTERN = 10_000
"""Characters; SQLite allows patterns of 50,000 bytes."""

MAX_ORDERS = 20
"""Fields in an order_by. Each makes two terms of ORDER BY, and at 64 of them SQLite 3.40 crashes: it doesn't
see any more that they need what is outer-joined, leaves it out and reads from unopened cursors."""

Scalar = str | int | float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition; `key` after aliases, `comparator` in capitals, `value` None for IS [NOT] NULL."""

    entity: str
    key: str
    comparator: str
    value: Scalar | tuple[Scalar, ...] | None


@dataclass(frozen=True, slots=True)
class Order:
    """One field of an order_by."""

    entity: str
    key: str
    ascending: bool


def parse_filter(text: str, search: Searchable) -> tuple[Comparison, ...]:
    """The comparisons of a filter; all of them must hold. Raises TrackingError(INVALID)."""
    reader = _Reader(text)
    found: list[Comparison] = []
    while reader.more():
        if reader.next_is("AND"):
            reader.take("")
        else:
            found.append(_comparison(reader, search))
    at_most(MAX_COMPARISONS, len(found), "comparisons in a filter")
    at_most(
        MAX_VALUES, sum(len(one.value) for one in found if isinstance(one.value, tuple)), "values in lists"
    )
    return tuple(found)


def parse_order(texts: Sequence[str], search: Searchable) -> tuple[Order, ...]:
    """The fields of an order_by, in order. Raises TrackingError(INVALID)."""
    at_most(MAX_ORDERS, len(texts), "fields to order by")
    return tuple(_order(text, search) for text in texts)


def at_most(limit: int, count: int, what: str) -> None:
    """Refuse more of something than every database takes in one statement. Raises TrackingError(INVALID)."""
    if count > limit:
        raise _refused(f"There are {count} {what}; at most {limit} are allowed.")


def _order(text: str, search: Searchable) -> Order:
    reader = _Reader(text)
    entity, key, _ = _field(reader.take("a field to order by"), search)
    if entity not in search.ordered:
        allowed = " or ".join(sorted(search.ordered))
        raise _refused(f"Can't order by '{text}': {search.what} are ordered by {allowed}.")
    direction = reader.take("").text.upper() if reader.more() else "ASC"
    if direction not in {"ASC", "DESC"} or reader.more():
        raise _refused(f"Can't read the order_by '{text}': it is a field, then ASC, DESC or nothing.")
    return Order(entity, key, direction == "ASC")


# -- one comparison ---------------------------------------------------------------------------------------


def _comparison(reader: _Reader, search: Searchable) -> Comparison:
    left = reader.take("a field")
    entity, key, field = _field(left, search)
    comparator = _comparator(reader, left.text)
    if comparator not in field.comparators:
        allowed = ", ".join(field.comparators)
        raise _refused(f"'{comparator}' can't compare '{left.text}' of {search.what}; use one of {allowed}.")
    return Comparison(entity, key, comparator, _right(reader, comparator, field, left.text))


def _right(reader: _Reader, comparator: str, field: Field, left: str) -> Scalar | tuple[Scalar, ...] | None:
    if comparator in PRESENCE:
        return None
    if comparator in LISTS:
        return _list(reader, field, left)
    value = _value(reader.take(f"a value after '{left} {comparator}'"), field, left)
    if comparator in PATTERNS and len(str(value)) > MAX_PATTERN:
        raise _refused(f"The pattern for '{left}' is longer than {MAX_PATTERN} characters.")
    return value


def _list(reader: _Reader, field: Field, left: str) -> tuple[Scalar, ...]:
    reader.expect("(", f"a list in parentheses for '{left}'")
    values: list[Scalar] = []
    while not reader.next_is(")"):
        values.append(_value(reader.take(f"a value in the list of '{left}'"), field, left))
        if not reader.next_is(")"):
            reader.expect(",", f"a comma or ')' in the list of '{left}'")
    reader.take("")
    if not values:
        raise _refused(f"The list of '{left}' is empty.")
    return tuple(values)


def _comparator(reader: _Reader, left: str) -> str:
    """The comparator in capitals; the words of one are joined by single blanks."""
    words = [reader.take(f"a comparator after '{left}'").text.upper()]
    if words[0] in {"NOT", "IS"}:
        words.append(reader.take(f"a comparator after '{left}'").text.upper())
    if words == ["IS", "NOT"]:
        words.append(reader.take(f"NULL after '{left} IS NOT'").text.upper())
    return " ".join(words)


# -- identifiers ------------------------------------------------------------------------------------------


def _field(token: Token, search: Searchable) -> tuple[str, str, Field]:
    """Entity, key after aliases, and what the table says about it."""
    spelling, key = _identifier(token)
    entity = "attribute" if spelling is None else search.entities.get(spelling)
    if entity is None:
        allowed = ", ".join(search.entities)
        raise _refused(
            f"'{token.text}' names no entity of {search.what}; before the dot stands one of {allowed}."
        )
    if entity in search.free:
        return entity, key, search.free[entity]
    field = search.fields[entity].get(key)
    if field is None:
        allowed = ", ".join(known for known, field in search.fields[entity].items() if known == field.name)
        raise _refused(f"'{token.text}' is no {entity} of {search.what}; there are {allowed}.")
    return entity, field.name, field


def _identifier(token: Token) -> tuple[str | None, str]:
    """Entity as it is spelled, if any, and key; one that is quoted as a whole is split at its first dot."""
    if token.text.upper() in _UNSUPPORTED:
        raise _refused(f"Comparisons can only be joined by AND; found {token.text}")
    if token.kind != "term" or token.text[0] in ".'" or token.text[-1] == ".":
        raise _refused(f"Expected a field, found {token.text}; a field is <key> or <entity>.<key>.")
    words = [_word(piece, token.text) for piece in _PIECE.findall(token.text)]
    entity, dot, key = ".".join(words).partition(".")
    if dot and not key:
        raise _refused(f"'{token.text}' names no key.")
    return (entity, key) if dot else (None, entity)


def _word(piece: str, whole: str) -> str:
    if piece[0] in _QUOTES:
        return piece[1:-1]
    if not _PLAIN.fullmatch(piece):
        raise _refused(f"'{piece}' in '{whole}' must be quoted: put the key in backticks.")
    return piece


# -- values -----------------------------------------------------------------------------------------------


def _value(token: Token, field: Field, left: str) -> Scalar:
    value = _READ[field.value](token) if token.kind == "term" else None
    if value is None:
        raise _refused(f"'{left}' is compared with {field.value.value}; found {token.text}")
    return value


def _text(token: Token) -> str | None:
    """What stands between quotes."""
    quoted = token.text[0] in "'\"" and _PIECE.fullmatch(token.text)
    return token.text[1:-1] if quoted else None


def _real(token: Token) -> float | None:
    """A double; one that would become infinite is none."""
    if not _NUMBER.fullmatch(token.text):
        return None
    number = float(token.text)
    return number if math.isfinite(number) else None


def _number(token: Token) -> int | float | None:
    """What a 64-bit column can be compared with: milliseconds since the epoch need every digit."""
    return _whole(token.text) if _WHOLE.fullmatch(token.text) else _real(token)


def _whole(text: str | None) -> int | None:
    if text is None or not _WHOLE.fullmatch(text):
        return None
    return number if -(2**63) <= (number := int(text)) < 2**63 else None


def _loose(token: Token) -> str:
    """A text with or without quotes."""
    text = _text(token)
    return token.text if text is None else text


_READ: dict[Value, Callable[[Token], Scalar | None]] = {
    Value.REAL: _real,
    Value.NUMBER: _number,
    Value.WHOLE: lambda token: _whole(token.text),
    Value.TEXT: _text,
    Value.WHOLE_TEXT: lambda token: _whole(_text(token)),
    Value.LOOSE_TEXT: _loose,
    Value.LOOSE_WHOLE: lambda token: _whole(_loose(token)),
    Value.STATUS: lambda token: number_of(_loose(token)),
}


# -- pieces -----------------------------------------------------------------------------------------------

_QUOTES = "'\"`"
_WORD = r"""[^\s'"`<>=~!(),;.]+"""
# A quote is no end where it is doubled or follows a backslash, if there's another one further on.
_ONE_PIECE = rf"""(?:'(?:''|\\'|[^'])*'|"(?:""|\\"|[^"])*"|`(?:``|[^`])*`|{_WORD})"""
_PIECE = re.compile(_ONE_PIECE)
_UNSUPPORTED = frozenset({"OR", "NOT", "(", ")"})
_NO_CHARACTER = re.compile("[\ud800-\udfff]")
_PLAIN = re.compile(r"\w+")
_WHOLE = re.compile(r"-?[0-9]{1,30}")
_NUMBER = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_TOKEN = re.compile(
    rf"\s*(?:(?P<term>\.?{_ONE_PIECE}(?:\.{_ONE_PIECE})*\.?)|(?P<operator>[<>=~!]+)|(?P<mark>[(),]))\s*"
)


class Token(NamedTuple):
    """A piece of a filter: a term (name, text or number), an operator or a mark."""

    kind: str
    text: str


def tokens(text: str) -> list[Token]:
    """The pieces of a text. Raises TrackingError(INVALID) at an open quote or an unknown sign."""
    if _NO_CHARACTER.search(text):
        raise _refused("The filter or order_by has half of a surrogate pair in it, which is no UTF-8.")
    found: list[Token] = []
    position = len(text) - len(text.lstrip())
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise _refused(f"Can't read on from here: {text[position : position + 50]}")
        found.append(Token(str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    return found


class _Reader:
    """The pieces of one text, taken from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0

    def more(self) -> bool:
        return self._next < len(self._tokens)

    def next_is(self, text: str) -> bool:
        return self.more() and self._tokens[self._next].text.upper() == text

    def take(self, wanted: str) -> Token:
        """The next piece; `wanted` is what to say if there's none."""
        if not self.more():
            raise _refused(f"There must be {wanted} at the end of: {self._text[-50:]}")
        self._next += 1
        return self._tokens[self._next - 1]

    def expect(self, text: str, wanted: str) -> None:
        """Take the next piece, which must be `text`."""
        if (token := self.take(wanted)).text != text:
            raise _refused(f"Expected {wanted}, found {token.text}")


def _refused(message: str) -> TrackingError:
    return TrackingError(Kind.INVALID, message)
