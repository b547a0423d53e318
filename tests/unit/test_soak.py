"""The soak's judge: what it must call lost, what not, and how it finds what grows."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from bench.soak.gauges import Sample, course, longest_life
from bench.soak.ledger import UNSEEN_S, Carried, Ledger
from bench.soak.people import job
from tests.support.server import ManagerProcess


class House:
    """A database, a folder of one user, and whoever reads both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.mine = self.data_dir / "workspaces" / "1-ann"
        (self.mine / "output").mkdir(parents=True)
        with sqlite3.connect(folder / "comfyui_manager.db") as database:
            database.execute("CREATE TABLE users (username, workspace)")
            database.execute("CREATE TABLE usage (launch_id, end_reason)")
            database.execute("INSERT INTO users VALUES ('ann', '1-ann')")
            database.execute("INSERT INTO usage VALUES ('run', 'died')")
        database.close()

    def picture(self, number: int = 1) -> None:
        (self.mine / "output" / f"soak0000001_{number:05}_.png").touch()

    def kept(self) -> None:
        line = json.dumps({"prompt": job("soak0000001", 1.0)})
        (self.mine / "unfinished-run.jsonl").write_text(line + "\n")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def _ledger(accepted_at: float = 100.0) -> Ledger:
    ledger = Ledger()
    ledger.accepted.append(Carried(accepted_at, "run", "ann", ledger.prefix()))
    return ledger


def _judge(ledger: Ledger, house: House) -> tuple[dict[str, int], int]:
    counts, lost = ledger.fates(cast("ManagerProcess", house))
    return dict(counts), len(lost)


@pytest.mark.parametrize(
    ("prepare", "fate"),
    [
        (lambda house: house.picture(), "picture"),
        (lambda house: (house.picture(), house.picture(2)), "made twice"),
        (lambda house: house.kept(), "kept"),
    ],
)
def test_a_prompt_that_is_somewhere_is_not_lost(
    house: House, prepare: Callable[[House], Any], fate: str
) -> None:
    prepare(house)
    assert _judge(_ledger(), house) == ({fate: 1}, 0)


def test_one_that_is_nowhere_is_lost_and_no_kill_long_after_excuses_it(house: House) -> None:
    ledger = _ledger()
    assert _judge(ledger, house) == ({"lost": 1}, 1)
    ledger.killed["run"] = 100.0 + UNSEEN_S + 1
    assert _judge(ledger, house) == ({"lost": 1}, 1)


def test_one_that_nobody_saw_before_a_kill_is_none_of_the_manager_s(house: House) -> None:
    ledger = _ledger()
    ledger.killed["run"] = 101.0
    assert _judge(ledger, house) == ({"unseen before a kill": 1}, 0)
    ledger.killed["run"] = 200.0
    ledger.unsure.append((100.0, 200.0))
    assert _judge(ledger, house) == ({"unseen before a kill": 1}, 0)


def test_a_slope_is_of_one_life_and_without_its_first_minute() -> None:
    looks = [
        Sample(float(at), {"manager": 1 if at < 100 else 2}, {"manager memory, MiB": value})
        for at, value in [(0, 1.0), (90, 900.0)]
        + [(100 + at, 50.0 + max(0, 60 - at) + at / 60) for at in range(0, 400, 5)]
    ]
    found = course(longest_life(looks, "manager"), "manager memory, MiB")
    assert found is not None
    assert found.slope == pytest.approx(60.0)
    assert found.late == pytest.approx(60.0)
    assert found.first == 51.0
