"""What Caddy says, made fit for people and for logs."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from manager import settings
from manager.errors import GateFailed
from manager.gate.admin import LoadRefused, redact
from manager.gate.caddy import LOG_MAX_BYTES, SOCKET_PATH_MAX, CaddyProcess
from manager.gate.gate import Gate, new_token
from manager.gate.program import find_program, last_error
from tests.support.gate import opening


def test_tokens_are_taken_out_of_every_sentence() -> None:
    token = new_token()
    for text in (token, f"'{token}'", f"token_8001={token};", f"{token} and {token}"):
        assert token not in redact(text)
    assert redact("Caddyfile:12: unrecognized directive: respnd") == (
        "Caddyfile:12: unrecognized directive: respnd"
    )


def test_refusal_knows_the_port_that_was_taken() -> None:
    taken = "listening on :9081: listen tcp 127.0.0.1:9081: bind: address already in use"
    assert LoadRefused(taken).taken_port == 9081
    assert LoadRefused("Caddyfile:9: 9081 is no directive").taken_port is None


def test_last_error_is_found_among_log_lines() -> None:
    token = new_token()
    lines = [
        "not json",
        json.dumps({"level": "error", "msg": "earlier"}),
        json.dumps({"level": "error", "msg": f"Caddyfile:3: what is {token}"}),
        json.dumps({"level": "info", "msg": "shutting down"}),
        "[1, 2]",
    ]
    found = last_error("\n".join(lines).encode() + b"\xff")
    assert found.startswith("Caddyfile:3: what is")
    assert token not in found
    assert last_error(b"") == ""


def test_named_program_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "caddy").write_text("not executable")
    for name in (str(tmp_path / "caddy"), "no-such-program-anywhere"):
        with pytest.raises(GateFailed, match="CADDY_PATH"):
            find_program(name)


def test_missing_program_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GateFailed, match=r"pip install -r requirements\.lock"):
        find_program("")


def test_admin_socket_is_named_as_the_shipped_caddyfile_names_it(tmp_path: Path) -> None:
    caddy = CaddyProcess(settings.load({}, root=tmp_path / ("x" * 200)))
    assert caddy.environment()["CADDY_ADMIN_SOCKET"] == "data/caddy/admin.sock"


def test_socket_path_the_kernel_cannot_hold_is_told(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * SOCKET_PATH_MAX)
    caddy = CaddyProcess(settings.load({"DATA_DIR": str(deep)}, root=tmp_path / "project"))
    with pytest.raises(GateFailed, match="DATA_DIR"):
        caddy.environment()


def test_gate_that_was_not_started_changes_nothing(tmp_path: Path) -> None:
    gate = Gate(settings.load({}, root=tmp_path))
    with pytest.raises(GateFailed, match="not been started"):
        gate.apply({8001: opening(8001, new_token())})
    health = gate.watch()
    # Nothing is wrong with a Caddy that nobody has begun yet.
    assert (health.running, health.problem) == (False, None)
    assert list(tmp_path.iterdir()) == []


def test_bad_token_is_refused_before_anything_happens(tmp_path: Path) -> None:
    gate = Gate(settings.load({}, root=tmp_path))
    with pytest.raises(GateFailed, match="32 letters and digits"):
        gate.start({8001: opening(8001, "short")})
    assert list(tmp_path.iterdir()) == []


def test_caddys_log_is_capped_and_private(tmp_path: Path) -> None:
    caddy = CaddyProcess(settings.load({}, root=tmp_path))
    caddy.trim_log()  # nothing there yet
    caddy.hold()
    caddy.log.write_bytes(b"x" * LOG_MAX_BYTES)
    caddy.trim_log()
    assert caddy.log.stat().st_size == LOG_MAX_BYTES
    with caddy.log.open("ab") as writer:  # as Caddy holds it
        writer.write(b"y")
        writer.flush()
        caddy.trim_log()
        writer.write(b"after")
    older = caddy.log.with_name("caddy.log.1")
    assert older.stat().st_size == LOG_MAX_BYTES + 1
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
    assert caddy.log.read_bytes() == b"after"
    caddy.release()
