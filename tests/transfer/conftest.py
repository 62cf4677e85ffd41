"""For every test of the engine."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def unsynced(monkeypatch):
    """Nobody pulls the plug here, and a slow disk is no test."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
