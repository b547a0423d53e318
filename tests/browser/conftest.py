"""Fixtures of the browser tests.

manager     a real manager of its own for each test, with the demo in place of ComfyUI
people      makes a ``Person`` with an own browser profile; all are closed at the end
language    ``zh_CN`` and ``en``, for tests that ask for it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Person
from tests.support.server import ManagerProcess

PICTURES = Path(__file__).resolve().parent.parent.parent / "data" / "test-pictures"

Settings = dict[str, str]


@pytest.fixture
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ManagerProcess]:
    """Start a manager; ``@pytest.mark.parametrize("manager", [{...}], indirect=True)`` sets it."""
    settings: Settings = {"COMFYUI_ARGS": "--demo-slow-start 1", **getattr(request, "param", {})}
    rows = int(settings.pop("rows", "2"))
    with ManagerProcess(tmp_path / "manager", rows=rows, settings=settings) as running:
        yield running


@pytest.fixture(params=["zh_CN", "en"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def people(
    browser: Browser, manager: ManagerProcess, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Person]]:
    everybody: list[Person] = []

    def make(language: str = "en", **context: Any) -> Person:
        everybody.append(Person(browser, manager, language, **context))
        return everybody[-1]

    failed_before = request.session.testsfailed
    yield make
    for number, person in enumerate(everybody):
        if request.session.testsfailed > failed_before:
            person.screenshot(PICTURES / f"{request.node.name}-{number}.png")
        person.context.close()
