"""The tree of errors: one class a kind, the builtin that users expect, a sentence."""

from __future__ import annotations

import pytest

from shoso.errors import ConfigError, Kind, Retry, ShosoError, StoreError, TrackingError, store_error

BUILTINS = {
    Kind.NOT_FOUND: FileNotFoundError,
    Kind.EXISTS: FileExistsError,
    Kind.FORBIDDEN: PermissionError,
    Kind.TIMEOUT: TimeoutError,
    Kind.UNAVAILABLE: ConnectionError,
}


@pytest.mark.parametrize("kind", Kind)
def test_an_error_is_what_users_expect_of_its_kind(kind):
    error = store_error(kind, "It failed.", retry=Retry.AFTER, retry_after=2.5, op="read", key="a", store="s")
    assert isinstance(error, StoreError)
    assert isinstance(error, ShosoError)
    assert isinstance(error, BUILTINS.get(kind, Exception))
    assert isinstance(error, OSError) is (kind in BUILTINS)
    assert (error.kind, error.retry, error.retry_after) == (kind, Retry.AFTER, 2.5)
    assert (error.op, error.key, error.store) == ("read", "a", "s")
    assert str(error) == error.message == "It failed."


@pytest.mark.parametrize("kind", Kind)
def test_nothing_is_tried_again_unless_it_says_so(kind):
    assert store_error(kind, "It failed.").retry is Retry.NEVER


def test_a_setting_is_named():
    error = ConfigError("--port", "isn't a number.")
    assert str(error) == "--port: isn't a number."
    assert (error.kind, error.setting) == (Kind.CONFIG, "--port")


def test_a_tracking_error_has_a_kind():
    assert TrackingError(Kind.NOT_FOUND, "No run.").kind is Kind.NOT_FOUND
