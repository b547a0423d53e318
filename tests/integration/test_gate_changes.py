"""What a change of one gate does to the others, to the file, and when it fails. Real Caddy."""

from __future__ import annotations

import logging
import re
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.errors import GateFailed
from manager.gate import admin, probe
from manager.gate.caddyfile import ADMIN_LINES, Draft, split
from manager.gate.gate import Gate, new_token
from manager.gate.program import find_program
from manager.gate.reload import reload
from manager.gate.render import Look, read_templates, render
from manager.settings import ROOT, Settings, load
from tests.support.gate import (
    echoes,
    is_cut,
    knock,
    knock_websocket,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)
from tests.support.ports import free_port

pytestmark = pytest.mark.integration

SOCKETS = 50
CHANGES = 50
CADDY = find_program("")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return project(tmp_path / "project")


@pytest.fixture
def gate(settings: Settings) -> Iterator[Gate]:
    with running_gate(settings) as gate:
        yield gate


def cookie(port: int, token: str) -> list[tuple[str, str]]:
    return [("Cookie", f"token_{port}={token}")]


def is_open(settings: Settings, port: int, token: str) -> bool:
    row = settings.row(port)
    status = knock(row.workspace_port, f"/?token_{port}={token}").status
    assert status in {302, 403}
    return status == 302


def command(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(CADDY), *words],
        cwd=settings.caddyfile.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_others_websockets_survive_every_change_and_end_with_their_own_gate(
    settings: Settings, gate: Gate
) -> None:
    a, b = settings.ports
    token = new_token()
    with upstream(a.port) as behind_a, upstream(b.port):
        gate.apply({a.port: opening(a.port, token)})
        sockets = [
            open_websocket(a.workspace_port, "/ws", cookie(a.port, token)) for _ in range(SOCKETS)
        ]
        for _ in range(CHANGES):
            other = new_token()
            gate.apply({a.port: opening(a.port, token), b.port: opening(b.port, other)})
            assert knock(b.workspace_port, "/", cookie(b.port, other)).status == 200
            gate.apply({a.port: opening(a.port, token)})
            assert knock(b.workspace_port, "/", cookie(b.port, other)).status == 403
        assert [echoes(sock) for sock in sockets] == [True] * SOCKETS

        other = new_token()
        gate.apply({a.port: opening(a.port, token), b.port: opening(b.port, other)})
        kept = open_websocket(b.workspace_port, "/ws", cookie(b.port, other))
        gate.apply({b.port: opening(b.port, other)})
        behind_a.kill()
        assert [is_cut(sock) for sock in sockets] == [True] * SOCKETS
        assert echoes(kept)
        for sock in [*sockets, kept]:
            sock.close()


def test_old_token_is_worthless_after_a_change(settings: Settings, gate: Gate) -> None:
    row = settings.ports[0]
    old, new = new_token(), new_token()
    gate.apply({row.port: opening(row.port, old)})
    gate.apply({row.port: opening(row.port, new)})
    with upstream(row.port) as behind:
        bearer = [("Authorization", f"Bearer {old}")]
        assert not is_open(settings, row.port, old)
        assert knock(row.workspace_port, "/", cookie(row.port, old)).status == 403
        assert knock_websocket(row.workspace_port, "/ws", cookie(row.port, old)) == 403
        assert knock(row.external_port, "/", bearer).status == 403
        assert knock(row.external_port, f"/?token_{row.port}={old}").status == 403
        assert behind.seen == []
    assert is_open(settings, row.port, new)


def test_all_closed_file_is_the_shipped_one(tmp_path: Path) -> None:
    of = project(tmp_path, rows=1)
    with running_gate(of) as gate:
        closed = of.caddyfile.read_bytes()
        gate.apply({of.ports[0].port: opening(of.ports[0].port, new_token())})
        assert of.caddyfile.read_bytes() != closed
        gate.apply({})
        assert of.caddyfile.read_bytes() == closed
        gate.apply({of.ports[0].port: opening(of.ports[0].port, new_token())})
    assert of.caddyfile.read_bytes() == closed


def test_default_table_is_closed_to_the_shipped_bytes(tmp_path: Path) -> None:
    of = load({}, root=tmp_path)
    look = Look(of.gate_host, of.manager_port, cookie_secure=False)
    shipped = (ROOT / "Caddyfile").read_text()
    block = render(of.ports, {8001: opening(8001, new_token())}, look, read_templates())
    of.caddyfile.write_text(split(shipped, of.caddyfile).around(block))
    Gate(of).stop()
    assert of.caddyfile.read_bytes() == shipped.encode()


def test_manager_killed_between_load_and_file_is_healed_by_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (row.port for row in settings.ports)
    old, new = new_token(), new_token()
    first = Gate(settings)
    first.start({a: opening(a, old)})

    def killed(_draft: Draft) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Draft, "put", killed)
        patch.setattr(Draft, "drop", lambda _draft: None)
        with pytest.raises(KeyboardInterrupt):
            first.apply({b: opening(b, new)})
    assert is_open(settings, b, new)
    assert old in settings.caddyfile.read_text()
    first.leave()
    second = Gate(settings)
    second.start({b: opening(b, new)})
    text = settings.caddyfile.read_text()
    assert (is_open(settings, a, old), is_open(settings, b, new)) == (False, True)
    assert (old in text, new in text) == (False, True)
    assert not list(settings.caddyfile.parent.glob(".*"))
    second.stop()
    assert not first.watch().running  # also reaps it


def test_file_shows_open_gates_tokens_to_its_owner_alone(settings: Settings, gate: Gate) -> None:
    tokens = {row.port: new_token() for row in settings.ports}
    gate.apply({port: opening(port, token, new_token()) for port, token in tokens.items()})
    lines = [line for line in settings.caddyfile.read_text().splitlines() if "token_" in line]
    for port, token in tokens.items():
        assert [line for line in lines if f"token_{port}={token}" in line]
    assert stat.S_IMODE(settings.caddyfile.stat().st_mode) == 0o600
    gate.apply({})
    assert re.search("token_[0-9]", settings.caddyfile.read_text()) is None


def test_only_the_owner_reaches_caddys_admin_interface(settings: Settings, gate: Gate) -> None:
    gate.apply({settings.ports[0].port: opening(settings.ports[0].port, new_token())})
    home = settings.data_dir / "caddy"
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "admin.sock").stat().st_mode) == 0o600
    for file in ("caddy.json", "caddy.log", "lock"):
        assert stat.S_IMODE((home / file).stat().st_mode) == 0o600
    assert not list(home.rglob("autosave.json"))


def test_operators_lines_are_kept_and_served(settings: Settings, gate: Gate) -> None:
    port = free_port()
    above, below = "# mine é\r\n\n", f"\n\n:{port} {{\r\n\trespond mine 299\r\n}}"
    with settings.caddyfile.open(newline="") as file:
        text = file.read()
    with settings.caddyfile.open("w", newline="") as file:
        file.write(above + text + below)
    gate.apply({settings.ports[0].port: opening(settings.ports[0].port, new_token())})
    written = settings.caddyfile.read_bytes().decode()
    assert written.startswith(above)
    assert written.endswith(below)
    assert knock(port).status == 299
    gate.apply({})
    assert settings.caddyfile.read_bytes().decode() == above + text + below


def broken(settings: Settings, gate: Gate, text: str) -> str:
    """Save ``text`` as the Caddyfile: changes must fail and change nothing. Give the sentence."""
    port, token = settings.ports[0].port, new_token()
    kept = new_token()
    gate.apply({settings.ports[1].port: opening(settings.ports[1].port, kept)})
    good = settings.caddyfile.read_text()
    settings.caddyfile.write_text(text)
    with pytest.raises(GateFailed) as failure:
        gate.apply(
            {
                settings.ports[1].port: opening(settings.ports[1].port, kept),
                port: opening(port, token),
            }
        )
    assert settings.caddyfile.read_text() == text
    assert not is_open(settings, port, token)
    assert is_open(settings, settings.ports[1].port, kept)
    assert token not in repr(failure.value)
    assert [p.name for p in settings.caddyfile.parent.iterdir() if p.name.endswith(".new")] == []
    settings.caddyfile.write_text(good)
    gate.apply(
        {settings.ports[1].port: opening(settings.ports[1].port, kept), port: opening(port, token)}
    )
    assert is_open(settings, port, token)
    return failure.value.message


def test_syntax_error_of_the_operator_names_its_line(settings: Settings, gate: Gate) -> None:
    text = settings.caddyfile.read_text()
    message = broken(settings, gate, text + "\n:1 {\n\trespnd hello\n}\n")
    assert "respnd" in message
    assert re.search(r"Caddyfile:\d+", message)


def test_missing_marker_says_what_to_do(settings: Settings, gate: Gate) -> None:
    text = settings.caddyfile.read_text()
    message = broken(settings, gate, text.replace("# <<< comfyui-manager", "# gone"))
    assert "# <<< comfyui-manager" in message
    assert "git checkout Caddyfile" in message


def test_admin_interface_may_not_be_moved_to_a_port(settings: Settings, gate: Gate) -> None:
    text = settings.caddyfile.read_text()
    moved = text.replace(ADMIN_LINES[0], "admin localhost:0 {")
    assert ADMIN_LINES[0] in broken(settings, gate, moved)


def test_file_that_is_not_text_is_refused(settings: Settings, gate: Gate) -> None:
    good = settings.caddyfile.read_bytes()
    content = good + b"# \xff\n"
    settings.caddyfile.write_bytes(content)
    with pytest.raises(GateFailed, match="UTF-8"):
        gate.apply({settings.ports[0].port: opening(settings.ports[0].port, new_token())})
    assert settings.caddyfile.read_bytes() == content
    settings.caddyfile.write_bytes(good)


def test_file_that_cannot_be_written_opens_nothing(
    settings: Settings, gate: Gate, tmp_path: Path
) -> None:
    port, token = settings.ports[0].port, new_token()
    # Root may write everywhere, so the draft's name is taken by a folder instead.
    blocker = settings.caddyfile.with_name(".Caddyfile.new")
    blocker.mkdir()
    before = settings.caddyfile.read_bytes()
    with pytest.raises(GateFailed, match="cannot be written"):
        gate.apply({port: opening(port, token)})
    assert settings.caddyfile.read_bytes() == before
    assert not is_open(settings, port, token)
    blocker.rmdir()
    gate.apply({port: opening(port, token)})
    assert is_open(settings, port, token)


def test_gate_that_does_not_do_as_asked_is_put_back(
    settings: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (row.port for row in settings.ports)
    kept, token = new_token(), new_token()
    gate.apply({b: opening(b, kept)})
    before = settings.caddyfile.read_bytes()

    def refuse(*_args: object, **_how: object) -> None:
        raise GateFailed("not as asked")

    with monkeypatch.context() as patch:
        patch.setattr(probe, "check", refuse)
        with pytest.raises(GateFailed, match="not as asked"):
            gate.apply({a: opening(a, token), b: opening(b, kept)})
    assert not is_open(settings, a, token)
    assert is_open(settings, b, kept)
    assert settings.caddyfile.read_bytes() == before


def test_same_wanted_state_is_loaded_once(
    settings: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    real = admin.load

    def count(door: admin.Door, text: str) -> None:
        loads.append(text)
        real(door, text)

    monkeypatch.setattr(admin, "load", count)
    wanted = {settings.ports[0].port: opening(settings.ports[0].port, new_token())}
    gate.apply(wanted)
    gate.apply(dict(wanted))
    assert len(loads) == 1


def test_edit_saved_during_a_change_is_not_lost(
    settings: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, edits = admin.load, ["# saved meanwhile\n"]

    def load_while_the_operator_saves(door: admin.Door, text: str) -> None:
        real(door, text)
        if edits:
            settings.caddyfile.write_text(edits.pop() + settings.caddyfile.read_text())

    monkeypatch.setattr(admin, "load", load_while_the_operator_saves)
    token = new_token()
    gate.apply({settings.ports[0].port: opening(settings.ports[0].port, token)})
    text = settings.caddyfile.read_text()
    assert text.startswith("# saved meanwhile\n")
    assert token in text


def test_changes_from_many_threads_end_in_the_last_one(settings: Settings, gate: Gate) -> None:
    ports = [row.port for row in settings.ports]
    final = {port: opening(port, new_token()) for port in ports}
    threads = [
        threading.Thread(target=gate.apply, args=({port: opening(port, new_token())},))
        for port in ports * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.apply(final)
    for port, opened in final.items():
        assert is_open(settings, port, opened.token)


def test_tokens_are_in_no_log_and_no_error(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    row, token, secret = settings.ports[0], new_token(), new_token()
    errors = []
    shipped = settings.caddyfile.read_text()
    assert "level INFO" in shipped
    settings.caddyfile.write_text(shipped.replace("level INFO", "level DEBUG"))
    with running_gate(settings) as gate, upstream(row.port):
        gate.apply({row.port: opening(row.port, token, secret)})
        link = f"/?token_{row.port}={token}"
        knock(row.workspace_port, link, {"Referer": f"http://x{link}"})
        assert knock(row.workspace_port, "/", cookie(row.port, token)).status == 200
        knock(row.external_port, link)
        # Quoted by Caddy in its refusal: the line that it does not understand.
        text = settings.caddyfile.read_text()
        settings.caddyfile.write_text(f"{text}\n{token} {{\n\t{token}\n\t{secret}\n}}\n")
        for wanted in (
            {},
            {row.port: opening(row.port, token + "x")},
            {1: opening(1, token, secret)},
        ):
            with pytest.raises(GateFailed) as failure:
                gate.apply(wanted)
            errors.append(repr(failure.value) + str(failure.value.params))
        settings.caddyfile.write_text(text)
        errors.append(repr(gate) + repr(gate.watch()) + repr(vars(gate.watch())))
    caddys = (settings.data_dir / "caddy" / "caddy.log").read_text()
    assert "upstream roundtrip" in caddys
    for key in (token, secret):
        assert key not in caplog.text
        assert key not in "".join(errors)
        assert key not in caddys


def test_operators_commands_work_in_the_projects_folder(settings: Settings, gate: Gate) -> None:
    row, token = settings.ports[0], new_token()
    gate.apply({row.port: opening(row.port, token)})
    valid = command(settings, "validate", "--config", "Caddyfile")
    assert valid.returncode == 0, valid.stderr
    # What is live is what the file says, so there is nothing to do.
    reload(settings)
    assert "config is unchanged" in (settings.data_dir / "caddy" / "caddy.log").read_text()
    port = free_port()
    site = f"\n:{port} {{\n\tbind 127.0.0.1\n\trespond mine 299\n}}\n"
    settings.caddyfile.write_text(settings.caddyfile.read_text() + site)
    # Caddy's own command does not find the socket, and could not show the secret.
    assert "not a directory" in command(settings, "reload", "--config", "Caddyfile").stderr
    reload(settings)
    assert knock(port).status == 299
    assert is_open(settings, row.port, token)
    gate.apply({})
    assert not is_open(settings, row.port, token)
    assert knock(port).status == 299


def test_shipped_caddyfile_is_valid() -> None:
    done = subprocess.run(
        [str(CADDY), "validate", "--config", "Caddyfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
