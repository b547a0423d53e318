"""Two managers as root with one range of accounts: the second never uses it while the first does.

Each may end all that runs under an account of its range, so the second would end the first one's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import psutil
import pytest

from manager.cli import EXIT_SETTINGS
from manager.launcher import account
from tests.support.client import first_admin, new_user
from tests.support.hostile_house import Program, program_for_all
from tests.support.server import END_S, ManagerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    assert os.geteuid() == 0, "own accounts need root; run these tests as root"
    with program_for_all() as made:
        yield made


def _manager(program: Program, name: str, **settings: str) -> ManagerProcess:
    folder = program.base / name
    folder.mkdir(mode=0o755)
    words = [str(program.python), str(program.source / "comfyui_manager.py")]
    settings = {"COMFYUI_ARGS": "--demo-zero-boot", **settings}
    return ManagerProcess(folder, settings=settings, program=words)


def _level(manager: ManagerProcess) -> str:
    """Say which level the newest start chose."""
    with manager:
        lines = manager.log_path.read_text(encoding="utf-8").splitlines()
        return [line.partition("isolation: ")[2] for line in lines if "isolation: " in line][-1]


def _refused(manager: ManagerProcess) -> str:
    """Start one that refuses; give what it said."""
    manager.env["ISOLATION"] = "user"
    manager.spawn()
    assert manager.process is not None
    assert manager.process.wait(END_S) == EXIT_SETTINGS
    assert manager.processes() == []
    manager.env["ISOLATION"] = "auto"
    return manager.told()


def _under(base: int) -> list[int]:
    ours = account.accounts(base)
    found = psutil.process_iter(["uids"])
    return [one.pid for one in found if one.info["uids"] and one.info["uids"].real in ours]


def test_a_range_is_used_by_one_manager_at_a_time(program: Program) -> None:
    first = _manager(program, "first", ISOLATION="user")
    base = int(first.env["ISOLATION_UID_BASE"])
    # They share all but one of their accounts.
    second = _manager(program, "second", ISOLATION_UID_BASE=str(base + 1))
    told = f"the manager of {first.data_dir} uses accounts"
    with first, first_admin(first) as admin, new_user(admin, "ann") as ann:
        ann.start()
        running = _under(base)
        assert running
        level = _level(second)
        assert level.startswith("directories")
        assert told in level
        assert told in _refused(second)
        # An instance outlives its manager, and its account stays its own.
        first.kill()
        assert _level(second).startswith("directories")
        assert told in _refused(second)
        assert _under(base) == running
        first.start()
        ann.until_running()
        assert _under(base) == running
    level = _level(second)
    assert not level.startswith("directories")
    assert told not in level
    # The range is the second one's no longer than that one lives, either.
    assert _level(first).startswith("user")
