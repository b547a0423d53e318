"""Fixtures: ``comfyui``, the real one out of the cache, and ``program``, a manager for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from manager.launcher.ownership import closed_to_others
from tests.support.hostile_house import Program, program_for_all
from tests.support.real_comfyui import Install, default_home


@pytest.fixture(scope="session")
def comfyui() -> Install:
    install = Install(default_home())
    if not install.is_ready:
        pytest.fail("no real ComfyUI here; run ./start_manager.sh test --real, which installs one")
    return install


@pytest.fixture(scope="session")
def comfyui_for_all(comfyui: Install) -> Install:
    """Give it where every account may run it, as levels with accounts of their own need it."""
    for path in (comfyui.source, comfyui.python):
        closed = closed_to_others(path)
        if closed is not None:
            pytest.fail(
                f"other accounts may not pass {closed}, so not every level can be tried on {path}; "
                "leave out COMFYUI_TEST_HOME and COMFYUI_TEST_PYTHON, or name places open to all"
            )
    return comfyui


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    with program_for_all() as made:
        yield made
