"""Old files taken away: the real sweeper over real folders, beside code that plays tricks."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.disk import sweeper
from manager.records import OPERATOR, User
from manager.retention import KEEP_DAYS, SWEEPER, Retention
from tests.support.client import first_admin, new_user
from tests.support.house import House
from tests.support.looked import looked
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.integration

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has other people's files")
DAY = 86_400.0
SIZE = 20_000
STRANGER = 54_321


def file(path: Path, size: int = SIZE, owner: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    if owner is not None:
        os.chown(path, owner, owner)
    return path


def sweep(workspace: Path, before: float, how: str = "apply", now: float = 0.0) -> dict[str, Any]:
    times = (before, now or time.time(), KEEP_DAYS * DAY)
    done = subprocess.run(
        [sys.executable, "-I", str(SWEEPER), str(workspace), *map(str, times), how],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def later() -> float:
    """Give a moment before which everything here was made."""
    return time.time() + DAY


def picture_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Describe all that is there, as a listing would."""
    return {
        str(path.relative_to(folder)): (s.st_ino, s.st_mtime_ns, s.st_mode)
        for path in sorted(folder.rglob("*"))
        for s in [path.lstat()]
    }


def test_old_files_go_and_what_is_not_a_file_of_his_stays(tmp_path: Path) -> None:
    mine, outside = tmp_path / "mine", tmp_path / "outside"
    old = [file(mine / "output" / "deep" / "old.png"), file(mine / "temp" / "preview.png")]
    kept = [
        *(file(mine / name / "kept") for name in ("input", "user", "home")),
        file(outside / "precious.png"),
    ]
    twice = file(mine / "output" / "twice.png")
    os.link(twice, mine / "output" / "again.png")
    (mine / "output" / "link.png").symlink_to(outside / "precious.png")
    (mine / "output" / "away").symlink_to(outside)
    os.mkfifo(mine / "output" / "pipe")
    told = sweep(mine, later())
    assert (told["files"], told["left"], told["complete"]) == (2, 0, True)
    assert told["bytes"] >= 2 * SIZE
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in [*kept, twice])
    for name in ("link.png", "away", "pipe", "again.png"):
        assert os.path.lexists(mine / "output" / name)
    (batch,) = (mine / "trash").iterdir()
    names = sorted(path.name.split("-", 1)[1] for path in batch.iterdir())
    assert names == ["output%2Fdeep%2Fold.png", "temp%2Fpreview.png"]


def test_what_was_touched_since_stays_also_with_an_old_time_in_it(tmp_path: Path) -> None:
    copied = file(tmp_path / "output" / "copied-with-its-time.png")
    os.utime(copied, (1.0, 1.0))
    assert sweep(tmp_path, time.time() - DAY)["files"] == 0
    assert copied.exists()


def test_a_dry_run_counts_the_same_and_changes_nothing(tmp_path: Path) -> None:
    for number in range(5):
        file(tmp_path / "output" / str(number) / "old.png")
    file(tmp_path / "trash" / "old-1000" / "1-output%2Fx.png")
    before = picture_of(tmp_path)
    dry = sweep(tmp_path, later(), "dry")
    assert picture_of(tmp_path) == before
    assert (dry["files"], dry["purged_files"]) == (5, 1)
    assert {**sweep(tmp_path, later())} == dry
    assert not (tmp_path / "trash" / "old-1000").exists()


def test_the_trash_is_emptied_after_a_week_and_of_nothing_else(tmp_path: Path) -> None:
    file(tmp_path / "output" / "old.png")
    now = time.time()
    sweep(tmp_path, later(), now=now)
    file(tmp_path / "trash" / f"{int(now)}-0123456789abcdef", 10)
    file(tmp_path / "trash" / "old-notes" / "his own")
    (tmp_path / "trash" / "old-7").symlink_to(tmp_path / "trash" / "old-notes")
    assert sweep(tmp_path, 0.0, now=now + 6 * DAY)["purged_files"] == 0
    told = sweep(tmp_path, 0.0, now=now + 8 * DAY)
    assert (told["purged_files"], told["files"]) == (1, 0)
    left = sorted(path.name for path in (tmp_path / "trash").iterdir())
    assert left == sorted([f"{int(now)}-0123456789abcdef", "old-7", "old-notes"])
    assert (tmp_path / "trash" / "old-notes" / "his own").exists()


def test_a_long_way_keeps_its_end_and_names_stay_apart(tmp_path: Path) -> None:
    deep = tmp_path / "output"
    for _ in range(10):
        deep /= "图" * 30
    file(deep / "picture.png")
    file(tmp_path / "output" / "a%2Fb.png")
    file(tmp_path / "output" / "a" / "b.png")
    assert sweep(tmp_path, later())["files"] == 3
    (batch,) = (tmp_path / "trash").iterdir()
    names = [path.name for path in batch.iterdir()]
    assert len(names) == 3
    assert sum(name.endswith("%2Fpicture.png") for name in names) == 1


@pytest.mark.parametrize("place", ["", "output", "temp", "trash"])
def test_a_link_in_a_folders_place_leads_nowhere(tmp_path: Path, place: str) -> None:
    victim = tmp_path / "victim"
    file(victim / "precious.png")
    file(victim / "output" / "precious.png")
    mine = tmp_path / "mine"
    file(tmp_path / "mine" / "input" / "x")
    (mine / place if place else tmp_path / "led").symlink_to(victim if place else mine)
    if place in {"", "trash"}:
        file(mine / "output" / "old.png")
    before = picture_of(victim)
    done = subprocess.run(
        [
            *(sys.executable, "-I", str(SWEEPER), str(mine if place else tmp_path / "led")),
            *(str(later()), str(time.time()), "1", "apply"),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode == 0) is (place in {"output", "temp"})
    assert picture_of(victim) == before


def test_a_race_with_links_never_leaves_the_workspace(tmp_path: Path) -> None:
    """Folders are swapped for links and back as fast as can be, while the sweeper is at work."""
    victim, mine = tmp_path / "victim", tmp_path / "mine"
    for number in range(40):
        file(victim / "sub" / f"{number}.png", 1)
        file(mine / "output" / "sub" / f"{number}.png", 1)
    before = picture_of(victim)
    over = threading.Event()

    def swap() -> None:
        real, link = mine / "output" / "sub", mine / "output" / "sub-link"
        link.symlink_to(victim / "sub")
        while not over.is_set():
            real.rename(mine / "real")
            link.rename(real)
            real.rename(link)
            (mine / "real").rename(real)

    thread = threading.Thread(target=swap, daemon=True)
    thread.start()
    try:
        for _ in range(8):
            sweep(mine, later())
    finally:
        over.set()
        thread.join(60)
    assert picture_of(victim) == before


@AS_ROOT
def test_files_of_others_stay_and_his_own_keep_their_owner(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    own = file(mine / "output" / "closed" / "own.png", owner=STRANGER)
    others = file(mine / "output" / "closed" / "others.png", owner=STRANGER + 1)
    for path in (own.parent, own.parent.parent, mine):
        os.chown(path, STRANGER, STRANGER)
    own.parent.chmod(0o700)
    assert sweep(mine, later())["files"] == 1
    assert others.exists()
    (batch,) = (mine / "trash").iterdir()
    (moved,) = batch.iterdir()
    # Another owner within would have the next start hand the whole workspace over once more.
    owners = {path.lstat().st_uid for path in (mine / "trash", batch, moved)}
    assert owners == {STRANGER}


@AS_ROOT
def test_it_sees_no_path_outside_and_keeps_one_right(tmp_path: Path) -> None:
    file(tmp_path / "mine" / "output" / "old.png")
    look = (
        "import os, sys; from manager.disk import sweeper; "
        "shut = sweeper.shut_in; fd = os.open('/proc/self/status', 0); "
        "sweeper.shut_in = lambda top: (shut(top), "
        "print(os.read(fd, 99999).decode(), os.listdir('/'), os.getresuid())); "
        "sweeper.Sweep.sweep = lambda *_: None; "
        "sweeper.main(sys.argv[1], 1.0, 2.0, 3.0, 'apply')"
    )
    said, own = looked(look, tmp_path / "mine")
    assert "['output', 'trash'] (65534, 65534, 65534)" in said
    assert int(own["CapEff"], 16) == int(own["CapPrm"], 16) == 1 << sweeper.MAY_CHANGE
    assert own["NoNewPrivs"] == "1"


class Site:
    """A house with users' folders, looked at some time later."""

    def __init__(self, tmp_path: Path) -> None:
        self.house = House(tmp_path)
        self.ann, self.bob = self.with_files("ann"), self.with_files("bob")
        self.touched: list[int] = []
        self.retention = Retention(
            self.house.settings,
            self.house.store,
            self.touched.append,
            clock=lambda: time.time() + 40 * DAY,
        )

    def with_files(self, name: str) -> User:
        user = self.house.user(name)
        workspace = f"{user.id}-{name}-ab"
        self.house.store.write(lambda t: t.users.set_workspace(user.id, workspace))
        file(self.folder(user, workspace) / "output" / "old.png")
        return user

    def folder(self, user: User, workspace: str | None = None) -> Path:
        name = workspace or f"{user.id}-{user.username}-ab"
        return self.house.settings.data_dir / "workspaces" / name

    def has(self, user: User) -> bool:
        return (self.folder(user) / "output" / "old.png").exists()

    def sweeps(self, *, apply: bool = True) -> dict[str, str]:
        found = self.retention.sweep(30, apply=apply, by=OPERATOR.username)
        return {one.user.username: one.skipped or str(one.files) for one in found}

    def audited(self) -> list[tuple[str, str]]:
        lines = self.house.store.read(lambda t: t.audit.latest(50))
        return [(one.actor, one.subject) for one in lines if one.action == "retention"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.house.close()


def test_who_works_is_left_alone_and_each_removal_is_one_line(site: Site) -> None:
    site.house.lifecycle.start(site.ann)
    before = picture_of(site.folder(site.ann))
    assert site.sweeps(apply=False) == {"ann": "runs", "bob": "1"}
    assert site.has(site.bob)
    assert site.audited() == []
    assert site.sweeps() == {"ann": "runs", "bob": "1"}
    assert picture_of(site.folder(site.ann)) == before
    assert not site.has(site.bob)
    assert site.audited() == [(OPERATOR.username, "bob")]
    assert site.touched == [site.bob.id]
    # Nothing more to do is nothing to say.
    assert site.sweeps() == {"ann": "runs", "bob": "0"}
    assert len(site.audited()) == 1


def test_whoever_starts_meanwhile_has_the_sweep_ended(site: Site) -> None:
    """The question is asked again while the sweeper runs, and it is killed."""
    for number in range(3000):
        file(site.folder(site.ann) / "output" / "many" / str(number), 1)
    began = threading.Event()
    retention = site.retention
    ask = retention._must_stop

    def asked() -> bool:
        if not began.is_set():
            began.set()
            site.house.lifecycle.start(site.ann)
        return ask()

    retention._tools._stopping = asked
    found = next(iter(retention.sweep(30, apply=True, by="manager")))
    assert found.skipped == "interrupted"
    assert site.audited() == [("manager", "ann")]
    retention._tools._stopping = ask


def test_the_daily_run_is_once_a_day_and_only_where_it_is_wanted(site: Site) -> None:
    # Off by default: the loop ends at once.
    site.retention.run(threading.Event())
    assert site.has(site.ann)
    day = time.localtime(time.time() + 60 * DAY)
    midnight = time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))
    clock = [midnight + 3.9 * 3600]
    settings = dataclasses.replace(site.house.settings, retention_days=30)
    daily = Retention(settings, site.house.store, clock=lambda: clock[0])
    daily.daily()
    assert site.has(site.ann)
    clock[0] = midnight + 5 * 3600
    daily.daily()
    assert not site.has(site.ann)
    assert site.audited() == [("manager", "bob"), ("manager", "ann")]
    file(site.folder(site.ann) / "output" / "old.png")
    clock[0] = midnight + 22 * 3600
    daily.daily()
    assert site.has(site.ann)
    clock[0] = midnight + 30 * 3600
    daily.daily()
    assert not site.has(site.ann)


def test_the_command_beside_a_manager_at_work(tmp_path: Path) -> None:
    manager = ManagerProcess(tmp_path / "house", rows=1)
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        nothing = manager.run("retention")
        assert nothing.returncode == 1
        assert "RETENTION_DAYS is 0" in nothing.stderr
        ann.start()
        ann.until_running()
        runs = manager.run("retention", "--days", "1", "--apply")
        assert runs.returncode == 0
        assert "ann: left alone: a ComfyUI of this user runs" in runs.stdout
        ann.stop()
        ann.until_gone()
        looked = manager.run("retention", "--days", "1")
        assert "ann: 0 files" in looked.stdout
        assert "nothing was changed" in looked.stdout
