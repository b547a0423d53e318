"""Choosing and keeping a level of isolation: real trials, real managers, real limits."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from manager import settings as settings_module
from manager.errors import SettingsError
from manager.launcher import groups, isolation, landlock, trial
from manager.launcher.groups import Groups
from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER, Isolation
from manager.launcher.trial import Host
from tests.support import hostile_house
from tests.support.accounts import OwnRange
from tests.support.client import Client, Workspace, first_admin, new_user
from tests.support.demo import IMAGE
from tests.support.hostile_house import Case, Program, program_for_all
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

GLUTTON = """
import threading, time
def eat():
    time.sleep(2)
    held = []
    while True:
        held.append(bytearray(b"x") * (16 << 20))
threading.Thread(target=eat, daemon=True).start()
NODE_CLASS_MAPPINGS = {}
"""


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "own accounts need root; run these tests as root"
    assert landlock.abi() > 0, "these tests need a kernel with Landlock"


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    with program_for_all() as made:
        yield made


@pytest.fixture
def folder(program: Program) -> Path:
    """Give a folder that other accounts may pass, unlike pytest's own."""
    made = program.base / f"trial-{len(list(program.base.iterdir()))}"
    made.mkdir(mode=0o755)
    return made


@pytest.fixture
def host(program: Program) -> Host:
    return Host(root=True, python=str(program.python), needed=(program.source,))


def _choose(folder: Path, host: Host, **environ: str) -> Isolation:
    own = OwnRange()
    environ = {"ISOLATION_UID_BASE": str(own.base), **environ}
    settings = settings_module.load(environ, root=folder)
    settings.data_dir.mkdir(exist_ok=True)
    before = set(psutil.pids())
    try:
        return trial.choose(settings, host, (settings.data_dir,))
    finally:
        assert not list((settings.data_dir / "runs").glob("*")), "a trial left its launch"
        assert not list(settings.data_dir.glob("workspaces/*")), "a trial left its folder"
        left = [one for one in psutil.process_iter(["cmdline"]) if one.pid not in before]
        assert not [one for one in left if str(folder) in " ".join(one.info["cmdline"] or ())]


def test_auto_takes_the_highest_that_works(folder: Path, host: Host) -> None:
    found = _choose(folder, host)
    assert (found.level, found.landlock, found.refused) == (SANDBOX, landlock.abi(), {})
    assert found.node().layers[:2] == ("supervisor", "account")


@pytest.mark.parametrize("level", [DIRECTORIES, USER, SANDBOX])
def test_each_level_works_when_it_is_asked_for(folder: Path, host: Host, level: str) -> None:
    assert _choose(folder, host, ISOLATION=level).level == level


def test_a_sandbox_that_fails_is_passed_over_or_refused(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = folder / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    found = _choose(folder, host)
    assert found.level == USER
    assert "No permissions" in found.refused[SANDBOX]
    with pytest.raises(SettingsError, match=r"ISOLATION = sandbox .*No permissions"):
        _choose(folder, host, ISOLATION=SANDBOX)
    broken.unlink()
    with pytest.raises(SettingsError, match="apt install bubblewrap"):
        _choose(folder, host, ISOLATION=SANDBOX)


def test_a_folder_closed_to_others_is_named(folder: Path, host: Host, program: Program) -> None:
    closed = folder / "closed"
    closed.mkdir()
    (closed / "main.py").touch()
    closed.chmod(0o700)
    with pytest.raises(SettingsError, match=f"chmod o\\+x {closed}"):
        _choose(folder, dataclasses.replace(host, needed=(closed,)), ISOLATION=USER)
    # The sandbox is made by root, which shows what it was told to.
    closed.chmod(0o755)
    assert _choose(folder, dataclasses.replace(host, needed=(closed,)), ISOLATION=USER)


def test_own_accounts_need_root(folder: Path, host: Host) -> None:
    with pytest.raises(SettingsError, match="need a manager"):
        _choose(folder, dataclasses.replace(host, root=False), ISOLATION=USER)


def test_accounts_of_others_are_never_taken(folder: Path, host: Host) -> None:
    found = _choose(folder, host, ISOLATION_UID_BASE="1000")
    assert found.level == DIRECTORIES
    assert "65534 (nobody)" in found.refused[USER]
    assert "65534 (nobody)" in found.refused[SANDBOX]


def test_on_ascend_the_sandbox_is_only_taken_when_asked_for(folder: Path, host: Host) -> None:
    ascend = dataclasses.replace(host, no_sandbox="not by itself on Ascend")
    found = _choose(folder, ascend)
    assert (found.level, found.refused[SANDBOX]) == (USER, "not by itself on Ascend")
    assert _choose(folder, ascend, ISOLATION=SANDBOX).level == SANDBOX


def test_landlock_can_be_left_out(folder: Path, host: Host) -> None:
    found = _choose(folder, host, LANDLOCK="off", ISOLATION=USER)
    assert (found.landlock, found.refused) == (0, {"landlock": "LANDLOCK = off"})


def test_a_hole_in_the_wall_is_found_by_the_trial(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "visible", lambda *_, **__: (Path("/"),))
    found = _choose(folder, host, ISOLATION=DIRECTORIES)
    assert (found.landlock, found.refused) == (
        0,
        {"landlock": "it can read what belongs to the manager"},
    )


def test_a_python_that_hangs_does_not_hold_up_the_manager(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = folder / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(trial, "TRIAL_S", 0.3)
    stuck = dataclasses.replace(host, python=str(hanging))
    with pytest.raises(SettingsError, match="nothing came of it"):
        _choose(folder, stuck, ISOLATION=USER)


def test_where_nothing_works_the_starts_complain_at_the_highest_level(
    folder: Path, host: Host
) -> None:
    broken = dataclasses.replace(host, python="/bin/false")
    found = _choose(folder, broken)
    # The highest all the same: what is mended meanwhile is to run with no less than there can be.
    assert found.level == SANDBOX
    assert set(found.refused) == {SANDBOX, USER, DIRECTORIES}


@pytest.mark.parametrize("name", ["INSTANCE_MEMORY_MAX", "INSTANCE_PROCESSES_MAX"])
def test_a_limit_that_cannot_be_kept_is_refused(
    folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(groups, "find", Groups)
    with pytest.raises(SettingsError, match=f"{name} = 100 cannot be kept"):
        _choose(folder, host, ISOLATION=DIRECTORIES, **{name: "100"})


@pytest.mark.parametrize("shared", [".", "data", "data/workspaces"])
def test_what_is_the_managers_is_never_shared_for_writing(
    folder: Path, host: Host, shared: str
) -> None:
    with pytest.raises(SettingsError, match="SHARED_WRITABLE"):
        _choose(folder, host, SHARED_WRITABLE=str(folder / shared))


def test_an_unusable_data_directory_is_never_a_reason_for_less_isolation(
    folder: Path, host: Host
) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "workspaces").write_text("in the way")
    settings = settings_module.load({}, root=folder)
    with pytest.raises(SettingsError, match="DATA_DIR"):
        trial.choose(settings, host, (settings.data_dir,))


def _manager(program: Program, folder: Path, **settings: str) -> ManagerProcess:
    words = [str(program.python), str(program.source / "comfyui_manager.py")]
    settings = {"COMFYUI_ARGS": "--demo-zero-boot", **settings}
    return ManagerProcess(folder, settings=settings, program=words)


def _again(manager: ManagerProcess) -> None:
    manager.kill()
    manager.start()


def _main_pid(manager: ManagerProcess, port: int) -> int:
    for meta in manager.data_dir.glob("runs/*/meta"):
        if json.loads(meta.read_text())["port"] == port:
            pid: int = json.loads((meta.parent / "record").read_text())["child"][0]
            return pid
    raise AssertionError(f"no launch for port {port}")


def _draw(person: Client) -> None:
    state = person.start()
    work = Workspace(state["workspace_url"])
    try:
        assert work.post("/prompt", {"prompt": IMAGE}).ok
    finally:
        work.close()


def _pictures(manager: ManagerProcess) -> list[Path]:
    return sorted(manager.data_dir.glob("workspaces/*-ann-*/output/*.png"))


def test_a_users_files_stay_his_whatever_the_level(program: Program, folder: Path) -> None:
    manager = _manager(program, folder, ISOLATION=USER)
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        account = int(manager.env["ISOLATION_UID_BASE"]) + ann.state()["user"]["id"]
        for count, level in enumerate((USER, DIRECTORIES, SANDBOX, USER, SANDBOX), 1):
            if count > 1:
                manager.env["ISOLATION"] = level
                _again(manager)
            _draw(ann)
            wait_until(lambda n=count: len(_pictures(manager)) == n, 30, "one more picture")  # type: ignore[misc]
            owners = {path.stat().st_uid for path in _pictures(manager)}
            assert owners == {0 if level == DIRECTORIES else account}, level
            ann.post("/api/user/stop")
            ann.until_gone()


@pytest.mark.parametrize(
    ("before", "after"), [(SANDBOX, DIRECTORIES), (USER, SANDBOX), (DIRECTORIES, USER)]
)
def test_what_runs_is_taken_over_at_another_level(
    program: Program, folder: Path, before: str, after: str
) -> None:
    manager = _manager(program, folder, ISOLATION=before)
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        running = ann.start()
        pid = _main_pid(manager, running["port"])
        manager.env["ISOLATION"] = after
        _again(manager)
        again = ann.until_running()
        assert again["workspace_url"] == running["workspace_url"]
        assert _main_pid(manager, running["port"]) == pid
        ann.post("/api/user/stop")
        ann.until_gone()
        assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("root", [True, False])
def test_work_in_a_sandbox_outlives_its_supervisor_and_is_ended_all_the_same(
    program: Program, root: bool
) -> None:
    with hostile_house.persons(program, Case(SANDBOX, landlock.abi(), root)) as house:
        run = house.run_dir(house.ports[1])
        record = json.loads((run / "record").read_text())
        os.kill(record["supervisor"][0], signal.SIGKILL)
        wait_until(lambda: house.victor.state()["instance"]["fault"], 30, "the loss is seen")
        assert house.gate.get("/queue").ok
        assert house.victor.state()["phase"] == "running"
        house.victor.post("/api/user/stop")
        house.victor.until_gone()
        assert not psutil.pid_exists(record["child"][0])


def test_who_takes_too_much_memory_is_ended_alone(program: Program, folder: Path) -> None:
    node = folder / "glutton"
    node.mkdir()
    (node / "__init__.py").write_text(GLUTTON)
    limited = {"INSTANCE_MEMORY_MAX": "400", "SHARED_READABLE": str(node)}
    manager = _manager(program, folder, **limited)
    with manager, first_admin(manager) as admin, new_user(admin, "ben") as ben:
        ben.start()
        manager.env["COMFYUI_ARGS"] = f"--demo-zero-boot --demo-custom-node={node}"
        _again(manager)
        with new_user(admin, "ann") as ann:
            ann.start()
            state = ann.until_gone()
            assert state["last_usage"]["fault_kind"] == "out_of_memory"
            assert ben.state()["phase"] == "running"
