"""Fixtures: ``comfyui`` the cached real one, ``browser`` a Chromium for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.real_comfyui import Install, default_home
from tests.support.real_house import CHROMIUM, CHROMIUM_FLAGS


@pytest.fixture(scope="session")
def comfyui() -> Install:
    install = Install(default_home())
    if not install.is_ready:
        pytest.fail("no real ComfyUI here; run ./start_manager.sh test --real, which installs one")
    return install


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*CHROMIUM_FLAGS])
        yield chromium
        chromium.close()
