"""A manager at work makes its backups by itself; what it made is put back into a fresh folder."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.client import ADMIN_PASSWORD, Client, first_admin, new_user
from tests.support.receiver import Receiver
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SETTINGS = {"BACKUP_EVERY_HOURS": "24", "BACKUP_KEEP": "2", "COMFYUI_ARGS": "--demo-zero-boot"}


def of(manager: ManagerProcess) -> Path:
    return manager.data_dir / "backups" / "scheduled"


def overdue(manager: ManagerProcess, *days_ago: int) -> list[Path]:
    """Put backups there that are so old that the next one is due."""
    made = []
    for days in days_ago:
        path = of(manager) / f"comfyui-manager-202601{30 - days:02}-000000.tar.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("an older one")
        os.utime(path, (time.time() - days * 86_400,) * 2)
        made.append(path)
    return made


def whole(manager: ManagerProcess, old: list[Path]) -> list[Path]:
    return [path for path in of(manager).glob("comfyui-*.tar.gz") if path not in old]


def test_a_missed_backup_is_made_at_once_beside_work_and_can_be_put_back(tmp_path: Path) -> None:
    first = ManagerProcess(tmp_path / "one", rows=1, settings=SETTINGS)
    with first, first_admin(first) as admin, new_user(admin, "ann"):
        pass
    old = overdue(first, 3, 2)
    by_hand = first.data_dir / "backups" / "comfyui-manager-20250101-000000.tar.gz"
    by_hand.write_text("made by an operator")
    with first, Client(first, "admin", ADMIN_PASSWORD):
        wait_until(lambda: whole(first, old), 60, "the backup")
        wait_until(lambda: "backup: " in first.log_path.read_text("utf-8"), 60, "it is in the log")
        (made,) = whole(first, old)
        told = json.loads(first.run("status", "--json").stdout)["backup"]
        assert told == {"every_hours": 24, "path": str(made), "at": told["at"], "problem": ""}
        assert "0 h ago" in first.run("status").stdout
        findings = json.loads(first.run("doctor", "--json", "--exit-zero").stdout)["findings"]
        assert next(one["case"] for one in findings if one["check"] == "backup") == "ok"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert [path.exists() for path in old] == [False, True], "the newest two stay"
    assert by_hand.exists(), "what an operator made is not the manager's to remove"
    with tarfile.open(made) as tar:
        assert not [name for name in tar.getnames() if name.startswith("workspaces")]

    other = ManagerProcess(tmp_path / "two", rows=1, settings=SETTINGS)
    assert other.run("restore", str(made)).returncode == 0
    with other, Client(other, "admin", ADMIN_PASSWORD) as again:
        users = {user["username"] for user in again.get("/api/admin/overview")["users"]}
        assert users == {"admin", "ann"}


def test_one_that_failed_is_told_by_webhook_also_by_the_next_manager(tmp_path: Path) -> None:
    manager = ManagerProcess(tmp_path / "one", rows=1, settings=SETTINGS)
    with Receiver() as receiver:
        hook = Path(manager.env["WEBHOOKS_FILE"])
        hook.write_text(f'[[hook]]\nkind = "generic"\nurl = "{receiver.url}"\n')
        hook.chmod(0o600)
        manager.data_dir.mkdir()
        failed = {"at": time.time(), "problem": "no room on the disk"}
        (manager.data_dir / "backup.json").write_text(json.dumps(failed))
        with manager, first_admin(manager):
            wait_until(lambda: receiver.heard, 60, "the message")
    (told,) = [one.told for one in receiver.heard]
    assert (told["event"], told["over"]) == ("backup_failed", False)
    assert "no room on the disk" in told["text"]
