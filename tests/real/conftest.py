"""Fixtures: ``comfyui``, the real one out of the cache."""

from __future__ import annotations

import pytest

from tests.support.real_comfyui import Install, default_home


@pytest.fixture(scope="session")
def comfyui() -> Install:
    install = Install(default_home())
    if not install.is_ready:
        pytest.fail("no real ComfyUI here; run ./start_manager.sh test --real, which installs one")
    return install
