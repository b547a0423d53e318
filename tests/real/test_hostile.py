"""A hostile custom node in the real ComfyUI, at every level of isolation.

The same node and the same claims as in ``tests/integration/test_hostile.py``, which also shows that
each attempt can succeed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.launcher import landlock
from manager.launcher.guarded import ATTEMPTS, COLUMNS, guarded
from tests.support import hostile_house
from tests.support.hostile_house import Case, Program, cases, file_in_tmp, why_no_box
from tests.support.real_comfyui import Install

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]


CASES = cases()


@pytest.fixture
def tmp_file() -> Iterator[Path]:
    with file_in_tmp() as path:
        yield path


@pytest.fixture
def settings(program: Program, comfyui_for_all: Install) -> dict[str, str]:
    paths = program.base / "extra_model_paths.yaml"
    paths.write_text(f"hostile:\n  base_path: {program.base}\n  custom_nodes: nodes\n")
    paths.chmod(0o644)
    return {
        "COMFYUI_PATH": str(comfyui_for_all.source),
        "COMFYUI_PYTHON": str(comfyui_for_all.python),
        "COMFYUI_ARGS": shlex.join([f"--extra-model-paths-config={paths}"]),
        "SHARED_READABLE": f"{program.hostile.parent}:{paths}",
        "START_TIMEOUT": str(int(hostile_house.PATIENCE_S)),
    }


def test_nothing_that_is_claimed_is_left_out() -> None:
    am_root = os.geteuid() == 0
    found = {(case.level, case.landlock > 0, case.root) for case in CASES}
    claimed = {(level, abi > 0, root) for level, abi, root in COLUMNS if am_root or not root}
    boxes = {root: why_no_box(root=root) for root in {am_root, False}}
    assert landlock.abi() > 0, "these tests need a kernel with Landlock"
    assert not claimed - found, f"bubblewrap, by root and by others: {boxes}"


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
