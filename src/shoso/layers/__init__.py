"""Behaviour around any store, and the one place where its order is decided.

    check → ledger → observe → retry → limits → store

Nonsense is refused before it's counted; a digest from the book is verified like the store's own; a span
covers a user's call with all its attempts; a sleep between attempts holds no permit; the wait for a permit
isn't charged to the deadline. `rooted` puts a folder of the store outermost, so that every layer below speaks
of the store's own keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shoso.core.keys import Key
from shoso.core.store import Store
from shoso.layers.check import Check
from shoso.layers.ledger import Book, Ledger
from shoso.layers.limits import Limits
from shoso.layers.observe import Observe, Sink, log
from shoso.layers.prefix import PrefixLayer
from shoso.layers.retry import RetryLayer, RetryPolicy


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the standard stack is; how long a store may be silent it says itself (`info.silence`).

    Without a `book`, there is no ledger, and an object has the digest that its store keeps, if any.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    sink: Sink = log
    book: Book | None = None


def standard(store: Store, policy: Policy | None = None) -> Store:
    """The store as everybody but its own tests uses it."""
    chosen = policy or Policy()
    watched = Observe(RetryLayer(Limits(store, store.info.silence), chosen.retry), chosen.sink)
    return Check(watched if chosen.book is None else Ledger(watched, chosen.book))


def rooted(store: Store, root: Key) -> Store:
    """The store seen from one of its folders."""
    return PrefixLayer(store, root) if root else store
