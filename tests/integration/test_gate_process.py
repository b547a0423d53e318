"""Caddy's process: begun, found again, brought back, ended. Real Caddy."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import identity
from manager.errors import AlreadyServing, GateFailed
from manager.gate import gate as gate_module
from manager.gate import probe
from manager.gate.gate import Gate, new_token
from manager.gate.program import find_program
from manager.gate.reload import reload
from manager.identity import Identity
from manager.settings import ROOT, Settings
from tests.support.gate import (
    echoes,
    knock,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return project(tmp_path / "project")


def opens(settings: Settings, port: int, token: str) -> bool:
    try:
        return knock(settings.row(port).workspace_port, f"/?token_{port}={token}").status == 302
    except ConnectionError:
        return False


def who_runs(gate: Gate) -> Identity:
    pid = gate.watch().pid
    assert pid is not None
    who = identity.read(pid)
    assert who is not None
    return who


@contextlib.contextmanager
def stranger_on(port: int) -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        yield sock


@contextlib.contextmanager
def fake_caddy(folder: Path, script: str) -> Iterator[str]:
    program = folder / "other-caddy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    yield str(program)


def elsewhere(settings: Settings, script: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has the same gates in a process of its own."""
    table = ",".join(
        f"{row.port}:{row.external_port}:{row.workspace_port}:{row.card}" for row in settings.ports
    )
    return subprocess.run(
        [sys.executable, "-c", script, str(settings.caddyfile.parent)],
        cwd=ROOT,
        env={**os.environ, "PORTS": table, "GATE_HOST": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def test_caddy_that_was_killed_comes_back_with_the_same_gates(settings: Settings) -> None:
    port, token = settings.ports[0].port, new_token()
    with running_gate(settings) as gate:
        gate.apply({port: opening(port, token)})
        first = who_runs(gate)
        identity.send(first, signal.SIGKILL)
        wait_until(lambda: not gate.watch().running, what="the end to be noticed")
        wait_until(lambda: gate.watch().running and opens(settings, port, token), what="return")
        assert who_runs(gate) != first
        wait_until(lambda: gate.watch().problem is None, what="the problem to be over")


def test_caddy_that_was_stopped_is_told_at_once_and_heals(settings: Settings) -> None:
    port, token = settings.ports[0].port, new_token()
    with running_gate(settings) as gate:
        caddy = who_runs(gate)
        identity.send(caddy, signal.SIGSTOP)
        try:
            wait_until(lambda: not gate.watch().running, what="the stop to be noticed")
            health = gate.watch()
            assert f"kill -CONT {caddy.pid}" in (health.problem or "")
            with pytest.raises(GateFailed, match="SIGSTOP"):
                gate.apply({port: opening(port, token)})
        finally:
            identity.send(caddy, signal.SIGCONT)
        wait_until(lambda: gate.watch().running, what="it goes on")
        gate.apply({port: opening(port, token)})
        assert opens(settings, port, token)
        assert gate.watch().problem is None
        assert who_runs(gate) == caddy


def test_ctrl_c_for_the_manager_is_not_one_for_caddy(settings: Settings) -> None:
    with running_gate(settings) as gate:
        caddy = who_runs(gate).pid
        assert os.getsid(caddy) == caddy != os.getsid(0)


def test_gate_closed_while_caddy_was_dead_stays_closed(settings: Settings) -> None:
    a, b = (row.port for row in settings.ports)
    tokens = {a: new_token(), b: new_token()}
    with running_gate(settings) as gate:
        gate.apply({port: opening(port, token) for port, token in tokens.items()})
        identity.send(who_runs(gate), signal.SIGKILL)
        gate.apply({b: opening(b, tokens[b])})
        assert gate.watch().running
        assert not opens(settings, a, tokens[a])
        assert opens(settings, b, tokens[b])


def test_closing_that_failed_is_done_when_caddy_comes_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "BACK_OFF_S", (0.1,))
    port, token = settings.ports[0].port, new_token()
    with running_gate(settings) as gate:
        gate.apply({port: opening(port, token)})
        good = settings.caddyfile.read_text()
        settings.caddyfile.write_text(good + "\nnonsense {\n\tnonsense\n}\n")
        with pytest.raises(GateFailed):
            gate.apply({})
        identity.send(who_runs(gate), signal.SIGKILL)
        problem = wait_until(lambda: gate.watch().problem, what="a problem to be told")
        settings.caddyfile.write_text(good)
        wait_until(lambda: gate.watch().running and not gate.watch().problem, what="return")
        assert problem
        assert not opens(settings, port, token)


def test_next_manager_takes_over_and_websockets_live_on(settings: Settings) -> None:
    a, b = settings.ports
    token = new_token()
    first = Gate(settings)
    first.start()
    first.apply({a.port: opening(a.port, token)})
    with upstream(a.port):
        sock = open_websocket(a.workspace_port, "/ws", [("Cookie", f"token_{a.port}={token}")])
        caddy = who_runs(first)
        first.leave()
        second = Gate(settings)
        second.start({a.port: opening(a.port, token)})
        try:
            assert who_runs(second) == caddy
            second.apply({a.port: opening(a.port, token), b.port: opening(b.port, new_token())})
            assert echoes(sock)
        finally:
            second.stop()
        sock.close()
    assert not identity.alive(caddy)
    assert not first.watch().running  # also reaps it


def test_caddy_is_found_by_its_socket_when_the_record_is_lost(settings: Settings) -> None:
    first = Gate(settings)
    first.start()
    caddy = who_runs(first)
    first.leave()
    (settings.data_dir / "caddy" / "caddy.json").unlink()
    with running_gate(settings) as second:
        assert who_runs(second) == caddy
    assert not first.watch().running


def test_caddy_that_does_not_answer_is_ended_by_its_record(settings: Settings) -> None:
    first = Gate(settings)
    first.start({settings.ports[0].port: opening(settings.ports[0].port, new_token())})
    caddy = who_runs(first)
    first.leave()
    (settings.data_dir / "caddy" / "admin.sock").unlink()
    with running_gate(settings) as second:
        assert who_runs(second) != caddy
        assert not identity.alive(caddy)
        assert second.unavailable == {}
    assert not first.watch().running


def test_record_that_names_a_stranger_harms_nobody(settings: Settings) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        found = identity.read(stranger.pid)
        assert found is not None
        home = settings.data_dir / "caddy"
        home.mkdir(parents=True)
        records: list[object] = [found.to_dict(), {"pid": []}, []]
        for record in (*records, {**found.to_dict(), "start_ticks": 1}):
            (home / "caddy.json").write_text(json.dumps(record))
            with running_gate(settings) as gate:
                assert who_runs(gate) != found
            assert identity.alive(found)
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_ends_a_caddy_that_a_killed_manager_left(settings: Settings) -> None:
    script = (
        "import sys; from pathlib import Path; from manager import settings;"
        "from manager.gate.gate import Gate, new_token;"
        "s = settings.load(root=Path(sys.argv[1]));"
        "from manager.gate.opening import Opening;"
        "g = Gate(s); g.start({s.ports[0].port: Opening(new_token(), upstream='127.0.0.1:1')});"
        "print(g.watch().pid, flush=True);"
        "import os; os._exit(9)"
    )
    done = elsewhere(settings, script)
    caddy = identity.read(int(done.stdout))
    assert caddy is not None
    Gate(settings).stop()
    assert not identity.alive(caddy)
    assert re.search("token_[0-9]", settings.caddyfile.read_text()) is None


def test_two_managers_do_not_share_a_data_directory(settings: Settings) -> None:
    with running_gate(settings) as gate:
        caddy = who_runs(gate)
        for disturb in (Gate(settings).start, Gate(settings).stop):
            with pytest.raises(AlreadyServing):
                disturb()
        assert identity.alive(caddy)


def test_taken_port_is_named_and_the_other_gates_work(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "LOOK_AGAIN_S", 0.1)
    a, b = settings.ports
    tokens = {a.port: new_token(), b.port: new_token()}
    with stranger_on(a.external_port) as stranger, running_gate(settings) as gate:
        unserved = gate.apply({port: opening(port, token) for port, token in tokens.items()})
        assert list(unserved) == [a.port]
        assert f"gate port {a.external_port} is taken" in unserved[a.port]
        assert f"pid {os.getpid()}" in unserved[a.port]
        assert "PORTS" in unserved[a.port]
        assert gate.unavailable == unserved
        assert gate.watch().problem == unserved[a.port]
        assert opens(settings, b.port, tokens[b.port])
        stranger.close()
        wait_until(lambda: not gate.watch().problem and not gate.unavailable, what="healing")
        wait_until(lambda: opens(settings, a.port, tokens[a.port]), what="the gate to open")


def test_port_taken_at_the_last_moment_stops_only_its_own_row(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = settings.ports
    monkeypatch.setattr(probe, "is_free", lambda *_args: True)
    with stranger_on(a.workspace_port), running_gate(settings) as gate:
        assert list(gate.unavailable) == [a.port]
        token = new_token()
        assert gate.apply({b.port: opening(b.port, token)}) == {}
        assert opens(settings, b.port, token)
        # The same while Caddy runs: the row is tried again and is still taken.
        assert gate._live.freed()
        token = new_token()
        assert gate.apply({b.port: opening(b.port, token)}) == {}
        assert list(gate.unavailable) == [a.port]
        assert opens(settings, b.port, token)


def test_missing_caddy_says_what_to_do(settings: Settings, tmp_path: Path) -> None:
    of = project(tmp_path / "other", CADDY_PATH=str(tmp_path / "nowhere"))
    gate = Gate(of)
    with pytest.raises(GateFailed, match="CADDY_PATH"):
        gate.start()
    health = gate.watch()
    assert not health.running
    assert "CADDY_PATH" in (health.problem or "")
    gate.stop()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 2.6.2", "needed is 2.8 or newer"),
        ("echo v2.7.6 h1:abc", "needed is 2.8 or newer"),
        ("echo hello", "does not tell its version"),
        ("exit 3", "does not tell its version"),
    ],
)
def test_unusable_caddy_is_refused(tmp_path: Path, script: str, words: str) -> None:
    with fake_caddy(tmp_path, script) as program:
        gate = Gate(project(tmp_path / "project", CADDY_PATH=program))
        with pytest.raises(GateFailed, match=words):
            gate.start()
        gate.stop()


def test_operators_own_caddy_is_used(tmp_path: Path) -> None:
    own = tmp_path / "bin" / "my-own-server"
    own.parent.mkdir()
    own.symlink_to(find_program(""))
    with running_gate(project(tmp_path / "project", CADDY_PATH=str(own))) as gate:
        words = Path(f"/proc/{who_runs(gate).pid}/cmdline").read_bytes().split(b"\0")
        assert words[0] == str(own).encode()


def test_broken_caddyfile_at_the_start_is_told_and_healed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "BACK_OFF_S", (0.1,))
    good = settings.caddyfile.read_text()
    settings.caddyfile.write_text(good + "\n:1 {\n\trespnd\n}\n")
    gate = Gate(settings)
    with pytest.raises(GateFailed, match="respnd"):
        gate.start()
    assert "respnd" in (gate.watch().problem or "")
    settings.caddyfile.write_text(good)
    wait_until(lambda: gate.watch().running and not gate.watch().problem, what="healing")
    gate.stop()


def test_missing_caddyfile_is_made_from_the_shipped_one(settings: Settings) -> None:
    settings.caddyfile.unlink()
    token = new_token()
    with running_gate(settings) as gate:
        gate.apply({settings.ports[0].port: opening(settings.ports[0].port, token)})
        assert token in settings.caddyfile.read_text()


def test_long_folder_names_are_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    of = project(folder, rows=1)
    token = new_token()
    with running_gate(of) as gate:
        gate.apply({of.ports[0].port: opening(of.ports[0].port, token)})
        assert opens(of, of.ports[0].port, token)


def test_data_directory_elsewhere(tmp_path: Path) -> None:
    of = project(tmp_path / "project", rows=1, DATA_DIR=str(tmp_path / "elsewhere" / "d"))
    with running_gate(of) as gate:
        gate.apply({of.ports[0].port: opening(of.ports[0].port, new_token())})
        reload(of)


def test_unusable_data_directory_is_told_and_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "BACK_OFF_S", (0.1,))
    (tmp_path / "file").write_text("")
    gate = Gate(project(tmp_path / "project", DATA_DIR=str(tmp_path / "file" / "data")))
    with pytest.raises(GateFailed, match="cannot be used"):
        gate.start()
    assert "cannot be used" in (gate.watch().problem or "")
    (tmp_path / "file").unlink()
    wait_until(lambda: gate.watch().running and not gate.watch().problem, what="healing")
    gate.stop()


def test_same_behaviour_under_eventlet(settings: Settings) -> None:
    """The whole round in a process of its own, patched before anything else is imported."""
    script = (
        "from manager import runtime; runtime.setup('eventlet')\n"
        "import signal, sys, threading, time; from pathlib import Path\n"
        "from manager import identity, settings; from manager.gate.gate import Gate, new_token\n"
        "from manager.gate.opening import Opening\n"
        "s = settings.load(root=Path(sys.argv[1])); g = Gate(s); g.start()\n"
        "ports = [row.port for row in s.ports]\n"
        "def opened(): return Opening(new_token(), upstream='127.0.0.1:1')\n"
        "jobs = [threading.Thread(target=g.apply, args=({p: opened()},))\n"
        "        for p in ports * 3]\n"
        "[job.start() for job in jobs]; [job.join() for job in jobs]\n"
        "identity.send(identity.read(g.watch().pid), signal.SIGKILL)\n"
        "deadline = time.monotonic() + 20\n"
        "while not g.watch().running and time.monotonic() < deadline: time.sleep(0.05)\n"
        "g.apply({ports[0]: Opening(new_token(), upstream='127.0.0.1:1')}); pid = g.watch().pid\n"
        "g.stop(); assert identity.read(pid) is None; print('done')\n"
    )
    done = elsewhere(settings, script)
    assert done.stdout.endswith("done\n"), done.stderr
