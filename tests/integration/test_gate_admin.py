"""Caddy's admin socket: it answers to the manager's secret alone, and that is told nowhere.

The asker here is code of the manager's own account, which may connect to the socket by its path.
"""

from __future__ import annotations

import contextlib
import http.client
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import identity
from manager.errors import GateFailed
from manager.gate import admin, caddyfile
from manager.gate.admin import Door
from manager.gate.gate import Gate, new_token
from manager.gate.program import find_program
from manager.gate.reload import reload
from manager.settings import Settings
from tests.support.gate import (
    echoes,
    knock,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

QUESTIONS = (
    *(("GET", "/config/"), ("GET", "/config/admin/origins"), ("GET", "/id/x"), ("GET", "/metrics")),
    *(("GET", "/debug/pprof/"), ("GET", "/debug/pprof/heap"), ("GET", "/debug/vars")),
    *(("GET", "/pki/ca/local"), ("GET", "/reverse_proxy/upstreams"), ("GET", "/")),
    *(("POST", "/load"), ("POST", "/adapt"), ("POST", "/stop"), ("DELETE", "/config/")),
    *(("PATCH", "/config/apps"), ("PUT", "/config/apps"), ("OPTIONS", "/config/")),
)
NOT_THE_SECRET = (
    *(None, "", "null", "http://localhost", "http://127.0.0.1", "^nobody^", "http://^nobody^"),
    *("http://%5Enobody%5E", "//^nobody^", "http://" + "x" * 32, "http://admin.sock", "*"),
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return project(tmp_path / "project")


def ask(socket: Path, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("localhost")
    connection.sock = admin.connect(socket, 20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def secret_of(settings: Settings) -> str:
    return (settings.data_dir / "caddy" / "admin_key").read_text().strip()


def old_file(settings: Settings) -> str:
    """Give the Caddyfile the first line of an earlier version, and a line of the operator."""
    text = settings.caddyfile.read_text()
    new = text[text.index(f"\t{caddyfile.ADMIN_LINES[0]}") : text.index("\tauto_https")]
    old = text.replace(new, f"\t{caddyfile.OLD_ADMIN_LINE}\n")
    for line in ("headers>Origin delete", "origins delete"):
        old = old.replace(f"\t\t\t\t{line}\n", "")
    return "# mine\n" + old


def test_nobody_is_answered_without_the_secret(settings: Settings) -> None:
    with running_gate(settings) as gate:
        socket = settings.data_dir / "caddy" / "admin.sock"
        pid = gate.watch().pid
        for method, path in QUESTIONS:
            for origin in NOT_THE_SECRET:
                for name in ("Origin", "Referer"):
                    headers = {} if origin is None else {name: origin}
                    assert ask(socket, method, path, headers) in {400, 403}, (method, path, origin)
            assert ask(socket, method, path, {"Host": secret_of(settings)}) == 403
        assert ask(socket, "GET", "/config/", {"Origin": f"http://{secret_of(settings)}"}) == 200
        assert gate.watch().pid == pid


def test_secret_is_private_and_told_nowhere(settings: Settings) -> None:
    with running_gate(settings) as gate:
        gate.apply({settings.ports[0].port: opening(settings.ports[0].port, new_token())})
        home, secret = settings.data_dir / "caddy", secret_of(settings)
        assert len(secret) == 32
        assert stat.S_IMODE((home / "admin_key").stat().st_mode) == 0o600
        assert ask(home / "admin.sock", "GET", "/config/", {"Origin": f"http://{secret}"}) == 200
        assert ask(home / "admin.sock", "GET", "/config/", {"Origin": f"http://{secret}:1"}) == 403
        assert "received request" in (home / "caddy.log").read_text()
        told = [settings.caddyfile, home / "caddy.log", Path(f"/proc/{gate.watch().pid}/cmdline")]
        for path in told:
            assert secret not in path.read_text()
        assert secret not in repr(Door(home / "admin.sock", secret))


@contextlib.contextmanager
def caddy_by_hand(settings: Settings) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run Caddy as a person at a terminal would; gives it and its admin socket."""
    (settings.data_dir / "caddy").mkdir(parents=True, exist_ok=True)
    socket = settings.data_dir / "caddy" / "admin.sock"
    words = [str(find_program("")), "run", "--config", "Caddyfile"]
    with (settings.data_dir / "log").open("wb") as log:
        child = subprocess.Popen(words, cwd=settings.caddyfile.parent, stdout=log, stderr=log)
    # A zombie would look as if it did not end when the manager ends it.
    reaper = threading.Thread(target=child.wait)
    reaper.start()
    try:
        wait_until(lambda: admin.listener(socket) == child.pid, what="Caddy listens")
        yield child, socket
    finally:
        child.kill()
        reaper.join()


@pytest.mark.parametrize("how", ["start", "run"])
def test_caddy_begun_by_hand_ends_at_once_and_takes_nothing_from_the_managers(
    settings: Settings, how: str
) -> None:
    row = settings.ports[0]
    opened = opening(row.port, new_token())
    key = {"Cookie": f"token_{row.port}={opened.token}"}
    with upstream(row.port), running_gate(settings) as gate:
        gate.apply({row.port: opened})
        words = [str(find_program("")), how, "--config", "Caddyfile"]
        log = settings.data_dir / "log"
        with log.open("wb") as out:
            done = subprocess.run(
                words,
                cwd=settings.caddyfile.parent,
                stdout=out,
                stderr=out,
                timeout=60,
                check=False,
            )
        assert done.returncode == 1
        assert "administration endpoint: not a directory" in log.read_text()
        assert knock(row.workspace_port, "/queue", key).status == 200
        gate.apply({})
        assert {knock(row.workspace_port, "/queue", key).status for _ in range(20)} == {403}


def test_an_older_caddy_begun_by_hand_is_ended_and_never_taken_over(settings: Settings) -> None:
    text = settings.caddyfile.read_text()
    earlier = text.replace(caddyfile.ADMIN_LINES[0], caddyfile.EARLIER_FIRST_LINE)
    settings.caddyfile.write_text(earlier)
    with caddy_by_hand(settings) as (child, socket):
        for origin in NOT_THE_SECRET:
            headers = {} if origin is None else {"Origin": origin}
            assert ask(socket, "GET", "/config/", headers) in {400, 403}, origin
        # It cannot be taken over, and two must not serve the same ports.
        with running_gate(settings) as gate:
            assert gate.watch().pid != child.pid
            assert identity.read(child.pid) is None
    now = settings.caddyfile.read_text()
    assert caddyfile.ADMIN_LINES[0] in now
    assert caddyfile.EARLIER_FIRST_LINE not in now


def test_lost_secret_costs_a_new_caddy_and_nothing_else(settings: Settings) -> None:
    first = Gate(settings)
    first.start()
    pid, lost = first.watch().pid, secret_of(settings)
    first.leave()
    (settings.data_dir / "caddy" / "admin_key").unlink()
    token = new_token()
    with running_gate(settings) as second:
        second.apply({settings.ports[0].port: opening(settings.ports[0].port, token)})
        assert second.watch().pid != pid
        assert identity.read(pid or 0) is None
        assert secret_of(settings) != lost
    assert not first.watch().running


def test_caddy_of_an_earlier_version_is_taken_over_without_a_connection_lost(
    settings: Settings,
) -> None:
    row = settings.ports[0]
    opened = opening(row.port, new_token())
    cookie = [("Cookie", f"token_{row.port}={opened.token}")]
    other = settings.ports[1]
    with upstream(row.port):
        with running_gate(settings) as today:
            today.apply({row.port: opened})
            settings.caddyfile.write_text(old_file(settings))
            kept = settings.caddyfile.read_text()
        settings.caddyfile.write_text(kept)
        with caddy_by_hand(settings) as (child, socket):
            wait_until(lambda: ask(socket, "GET", "/config/", {}) == 200, what="Caddy answers")
            held = open_websocket(row.workspace_port, "/ws", cookie)
            log = (settings.data_dir / "log").read_text()
            gate = Gate(settings)
            gate.start({row.port: opened})
            with contextlib.ExitStack() as after:
                after.callback(gate.stop)
                assert gate.watch().pid == child.pid
                assert ask(socket, "GET", "/config/", {}) == 403
                gate.apply({row.port: opened, other.port: opening(other.port, new_token())})
                text = settings.caddyfile.read_text()
                assert text.startswith("# mine\n")
                assert not caddyfile.is_old(text)
                assert gate.watch().pid == child.pid
                assert echoes(held)
                held.close()
            assert secret_of(settings) not in log + (settings.data_dir / "log").read_text()


def test_operators_own_lines_are_put_into_force(settings: Settings) -> None:
    row = settings.ports[0]
    mine = f"http://127.0.0.1:{free_port()} {{\n\trespond mine\n}}\n"
    with running_gate(settings) as gate:
        gate.apply({row.port: opening(row.port, new_token())})
        text = settings.caddyfile.read_text()
        settings.caddyfile.write_text(text + mine)
        reload(settings)
        assert knock(int(mine.split(":")[2].split()[0]), "/").status == 200
        assert knock(row.external_port, "/").status == 403
        settings.caddyfile.write_text(text + mine.replace("respond", "no-such-word"))
        with pytest.raises(GateFailed, match="Caddy refuses"):
            reload(settings)
        settings.caddyfile.write_text(old_file(settings))
        with pytest.raises(GateFailed, match="earlier version"):
            reload(settings)
        settings.caddyfile.write_text(text)
    with pytest.raises(GateFailed, match="does not answer"):
        reload(settings)
