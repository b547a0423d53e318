"""When the manager makes a backup by itself, what comes of one that fails, and who is told."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

import pytest

from manager import settings as settings_module
from manager.backup import make, scheduled
from manager.backup.scheduled import FIRST_S, HOUR_S, RETRY_S, Scheduled
from manager.doctor.backups import backups
from manager.doctor.finding import OK, WARNING
from manager.settings import Settings
from manager.status import report, report_lines
from tests.support.stand_ins import Clock

NAMED = """
import pathlib, sys, time
where, number = pathlib.Path(sys.argv[1]), len(list(pathlib.Path(sys.argv[1]).iterdir()))
assert sys.argv[2:] == ["--keep", "7"], sys.argv
(where / f"comfyui-manager-20260101-00000{number}.tar.gz").write_text("a backup")
print("made")
"""


class Site:
    """A manager's backups, made by a small program, on clocks that are set."""

    def __init__(self, folder: Path, program: str = NAMED, **environ: str) -> None:
        self.settings: Settings = settings_module.load(
            {"COMFYUI_PATH": str(folder), **environ}, root=folder
        )
        self.settings.data_dir.mkdir(exist_ok=True)
        self.clock, self.monotonic = Clock(), Clock()
        self.clock.now = time.time()
        self.again(program)

    def again(self, program: str = NAMED) -> None:
        """Take the manager for a new one."""
        command = (sys.executable, "-c", program)
        self.backups = Scheduled(self.settings, command, self.clock, self.monotonic)

    def pass_time(self, seconds: float) -> int:
        """Look after so many seconds, and give how many backups there are."""
        self.clock.now += seconds
        self.monotonic.now += seconds
        before = self.made()
        self.backups.look()
        for path in self.made() - before:
            os.utime(path, (self.clock.now, self.clock.now))
        return len(self.made())

    def made(self) -> set[Path]:
        where = scheduled.folder(self.settings)
        return set(where.iterdir()) if where.exists() else set()

    def put(self, seconds_ago: float, where: Path | None = None) -> Path:
        folder = where or scheduled.folder(self.settings)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "comfyui-manager-20250101-000000.tar.gz"
        path.write_text("an older one")
        os.utime(path, (self.clock.now - seconds_ago,) * 2)
        return path


def test_the_first_comes_after_some_minutes_and_then_one_every_so_many_hours(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path, BACKUP_EVERY_HOURS="2")
    assert site.pass_time(FIRST_S - 1) == 0
    assert site.pass_time(1) == 1
    assert site.pass_time(2 * HOUR_S - 1) == 1
    assert site.pass_time(1) == 2
    site.again()
    assert site.pass_time(2 * HOUR_S - 1) == 2, "another manager knows of it"
    assert site.pass_time(1) == 3


def test_one_that_was_missed_is_made_at_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.put(25 * HOUR_S)
    assert site.pass_time(0) == 2
    assert site.pass_time(60) == 2


def test_a_clock_that_is_set_back_neither_stops_them_nor_makes_many(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.put(-1000 * HOUR_S)
    assert site.pass_time(23 * HOUR_S) == 1
    assert site.pass_time(HOUR_S) == 2
    assert site.pass_time(60) == 2
    assert site.pass_time(24 * HOUR_S) == 3


def test_none_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    site = Site(tmp_path, BACKUP_EVERY_HOURS="0")
    site.backups.run(site.backups._stop)
    assert site.made() == set()
    assert site.backups.problem == ""


def test_one_that_fails_says_why_is_tried_again_and_is_told_until_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path, "import sys; sys.exit('no room on the disk')")
    assert site.pass_time(FIRST_S) == 0
    assert site.backups.problem == "the command ended with 1: no room on the disk"
    assert "backup: none was made: " in caplog.text
    assert oct(scheduled.folder(site.settings).stat().st_mode)[-3:] == "700"
    count = len(caplog.records)
    site.pass_time(RETRY_S - 1)
    assert len(caplog.records) == count, "not tried in between"
    site.again()
    assert site.backups.problem.endswith("no room on the disk"), "the next manager knows of it"
    (found,) = backups(site.settings, running=True)
    assert (found.level, found.case) == (WARNING, "failing")
    assert "backup: none was made: " in "\n".join(report_lines(report(site.settings)))
    assert site.pass_time(FIRST_S) == 1
    assert site.backups.problem == ""
    assert not scheduled.record(site.settings).exists()
    (found,) = backups(site.settings, running=True)
    assert (found.level, found.case) == (OK, "ok")


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path)
    folder = scheduled.folder(site.settings)
    folder.parent.mkdir()
    folder.symlink_to(tmp_path / "a disk that is not mounted")
    site.pass_time(FIRST_S)
    assert "File exists" in site.backups.problem


def test_one_under_way_ends_with_the_manager_and_is_no_failure(tmp_path: Path) -> None:
    tidies = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "draft = pathlib.Path(sys.argv[1]) / '.draft'\n"
        "draft.touch()\n"
        "try:\n    time.sleep(600)\nfinally:\n    draft.unlink()\n"
    )
    site = Site(tmp_path, tidies)

    class Later:
        """Has the manager end as soon as the command works."""

        def is_set(self) -> bool:
            there = (scheduled.folder(site.settings) / ".draft").exists()
            if there:
                site.backups.end()
            return there

    site.backups._tools._stopping = Later().is_set
    site.pass_time(FIRST_S)
    assert site.made() == set(), "it had time to tidy up"
    assert site.backups.problem == ""


def test_status_and_doctor_say_how_old_the_newest_is(tmp_path: Path) -> None:
    site = Site(tmp_path, BACKUP_EVERY_HOURS="24")

    def cases(running: bool = True) -> list[tuple[str, str]]:
        return [(one.level, one.case) for one in backups(site.settings, running=running)]

    assert "backup: none yet" in report_lines(report(site.settings))
    assert cases() == [(OK, "none_yet")]
    path = site.put(30 * HOUR_S)
    told = report(site.settings)
    assert told["backup"]["path"] == str(path)
    assert any(
        line.startswith("backup: ") and f"30 h ago: {path}" in line for line in report_lines(told)
    )
    assert cases() == [(OK, "ok")]
    site.put(49 * HOUR_S)
    assert cases() == [(WARNING, "old")]
    assert cases(running=False) == [(OK, "ok")], "nobody makes any while nothing runs"


def test_without_a_schedule_those_made_by_hand_count(tmp_path: Path) -> None:
    site = Site(tmp_path, BACKUP_EVERY_HOURS="0")
    assert [one.case for one in backups(site.settings, running=True)] == ["none"]
    assert not any(line.startswith("backup") for line in report_lines(report(site.settings)))
    site.put(HOUR_S, site.settings.data_dir / make.FOLDER)
    assert [one.case for one in backups(site.settings, running=True)] == ["by_hand"]
    asked = dataclasses.replace(site.settings, backup_every_hours=24)
    assert [one.case for one in backups(asked, running=True)] == ["ok"]
