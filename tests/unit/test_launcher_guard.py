"""What of the guard needs no process: where it stands, and what it takes for a secret."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from manager.launcher import guard
from manager.launcher.guard import CannotGuardError, read_secret
from manager.launcher.protocol import GUARD, LaunchSpec
from manager.launcher.run_dir import RunDir
from manager.records import GUARD_HEADER

SECRET = "aB3" + "x" * 29


def spec(framework: str | None) -> LaunchSpec:
    argv = ("python", "main.py", "--cpu")
    return LaunchSpec("one", argv, {}, Path(), 1, guard=framework, secret=SECRET)


def test_caddy_the_watch_and_the_guard_mean_the_same_header() -> None:
    assert guard.HEADER == GUARD_HEADER


def test_the_guard_stands_before_the_script() -> None:
    words = spec("aiohttp").words(Path("/run/secret"))
    assert words == ("python", str(GUARD), "aiohttp", "/run/secret", "main.py", "--cpu")
    assert Path(guard.__file__) == GUARD
    assert spec(None).words(Path("/run/secret")) == ("python", "main.py", "--cpu")


def test_the_secret_is_in_a_file_for_this_account_alone_and_in_no_other(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "one")
    assert run.create({"launch_id": "one"}, SECRET)
    assert read_secret(str(run.secret)) == SECRET
    assert stat.S_IMODE(run.secret.stat().st_mode) == 0o600
    others = [path for path in run.path.iterdir() if path != run.secret]
    assert others
    assert not [path for path in others if SECRET in path.read_text()]
    assert SECRET not in repr(spec("aiohttp"))


@pytest.mark.parametrize("content", ["", "\n", " " * 40, "x" * 31, "x" * 31 + "-", "é" * 32])
def test_what_is_no_secret_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(CannotGuardError) as refusal:
        read_secret(str(path))
    assert str(path) in str(refusal.value)


def test_a_missing_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotGuardError, match="cannot be read"):
        read_secret(str(tmp_path / "none"))
