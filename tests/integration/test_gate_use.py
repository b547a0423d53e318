"""What a gate notes of its use: a person's doing, never an open tab, and no token."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.gate.gate import Gate, new_token
from tests.support.gate import (
    Upstream,
    knock,
    knock_websocket,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

LONG_AGO = 1_000_000.0


@dataclass
class Open:
    """An open gate, and what stands behind it."""

    gate: Gate
    behind: Upstream
    port: int
    workspace_port: int
    external_port: int
    token: str
    log: Path

    @property
    def cookie(self) -> list[tuple[str, str]]:
        return [("Cookie", f"token_{self.port}={self.token}")]

    @property
    def bearer(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.token}")]

    def forget(self) -> None:
        """Have the last use lie long ago."""
        os.utime(self.log, (LONG_AGO, LONG_AGO))

    def is_used(self) -> bool:
        return self.gate.last_use(self.port) != LONG_AGO


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Open]:
    of = project(tmp_path, rows=1)
    row, token = of.ports[0], new_token()
    with upstream(row.port) as behind, running_gate(of) as gate:
        gate.apply({row.port: opening(row.port, token, new_token())})
        log = of.data_dir / "caddy" / "use" / f"{row.port}.log"
        one = Open(gate, behind, row.port, row.workspace_port, row.external_port, token, log)
        one.forget()
        yield one


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/userdata/workflows%2Fa.json"),
        ("POST", "/upload/image"),
        ("POST", "/api/prompt"),
        ("DELETE", "/api/userdata/a"),
        ("GET", "/"),
        ("GET", "/api/view?filename=a.png"),
        ("GET", "/api/userdata/a.json"),
    ],
)
def test_what_a_person_does_in_the_workspace_is_noted(door: Open, method: str, path: str) -> None:
    assert knock(door.workspace_port, path, door.cookie, method).status == 200
    wait_until(door.is_used, what="the note of it")


def test_a_script_that_works_is_noted(door: Open) -> None:
    assert knock(door.external_port, "/prompt", door.bearer, "POST").status == 200
    wait_until(door.is_used, what="the note of the script")
    door.forget()
    path = f"/upload/image?token_{door.port}={door.token}"
    assert knock(door.external_port, path, method="POST").status == 200
    wait_until(door.is_used, what="the note of the other script")


def test_an_open_tab_a_poll_and_a_stranger_are_not_noted(door: Open) -> None:
    # The manager tries the link itself whenever a gate changes.
    assert knock(door.workspace_port, f"/?token_{door.port}={door.token}").status == 302
    tab = open_websocket(door.workspace_port, "/ws?clientId=a", door.cookie)
    tab.close()
    for path in ("/api/queue", "/assets/index.js", "/api/object_info", "/internal/logs", "/ws"):
        assert knock(door.workspace_port, path, door.cookie).status == 200
    assert knock(door.external_port, "/history", door.bearer).status == 200
    assert knock(door.workspace_port, "/api/prompt", method="POST").status == 403
    assert knock(door.workspace_port, "/").status == 403
    assert knock(door.external_port, "/prompt", method="POST").status == 403
    # A tab goes on knocking each second when its ComfyUI is gone.
    door.behind.kill()
    assert knock_websocket(door.workspace_port, "/ws?clientId=a", door.cookie) == 502
    # What is noted is noted in order: this one is the first that counts.
    assert knock(door.workspace_port, "/api/prompt", door.cookie, "POST").status == 502
    wait_until(door.is_used, what="the note of it")
    assert door.log.read_text().count("\n") == 1


def test_no_token_reaches_any_log(door: Open, caplog: pytest.LogCaptureFixture) -> None:
    query = f"token_{door.port}={door.token}"
    knock(door.workspace_port, f"/?{query}")
    knock(door.workspace_port, f"/?{query}&more", [("Referer", f"http://a/?{query}")], "POST")
    knock(door.workspace_port, f"/upload/image?{query}", door.cookie, "POST")
    knock(door.workspace_port, "/upload/image", door.cookie, "POST")
    knock(door.external_port, f"/prompt?{query}", method="POST")
    knock(door.external_port, "/prompt", door.bearer, "POST")
    door.behind.kill()
    knock(door.external_port, f"/prompt?{query}", door.bearer, method="POST")
    wait_until(lambda: door.log.read_text().count("\n") >= 4, what="the notes")
    for path in (door.log, door.log.parent.parent / "caddy.log"):
        text = path.read_text()
        assert door.token not in text, path
        assert "upload" not in text, path
    assert door.token not in caplog.text
    assert door.log.stat().st_mode & 0o777 == 0o600


def test_nobody_can_tell_without_caddy(door: Open) -> None:
    assert door.gate.last_use(door.port) == LONG_AGO
    door.gate.stop()
    assert door.gate.last_use(door.port) is None


def test_nothing_is_noted_where_it_is_not_asked_for(tmp_path: Path) -> None:
    of = project(tmp_path, rows=1, IDLE_SIGNALS="card")
    port = of.ports[0].port
    with upstream(port), running_gate(of) as gate:
        gate.apply({port: opening(port, new_token())})
        assert gate.last_use(port) is None
        assert not (of.data_dir / "caddy" / "use").exists()


def test_a_folder_that_caddy_cannot_quote_costs_the_notes_and_not_the_gate(tmp_path: Path) -> None:
    of = project(tmp_path / 'odd {"name"}', rows=1)
    row, token = of.ports[0], new_token()
    with upstream(row.port), running_gate(of) as gate:
        gate.apply({row.port: opening(row.port, token)})
        cookie = [("Cookie", f"token_{row.port}={token}")]
        assert knock(row.workspace_port, "/", cookie).status == 200
        assert gate.last_use(row.port) is None
