"""Twenty rounds of every way to outlive an end: nothing is left, and nobody else is hit."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from manager.launcher.local import LocalLauncher
from manager.launcher.protocol import Liveness
from manager.launcher.run_dir import RunDir
from tests.support.launcher import (
    TORTURE,
    alive,
    launching,
    noted,
    spec,
    unique,
    wait_gone,
    wait_log,
)
from tests.support.layers import left, open_folder, strangers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ROUNDS = 20
TREE = 45
"""Processes alive at once in a round, at least."""

WAYS = ("politely", "by force", "with a stopped supervisor")


def _round(launcher: LocalLauncher, runs: Path, folder: Path, number: int, way: str) -> int:
    launch_id = unique(f"torture{number}")
    pids = folder / f"pids-{number}-"
    launcher.start(spec(launch_id, folder, str(TORTURE), str(pids)))
    wait_log(launcher, launch_id, "ready")
    wait_until(lambda: len(alive(pids)) >= TREE, what="the whole tree")
    if way == "with a stopped supervisor":
        chief, _ = RunDir(runs / launch_id).identities()
        assert chief is not None
        os.kill(chief.pid, signal.SIGSTOP)
    launcher.stop(launch_id, force=way != "politely")
    report = wait_gone(launcher, launch_id)
    assert report.liveness is Liveness.GONE
    found = left(pids, launch_id)
    assert not found, f"round {number}, {way}: {found}"
    return len(noted(pids))


def test_twenty_rounds_leave_nothing_and_hit_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, chance = tmp_path / "runs", random.Random(20)
    seen = 0
    with (
        open_folder() as folder,
        launching(runs) as launcher,
        strangers(folder, unique("torture0")) as others,
    ):
        for number in range(ROUNDS):
            # Half of the stopped supervisors are never continued, but passed over.
            patience = chance.choice([0.0, 3.0])
            monkeypatch.setattr("manager.launcher.local.STUCK_AFTER_S", patience)
            seen += _round(launcher, runs, tmp_path, number, WAYS[number % len(WAYS)])
        hit = [child.pid for child in others if child.poll() is not None]
    with capsys.disabled():
        print(  # noqa: T201 - the count is what the test is for
            f"\ntorture: {ROUNDS} rounds, {seen} processes, 0 left, {len(hit)} strangers hit"
        )
    assert hit == []
