"""Whose processes may be ended by account and by group: never a stranger's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from manager.launcher import account, cgroups, killer
from manager.launcher.groups import Groups
from manager.launcher.layers import layers_of
from manager.launcher.run_dir import RunDir

OURS = account.accounts(5000)
GROUP = "/sys/fs/cgroup/unified/comfyui-one"


def test_the_first_account_of_the_range_is_nobodys() -> None:
    assert 5000 not in OURS
    assert 5001 in OURS
    assert max(account.accounts(4_000_000_000)) < 2**32 - 2


@pytest.mark.parametrize("uid", [0, os.geteuid(), 1000, 5000, 5000 + account.COUNT, -1])
def test_no_account_outside_of_the_range_is_ever_ended(
    monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.setattr("manager.launcher.helper.run", lambda *_: pytest.fail("it was run"))
    with pytest.raises(ValueError, match="not the manager's"):
        account.end(uid, OURS)


def test_the_managers_own_account_and_root_are_not_ended_within_the_range_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 5001)
    monkeypatch.setattr(os, "getuid", lambda: 5002)
    found = [uid for uid in (0, 5001, 5002, 5003) if account.is_ours(uid, range(10_000))]
    assert found == [5003]
    assert not account.is_ours(None, OURS)
    assert not account.is_ours(True, range(10_000))


def test_nobody_is_killed_by_who_could_not_lay_down_every_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed: list[int] = []
    monkeypatch.setattr(killer, "become", lambda *_: False)
    monkeypatch.setattr(os, "kill", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(signal, "alarm", lambda _: None)
    assert killer.main(5001, 5000) == killer.NOT_SAFE
    assert killed == []


def test_a_process_has_the_accounts_that_the_kernel_says() -> None:
    assert account.uids_of(os.getpid()) == {os.getuid()}
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    # It has ended and only waits to be collected.
    assert account.uids_of(child.pid) == frozenset()
    child.communicate()
    assert account.uids_of(child.pid) == frozenset()


@pytest.mark.parametrize(
    "noted",
    [
        None,
        "no list",
        [1, None],
        ["/sys/fs/cgroup/unified"],
        ["/sys/fs/cgroup/unified/comfyui-two"],
        ["/tmp/comfyui-one"],
        ["/sys/fs/cgroup/../../../tmp/comfyui-one"],
    ],
)
def test_what_cannot_be_a_launchs_group_is_not_taken_for_one(noted: object) -> None:
    assert cgroups.of_launch("one", noted) == ()
    assert cgroups.of_launch("one", [*(noted if type(noted) is list else ()), GROUP]) == (
        Path(GROUP),
    )


def test_groups_that_are_gone_have_no_members_and_take_no_files(tmp_path: Path) -> None:
    gone = tmp_path / "comfyui-one"
    cgroups.end([gone])
    cgroups.remove([gone])
    assert cgroups.members([gone]) == []
    assert not cgroups.write([gone], "cgroup.kill", 1)
    assert not gone.exists()


def test_a_process_that_cannot_be_seen_from_here_is_never_signalled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Listed as 0, which kill(2) takes for the caller's own process group.
    (tmp_path / "cgroup.procs").write_text("0\n")
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("signalled"))
    assert cgroups.members([tmp_path]) == []
    cgroups._kill(tmp_path)


def test_a_limit_that_nothing_can_keep_is_an_error_and_leaves_no_group(tmp_path: Path) -> None:
    groups = Groups({"freezer": tmp_path})
    with pytest.raises(OSError, match="memory"):
        groups.make("one", memory_max=1 << 20)
    with pytest.raises(OSError, match="processes"):
        groups.make("one", processes_max=9)
    assert list(tmp_path.iterdir()) == []
    assert groups.make("one") == (tmp_path / "comfyui-one",)


def test_an_account_counts_only_where_no_other_launch_may_have_it(tmp_path: Path) -> None:
    run, other = RunDir(tmp_path / "one"), RunDir(tmp_path / "two")
    run.create({"uid": 5001, "groups": [GROUP]})
    assert layers_of(run, OURS).uid == 5001
    assert layers_of(run, OURS).groups == (Path(GROUP),)
    assert layers_of(run, account.accounts(7000)).uid is None
    other.create({"uid": 5001})
    assert layers_of(run, OURS).uid is None
    # Of an earlier boot, so nothing of it can live.
    (other.path / "record").write_text('{"boot_id": "earlier"}')
    assert layers_of(run, OURS).uid == 5001
    (other.path / "record").unlink()
    other.mark_gone()
    assert layers_of(run, OURS).uid == 5001
