"""What many tests begin with: a house in which nothing runs, and the server's time zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.records import User
from tests.support.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house as it is with all settings at their defaults."""
    built = House(tmp_path)
    yield built
    built.close()


@pytest.fixture
def ann(house: House) -> User:
    """Somebody with a port of her own."""
    return house.user("ann", 8001)


@pytest.fixture
def shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the server's local time be China's."""
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
