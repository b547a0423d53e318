"""``users …`` as an operator types it, beside a manager at work and without one."""

from __future__ import annotations

import contextlib
import csv
import html
import io
import json
import os
import pty
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import websocket

from tests.integration.test_login_attack import found_by_the_filter
from tests.support.client import USER_PASSWORD, Client, first_admin, new_user
from tests.support.phone import Phone
from tests.support.server import LOOPBACK, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SETTINGS = {"COMFYUI_ARGS": "--demo-zero-boot", "STOP_TIMEOUT": "2"}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ManagerProcess]:
    made = ManagerProcess(tmp_path / "a folder with spaces", rows=1, settings=SETTINGS)
    yield made
    made.stop()


@dataclass(frozen=True)
class Scene:
    """A manager at work, with its admin."""

    manager: ManagerProcess
    admin: Client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("users") / "a folder with spaces"
    with (
        ManagerProcess(folder, rows=1, settings=SETTINGS) as manager,
        first_admin(manager) as admin,
    ):
        yield Scene(manager, admin)


def said(manager: ManagerProcess, *words: str, typed: str = "", code: int = 0) -> str:
    done = subprocess.run(
        [*manager.program, "users", *words],
        cwd="/",
        env=manager.env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def password_in(text: str) -> str:
    return text.rsplit("password: ", 1)[1].strip()


def logs_in(manager: ManagerProcess, username: str, password: str) -> bool:
    """Tell whether a password is taken; a new one must be set before anything else works."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Origin"] = manager.url
        page = session.get(f"{manager.url}/login", timeout=30).text
        token = page.split('name="csrf-token" content="')[1].split('"')[0]
        form = {"username": username, "password": password, "csrf_token": token}
        answer = session.post(f"{manager.url}/login", data=form, timeout=30)
        return answer.url.endswith("/password")


def test_a_lost_admin_password_is_replaced_with_nothing_running(manager: ManagerProcess) -> None:
    said(manager, "create", "bob", "--admin")
    made = password_in(said(manager, "reset-password", "admin"))
    given = said(manager, "reset-password", "bob", "--password-stdin", typed="piped in one\n")
    assert "piped in one" not in given
    easy = said(manager, "reset-password", "bob", "--password-stdin", typed="Passw0rd99\n", code=1)
    assert "tried first" in easy
    assert "Passw0rd99" not in easy
    said(manager, "create", "ann")
    type_a_password(manager, "ann", "typed by hand")
    with manager:
        assert not logs_in(manager, "admin", "admin123")
        assert logs_in(manager, "admin", made)
        assert logs_in(manager, "bob", "piped in one")
        assert logs_in(manager, "ann", "typed by hand")


def test_a_lost_phone_is_taken_off_an_account(scene: Scene) -> None:
    manager = scene.manager
    with new_user(scene.admin, "phone", None) as owner:
        phone = turns_two_step_login_on(owner)
        told = {user["username"]: user for user in json.loads(said(manager, "list", "--json"))}
        assert told["phone"]["second_factor"]
        assert "must_set_second_factor" not in told["phone"]
        assert "active, second factor" in said(manager, "list")
        assert code_asked_for(manager, phone.wrong_code()).status_code == 401
        assert "login refused from 127.0.0.1 (code)" in manager.log_path.read_text("utf-8")
        assert found_by_the_filter(manager.log_path)[-1] == LOOPBACK
        assert code_asked_for(manager, phone.code()).url == f"{manager.url}/"
        assert "password alone" in said(manager, "reset-second-factor", "phone")
        assert owner.ask("GET", "/api/user/state").status_code == 200
        assert not owner.state()["user"]["second_factor"]
        Client(manager, "phone", USER_PASSWORD)
    assert "no second factor" in said(manager, "reset-second-factor", "phone", code=1)
    assert "no user nobody" in said(manager, "reset-second-factor", "nobody", code=1)
    audit = sqlite3.connect(manager.env["DATABASE_PATH"]).execute(
        "SELECT actor FROM audit WHERE action = 'second_factor_reset' AND subject = 'phone'"
    )
    assert [*audit] == [("command line",)]


def sends(client: Client, path: str, **form: str) -> requests.Response:
    """Send a form as the page does."""
    url = f"{client.manager.url}{path}"
    return client.session.post(url, data=form, timeout=30)


def turns_two_step_login_on(client: Client) -> Phone:
    """Turn it on at the pages, without a script."""
    page = sends(client, "/account/second-factor/begin", password=USER_PASSWORD)
    found = re.search(r'href="(otpauth://[^"]+)"', page.text)
    assert found
    phone = Phone(html.unescape(found[1]))
    done = sends(client, "/account/second-factor/confirm", code=phone.code())
    assert done.text.count("<textarea") == 1
    return phone


def code_asked_for(manager: ManagerProcess, code: str) -> requests.Response:
    """Log in with password and code, in a browser of its own; give what the code led to."""
    with Client(manager, "phone", USER_PASSWORD, half_way=True) as browser:
        return sends(browser, "/login/code", code=code)


def test_accounts_before_the_first_start(manager: ManagerProcess) -> None:
    said(manager, "create", "ann", "--port", str(manager.ports[0]))
    users = {user["username"]: user for user in json.loads(said(manager, "list", "--json"))}
    assert set(users) == {"admin", "ann"}
    assert users["ann"]["assigned_port"] == manager.ports[0]
    assert "must change the password" in said(manager, "list")
    assert manager.env["DATABASE_PATH"]
    assert Path(manager.env["DATABASE_PATH"]).stat().st_mode & 0o777 == 0o600


def test_a_reset_password_ends_sessions_and_tells_open_pages(scene: Scene) -> None:
    manager = scene.manager
    with new_user(scene.admin, "ann", None) as ann, open_page(manager, ann) as page:
        made = password_in(said(manager, "reset-password", "ann"))
        assert ann.ask("GET", "/api/user/state").status_code == 401
        wait_until(lambda: closed(page), what="the open page's connection is closed")
    assert logs_in(manager, "ann", made)
    assert scene.admin.ask("GET", "/api/user/state").status_code == 200


def test_a_disabled_account_loses_its_instance_until_it_is_enabled(scene: Scene) -> None:
    manager = scene.manager
    with new_user(scene.admin, "bob", None) as bob:
        bob.start()
        said(manager, "disable", "bob")
        assert bob.ask("GET", "/api/user/state").status_code == 401

        def idle() -> bool:
            (port,) = scene.admin.get("/api/admin/overview")["ports"]
            return bool(port["state"] == "idle")

        wait_until(idle, what="its instance is ended")
    assert not logs_in(manager, "bob", USER_PASSWORD)
    assert "enabled" in said(manager, "enable", "bob")
    audit = sqlite3.connect(manager.env["DATABASE_PATH"]).execute(
        "SELECT action, subject FROM audit WHERE actor = 'command line'"
    )
    assert [*audit].count(("user_changed", "bob")) == 2


def test_the_last_admin_stays(manager: ManagerProcess) -> None:
    assert "the last admin must stay" in said(manager, "disable", "admin", code=1)


def test_a_table_goes_in_and_out(manager: ManagerProcess, tmp_path: Path) -> None:
    table = tmp_path / "staff.csv"
    table.write_text("username,is_admin\nann,no\nbob,yes\n", encoding="utf-8-sig")
    made = list(csv.reader(io.StringIO(said(manager, "import", str(table)))))
    assert [row[0] for row in made] == ["username", "ann", "bob"]
    again = tmp_path / "again.csv"
    said(manager, "export", str(again))
    assert again.read_text(encoding="utf-8").splitlines()[1:] == [
        "admin,true,,true",
        "ann,false,,true",
        "bob,true,,true",
    ]
    assert "File exists" in said(manager, "export", str(again), code=1)
    assert "is there already" in said(manager, "import", str(table), code=1)
    said(manager, "import", "-", "--update", typed=said(manager, "export"))


def test_a_database_of_another_version_under_a_running_manager_is_left_alone(
    scene: Scene,
) -> None:
    connection = sqlite3.connect(scene.manager.env["DATABASE_PATH"], isolation_level=None)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.execute(f"PRAGMA user_version = {version - 1}")
    assert "another version" in said(scene.manager, "list", code=1)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def type_a_password(manager: ManagerProcess, username: str, password: str) -> None:
    """Set a password at a terminal, and see that it is not shown there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*manager.program, "users", "reset-password", username, "--ask"],
        env=manager.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = ""
    for question in ("New password: ", "Once more: "):
        while not shown.endswith(question):
            shown += os.read(ours, 1024).decode()
        os.write(ours, f"{password}\n".encode())
    with contextlib.suppress(OSError):  # the terminal's end
        while True:
            shown += os.read(ours, 1024).decode()
    assert process.wait(60) == 0, shown
    os.close(ours)
    assert password not in shown
    assert "has another password" in shown


@contextlib.contextmanager
def open_page(manager: ManagerProcess, client: Client) -> Iterator[websocket.WebSocket]:
    """Open what a page of this person keeps open, and read its first state."""
    cookies = "; ".join(f"{name}={value}" for name, value in client.session.cookies.items())
    page = websocket.create_connection(
        f"ws://127.0.0.1:{manager.port}/socket.io/?EIO=4&transport=websocket",
        cookie=cookies,
        origin=manager.url,
        timeout=20,
    )
    page.recv()
    page.send("40")
    while '"state"' not in str(page.recv()):
        pass
    yield page
    page.shutdown()


def closed(page: websocket.WebSocket) -> bool:
    """Read what comes, and tell whether the server has ended the connection."""
    try:
        message = page.recv()
    except websocket.WebSocketConnectionClosedException:
        return True
    # «41»: Socket.IO's own word for it.
    return message in {"", "41"} or str(message).startswith("41")
