"""Files with secrets that are open to others: closed, or refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from manager import data_dir, modes, settings
from manager.errors import SettingsError
from manager.settings import ROOT, Settings


@pytest.fixture
def of(tmp_path: Path) -> Settings:
    found = settings.load({"CARD_KIND": "cpu", "COMFYUI_PATH": str(tmp_path)}, root=tmp_path)
    (found.data_dir / "caddy").mkdir(parents=True)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def put(path: Path, number: int, text: str = "secret") -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(number)
    return path


def test_what_is_open_to_others_is_closed(of: Settings) -> None:
    database, log = of.database_path, of.log_path
    opened = [
        put(of.data_dir / "secret_key", 0o640),
        put(of.data_dir / "caddy" / "admin_key", 0o604),
        put(database, 0o644),
        put(database.with_name(database.name + "-wal"), 0o666),
        put(database.with_name(database.name + ".backup"), 0o644),
        put(log.with_name(log.name + ".1"), 0o644),
        put(of.caddyfile, 0o644, '# >>> comfyui-manager\nheader Set-Cookie "token_8001=x"\n'),
    ]
    fine = put(log, 0o600)
    assert sorted(modes.mend(of)) == sorted(opened)
    assert {mode(path) for path in [*opened, fine]} == {0o600}
    assert modes.mend(of) == []


def test_what_holds_no_secret_stays_open(of: Settings) -> None:
    shipped = (ROOT / "Caddyfile").read_text(encoding="utf-8")
    put(of.caddyfile, 0o644, shipped)
    other = put(of.data_dir / "other", 0o644)
    assert modes.mend(of) == []
    assert mode(of.caddyfile) == mode(other) == 0o644


def test_a_missing_file_is_no_matter(of: Settings) -> None:
    assert modes.mend(of) == []


def test_what_belongs_to_another_account_is_refused(
    of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = put(of.data_dir / "secret_key", 0o600)
    owner = key.stat().st_uid
    if owner == 0:
        os.chown(key, 12345, -1)
        owner = 12345
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(SettingsError, match=f"secret_key belongs to account {owner}"):
        modes.mend(of)
    with pytest.raises(SettingsError):
        data_dir.claim(of, starts=True)
    data_dir.claim(of, starts=False).close()
    key.unlink()
    data_dir.claim(of, starts=True).close()
