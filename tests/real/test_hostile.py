"""A hostile custom node in the real ComfyUI, at every level of isolation that works here.

The same node and the same claims as in ``tests/integration/test_hostile.py``, which also shows that
each attempt can succeed.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.launcher.guarded import ATTEMPTS, guarded
from manager.launcher.isolation import USER
from manager.launcher.ownership import closed_to_others
from tests.support import hostile_house
from tests.support.hostile_house import Case, Program, cases, file_in_tmp, program_for_all
from tests.support.real_comfyui import Install, default_home

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]


def _reachable(case: Case) -> bool:
    """Tell whether the account of an instance may pass the folders on the way to ComfyUI."""
    if case.level != USER and case.account is None:
        return True
    return closed_to_others(Install(default_home()).folder) is None


CASES = [case for case in cases() if _reachable(case)]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with program_for_all() as made:
        yield made


@pytest.fixture
def tmp_file() -> Iterator[Path]:
    with file_in_tmp() as path:
        yield path


@pytest.fixture
def settings(program: Program, comfyui: Install) -> dict[str, str]:
    paths = program.base / "extra_model_paths.yaml"
    paths.write_text(f"hostile:\n  base_path: {program.base}\n  custom_nodes: nodes\n")
    paths.chmod(0o644)
    return {
        "COMFYUI_PATH": str(comfyui.source),
        "COMFYUI_PYTHON": str(comfyui.python),
        "COMFYUI_ARGS": shlex.join([f"--extra-model-paths-config={paths}"]),
        "SHARED_READABLE": f"{program.hostile.parent}:{paths}",
        "START_TIMEOUT": str(int(hostile_house.PATIENCE_S)),
    }


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_claimed_is_so(
    case: Case, program: Program, tmp_file: Path, settings: dict[str, str]
) -> None:
    with hostile_house.persons(program, case, **settings) as house:
        report = hostile_house.attack(house, tmp_file)
    found = report["outcomes"]
    assert not [name for name, (word, _) in found.items() if word == "broken"], found
    assert report["requests"], "the node saw no request, so it could see no cookie"
    assert report["own_queue"] == 200
    claimed = guarded(case.level, case.landlock, case.root)
    wrong = {
        name: found[name] for name in ATTEMPTS if (found[name][0] == "blocked") != claimed[name]
    }
    assert not wrong, f"claimed otherwise at {case}: {wrong}"
