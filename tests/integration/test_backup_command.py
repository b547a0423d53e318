"""A backup beside a manager at work, and what comes of it in another folder and in the same one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.client import ADMIN_PASSWORD, Client, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SETTINGS = {"COMFYUI_ARGS": "--demo-zero-boot", "STOP_TIMEOUT": "2"}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ManagerProcess]:
    made = ManagerProcess(tmp_path / "a folder with spaces", rows=2, settings=SETTINGS)
    yield made
    made.stop()


def with_settings(manager: ManagerProcess) -> Path:
    """Give a manager a settings file of its own."""
    path = manager.folder / "manager.toml"
    manager.env["MANAGER_CONFIG"] = str(path)
    path.write_text("IDLE_TIMEOUT = 1234\n")
    return path


def ok(manager: ManagerProcess, *words: str) -> str:
    done = manager.run(*words)
    assert done.returncode == 0, done
    return done.stdout


def test_what_was_backed_up_while_it_ran_works_in_a_fresh_folder(
    manager: ManagerProcess, tmp_path: Path
) -> None:
    with_settings(manager)
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        running = ann.start()
        ok(manager, "backup", str(tmp_path / "one.tar.gz"), "--workspaces")
        assert ann.state()["phase"] == "running"
        assert requests.get(running["workspace_url"], timeout=30).status_code == 200
        refused = manager.run("restore", str(tmp_path / "one.tar.gz"))
        assert refused.returncode == 1
        assert "stop first" in refused.stderr
        cookies = admin.session.cookies
    other = ManagerProcess(tmp_path / "another", rows=2, settings=SETTINGS)
    config = with_settings(other)
    config.write_text("")
    (other.folder / "Caddyfile").unlink()
    said = ok(other, "restore", str(tmp_path / "one.tar.gz"))
    assert f"{config}: restored" in said
    assert "before" in said
    assert "IDLE_TIMEOUT = 1234" in ok(other, "check")
    with other, Client(other, "admin", ADMIN_PASSWORD) as again:
        users = {user["username"] for user in again.get("/api/admin/overview")["users"]}
        assert users == {"admin", "ann"}
        assert all(port["state"] == "idle" for port in again.get("/api/admin/overview")["ports"])
        (session,) = again.get("/api/admin/usage")["sessions"]
        assert session["username"] == "ann"
        assert session["ended_at"] is not None
        # The same key signs cookies: it is the login that has ended.
        stale = requests.get(f"{other.url}/api/user/state", cookies=cookies, timeout=30)
        assert stale.status_code == 401
    assert len(list((other.data_dir / "workspaces").iterdir())) == 1


def test_what_still_runs_after_a_restore_is_shown_and_its_port_not_given_out(
    manager: ManagerProcess, tmp_path: Path
) -> None:
    with manager, first_admin(manager) as admin, new_user(admin, "ann") as ann:
        ok(manager, "backup", str(tmp_path / "one.tar.gz"))
        running = ann.start()
        before = running["workspace_url"]
        manager.kill()
        said = ok(manager, "restore", str(tmp_path / "one.tar.gz"))
        assert "still run" in said
        manager.start()
        wait_until(
            lambda: requests.get(before, timeout=30).status_code == 403,
            what="the link from before the restore is dead",
        )
        with Client(manager, "admin", ADMIN_PASSWORD) as again, new_user(again, "bob") as bob:
            (left,) = again.get("/api/admin/overview")["leftovers"]
            assert left["username"] == "ann"
            assert left["port"] == running["port"]
            assert bob.start()["port"] != running["port"]
            again.post(f"/api/admin/leftovers/{left['launch_id']}/stop")
            wait_until(
                lambda: not again.get("/api/admin/overview")["leftovers"], what="it is ended"
            )


def test_a_backup_without_a_manager_or_a_data_folder(manager: ManagerProcess) -> None:
    ok(manager, "users", "create", "ann")
    refused = manager.run("backup", str(manager.folder / "missing" / "one.tar.gz"))
    assert refused.returncode == 1
    assert "missing" in refused.stderr
    ok(manager, "backup", "--keep", "1")
    (made,) = (manager.data_dir / "backups").iterdir()
    assert made.name.startswith("comfyui-manager-")
