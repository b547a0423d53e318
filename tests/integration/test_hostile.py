"""A hostile custom node at every level of isolation that works here, against what is claimed.

``guarded`` says for each level which attempts fail; the table in ``docs/security.md`` is rendered
from it (``venv/bin/python docs/render.py``), and here every cell is tried by a real manager, with
two users, on real processes. Outside of any isolation each attempt must succeed, or it would prove
nothing that it fails elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.render import guarded_table
from manager.launcher.guarded import ATTEMPTS, guarded
from manager.launcher.isolation import DIRECTORIES
from tests.support import hostile_house
from tests.support.hostile_house import Case, Program, cases, file_in_tmp, program_for_all
from tests.support.server import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ONLY_BY_ROOT = {"change_kernel"}
"""What nobody but root can do, outside of any isolation too."""

CASES = cases()
Outcomes = dict[Case, dict[str, bool]]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with program_for_all() as made:
        yield made


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return {}


@pytest.fixture
def tmp_file() -> Iterator[Path]:
    with file_in_tmp() as path:
        yield path


@pytest.mark.parametrize("root", sorted({case.root for case in CASES}))
def test_outside_of_any_isolation_every_attempt_succeeds(
    root: bool, program: Program, tmp_file: Path
) -> None:
    case = Case(DIRECTORIES, 0, root)
    with hostile_house.persons(program, case) as house:
        report = hostile_house.outside(program, case, house, tmp_file)
    failed = {name: why for name, why in report["outcomes"].items() if why[0] != "succeeded"}
    assert set(failed) == (set() if root else ONLY_BY_ROOT), failed
    assert set(report["outcomes"]) == set(ATTEMPTS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_is_claimed_is_so(
    case: Case, program: Program, tmp_file: Path, outcomes: Outcomes
) -> None:
    with hostile_house.persons(program, case) as house:
        report = hostile_house.attack(house, tmp_file)
    found = report["outcomes"]
    assert not [name for name, (word, _) in found.items() if word == "broken"], found
    assert report["requests"], "the node saw no request, so it could see no cookie"
    # A harmless node can still do what it needs.
    assert report["own_queue"] == 200
    outcomes[case] = {name: word == "blocked" for name, (word, _) in found.items()}
    claimed = guarded(case.level, case.landlock, case.root)
    wrong = {name: found[name] for name in ATTEMPTS if outcomes[case][name] != claimed[name]}
    assert not wrong, f"claimed otherwise at {case}: {wrong}"


def test_table_in_the_documents_is_what_came_out(
    outcomes: Outcomes, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *_table(outcomes), ""]))
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    assert guarded_table() in text, "run venv/bin/python docs/render.py"


def _table(outcomes: Outcomes) -> Iterator[str]:
    numbers = range(1, len(outcomes) + 1)
    yield f"{'':24}" + " ".join(f"{number:>2}" for number in numbers)
    for name in ATTEMPTS:
        yield f"{name:24}" + " ".join(" ●" if one[name] else " ○" for one in outcomes.values())
    for number, case in zip(numbers, outcomes, strict=True):
        yield f"{number:>2} {case}"
    yield "● it fails  ○ it works"
