"""Every error Shoso raises on purpose.

    ShosoError                 kind, message
    ├── ConfigError            a setting, what is wrong with it and the fix
    ├── TrackingError          the metadata's: a run, an experiment, a filter
    └── StoreError             retry, op, key, store, cause
        ├── NotFound           also FileNotFoundError
        ├── Exists             also FileExistsError
        ├── Forbidden          also PermissionError
        ├── TimedOut           also TimeoutError
        └── Unavailable        also ConnectionError

`kind` says what happened, `retry` whether the same call may succeed later; whoever translates a foreign
exception decides both, once. `shoso.wire.faults` turns a kind into an HTTP status.
"""

from __future__ import annotations

import enum


class Kind(enum.Enum):
    """What happened, in one closed vocabulary for every package and for the wire."""

    NOT_FOUND = "not_found"
    EXISTS = "exists"
    CHANGED = "changed"
    RANGE = "range"
    INVALID_KEY = "invalid_key"
    UNSUPPORTED = "unsupported"
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    CORRUPT = "corrupt"
    NO_SPACE = "no_space"
    CONFIG = "config"
    UNEXPECTED = "unexpected"
    # The kinds below arise above the stores: in the metadata and on the wire.
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    INCOMPLETE = "incomplete"
    TOO_LARGE = "too_large"
    NO_ROUTE = "no_route"
    WRONG_METHOD = "wrong_method"

    @property
    def error_code(self) -> str:
        """MLflow's name for it; several kinds may share one."""
        return _ERROR_CODES[self]


_ERROR_CODES = {
    Kind.INVALID: "INVALID_PARAMETER_VALUE",
    Kind.INVALID_KEY: "INVALID_PARAMETER_VALUE",
    Kind.INCOMPLETE: "BAD_REQUEST",
    Kind.DUPLICATE: "RESOURCE_ALREADY_EXISTS",
    Kind.REJECTED: "BAD_REQUEST",
    Kind.UNAUTHENTICATED: "UNAUTHENTICATED",
    Kind.FORBIDDEN: "PERMISSION_DENIED",
    Kind.NOT_FOUND: "RESOURCE_DOES_NOT_EXIST",
    Kind.NO_ROUTE: "ENDPOINT_NOT_FOUND",
    Kind.WRONG_METHOD: "BAD_REQUEST",
    Kind.EXISTS: "RESOURCE_CONFLICT",
    Kind.CHANGED: "ABORTED",
    Kind.TOO_LARGE: "INVALID_PARAMETER_VALUE",
    Kind.RANGE: "INVALID_PARAMETER_VALUE",
    Kind.CORRUPT: "DATA_LOSS",
    Kind.CONFIG: "INVALID_STATE",
    Kind.THROTTLED: "REQUEST_LIMIT_EXCEEDED",
    Kind.UNEXPECTED: "INTERNAL_ERROR",
    Kind.UNSUPPORTED: "NOT_IMPLEMENTED",
    Kind.UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    Kind.TIMEOUT: "DEADLINE_EXCEEDED",
    Kind.NO_SPACE: "RESOURCE_EXHAUSTED",
}


class Retry(enum.Enum):
    """Whether the same call may succeed later; EXHAUSTED stops an outer retry from multiplying."""

    NEVER = "never"
    SOON = "soon"
    AFTER = "after"
    EXHAUSTED = "exhausted"


class ShosoError(Exception):
    """The root: a kind and a sentence that says what to change."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    @property
    def error_code(self) -> str:
        """MLflow's name for the kind, as its exceptions have it."""
        return self.kind.error_code

    def __str__(self) -> str:
        return self.message


class ConfigError(ShosoError):
    """A setting that can't be used; the message names it and the fix."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(Kind.CONFIG, f"{setting}: {message}")
        self.setting = setting


class TrackingError(ShosoError):
    """A metadata call that can't be carried out: kind and the sentence the client is shown."""


class StoreError(ShosoError):
    """A store call that failed.

    `op` is the verb, `key` the object, `store` a name safe to show (never a credential), `retry_after`
    seconds where the far end named them. Construct it through `store_error`, which picks the subclass.
    """

    def __init__(
        self,
        kind: Kind,
        message: str,
        *,
        retry: Retry = Retry.NEVER,
        retry_after: float | None = None,
        op: str = "",
        key: str = "",
        store: str = "",
    ) -> None:
        super().__init__(kind, message)
        self.retry = retry
        self.retry_after = retry_after
        self.op = op
        self.key = key
        self.store = store


class NotFound(StoreError, FileNotFoundError):
    """No object, upload or bucket of that name."""


class Exists(StoreError, FileExistsError):
    """Something of that name is there already."""


class Forbidden(StoreError, PermissionError):
    """The store, or the policy in front of it, says no."""


class TimedOut(StoreError, TimeoutError):
    """No answer within the deadline."""


class Unavailable(StoreError, ConnectionError):
    """The store can't be reached now."""


_SUBCLASS: dict[Kind, type[StoreError]] = {
    Kind.NOT_FOUND: NotFound,
    Kind.EXISTS: Exists,
    Kind.FORBIDDEN: Forbidden,
    Kind.TIMEOUT: TimedOut,
    Kind.UNAVAILABLE: Unavailable,
}


def store_error(
    kind: Kind,
    message: str,
    *,
    retry: Retry = Retry.NEVER,
    retry_after: float | None = None,
    op: str = "",
    key: str = "",
    store: str = "",
) -> StoreError:
    """The StoreError of that kind, as the subclass that carries the builtin users expect."""
    cls = _SUBCLASS.get(kind, StoreError)
    return cls(kind, message, retry=retry, retry_after=retry_after, op=op, key=key, store=store)
